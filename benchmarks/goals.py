"""What each figure should be: the goals of the project, and whether the newest results reach them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Results, ratio, show, table

REFERENCE_A_VCPU = 300 / 36  # utterances/s of the published system at p90 35 ms: c5.9xlarge, encoder and heads
REFERENCE_HEADS_A_VCPU = 1_500 / 36  # the same machine, heads only at p90 25 ms


@dataclass(frozen=True)
class Goal:
    """A bound and how its figure is read. `least`: reached from the bound up, else from the bound down."""

    what: str
    bound: float
    value: Callable[[Results], float | None]
    least: bool = True
    digits: int = 2
    unit: str = ""

    def reached(self, results: Results) -> bool | None:
        """Whether the figure is within the bound; None where it was not measured."""
        value = self.value(results)
        return None if value is None else value >= self.bound if self.least else value <= self.bound

    def row(self, results: Results) -> list[str]:
        """A line of the table of goals."""
        unit = f" {self.unit}" if self.unit else ""
        verdict = {True: "reached", False: "**missed**", None: "not measured"}[self.reached(results)]
        return [self.what, f"{'≥' if self.least else '≤'} {show(self.bound, self.digits)}{unit}",
                show(self.value(results), self.digits) + (unit if self.value(results) is not None else ""), verdict]


def at(path: str, scale: float = 1.0) -> Callable[[Results], float | None]:
    """The figure at a path, times `scale`."""
    return lambda results: None if (found := results.number(path)) is None else found * scale


def over(above: str, below: str) -> Callable[[Results], float | None]:
    """One figure over another."""
    return lambda results: ratio(results.number(above), results.number(below))


def times_reference(results: Results) -> float | None:
    """The knee for each vCPU, over the reference system's."""
    knee, cores = results.number("pipeline/uniform/throughput_per_s"), results.number("pipeline/hardware/cores")
    return ratio(ratio(knee, cores), REFERENCE_A_VCPU)


def without_engines_us(kind: str) -> Callable[[Results], float | None]:
    """Processor time of an utterance at saturation, less the bare engines' and the broker's."""

    def value(results: Results) -> float | None:
        spent, cores = results.get(f"pipeline/{kind}/cpu_us_per_utterance"), results.number("pipeline/hardware/cores")
        engines_us = ratio(None if cores is None else cores * 1e6, results.number(f"pipeline/{kind}/bare_per_s"))
        return float(sum(spent.values()) - spent["kafka"] - engines_us) if spent and engines_us else None

    return value


def worst(*values: Callable[[Results], float | None], least: bool = True) -> Callable[[Results], float | None]:
    """The least of several figures, or with `least` false the most; None where none was measured."""

    def value(results: Results) -> float | None:
        known = [found for one in values if (found := one(results)) is not None]
        return (min if least else max)(known) if known else None

    return value


def less(more: str, fewer: str) -> Callable[[Results], float | None]:
    """One figure less another."""

    def value(results: Results) -> float | None:
        above, below = results.number(more), results.number(fewer)
        return None if above is None or below is None else above - below

    return value


def int8_cost(file: str) -> Callable[[Results], float | None]:
    """Points that int8 costs against float32 vectors and heads: the worst of the three scores."""
    return worst(*(less(f"{file}/float32_wire/{score}", f"{file}/{score}") for score in SCORES), least=False)


def over_published(file: str) -> Callable[[Results], float | None]:
    """Points above a fine-tuned DistilBERT: the worst of the three scores."""
    return worst(*(less(f"{file}/{score}", f"{file}/published/DistilBERT/{score}") for score in SCORES))


SCORES = {"intent_accuracy": "intents", "slot_f1": "slots", "sentence_accuracy": "whole sentences"}
ACCURACIES = ("accuracy", "accuracy-zen5")  # heads trained on two kinds of processor
KINDS = {"uniform": "15 tokens", "mix": "mix"}
LIGHT = "pipeline/light_load"
KNEE, TRITON = "pipeline/{}/throughput_per_s", "pipeline/triton/{}/throughput_per_s"

GOALS = (
    Goal("knee a vCPU, times the reference system's", 15, times_reference, digits=1),
    Goal("knee over Triton's, 15 tokens", 1.3, over(KNEE.format("uniform"), TRITON.format("uniform"))),
    Goal("knee over Triton's, mix", 1.5, over(KNEE.format("mix"), TRITON.format("mix"))),
    Goal("knee over the bare engines' rate, 15 tokens", 0.70, at("pipeline/uniform/share_of_bare")),
    Goal("knee over the bare engines' rate, mix", 0.65, at("pipeline/mix/share_of_bare")),
    Goal("p99 at the knee, worse of both", 45, worst(*(at(f"pipeline/{name}/p99_ms") for name in KINDS), least=False),
         False, 0, "ms"),
    Goal("saturated over bare, worse of both", 0.85,
         worst(*(at(f"pipeline/{name}/saturated_share_of_bare") for name in KINDS))),
    Goal("processor time without engines and broker, worse of both", 400,
         worst(*(without_engines_us(name) for name in KINDS), least=False), False, 0, "µs"),
    Goal("a quiet pipeline adds to the engines", 5, less(f"{LIGHT}/p50_ms", f"{LIGHT}/engine_alone_ms"), False, 1,
         "ms"),
    Goal("30 % repeated texts, gain at saturation", 25, at("repeated/uniform/repeated_gain", 100), True, 0, "%"),
    Goal("heads only a vCPU, times the reference's", 10, at("heads/times_reference_a_vcpu"), digits=1),
    Goal("ATIS over a fine-tuned DistilBERT, worst score and machine", 0,
         worst(*(over_published(file) for file in ACCURACIES)), unit="points"),
    Goal("ATIS, what int8 costs, worst score and machine", 0.2,
         worst(*(int8_cost(file) for file in ACCURACIES), least=False), False, 2, "points"),
    Goal("H200: 16 utterances, p50", 1.5, at("engine-h200/by_batch_of_15_tokens/16/p50_ms"), False, 2, "ms"),
    Goal("H200: share of the bf16 peak", 40, at("engine-h200/share_of_bf16_peak", 100), True, 1, "%"),
    Goal("H200: mix over uniform, by tokens", 0.9, at("engine-h200/mix_share_of_uniform")),
    Goal("H200: padding", 5, at("engine-h200/mix/padding_share", 100), False, 1, "%"),
)


def goals(results: Results) -> str:
    """The table of goals, the missed ones named first."""
    missed = [goal.what for goal in GOALS if goal.reached(results) is False]
    said = f"Missed: {'; '.join(missed)}." if missed else "Every goal that was measured is reached."
    return f"{said}\n\n" + table(("figure", "goal", "measured", ""), [goal.row(results) for goal in GOALS])
