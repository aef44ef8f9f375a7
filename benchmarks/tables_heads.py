"""The tables of docs/BENCHMARKS.md about many heads, accuracy and GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.goals import ACCURACIES, SCORES
from benchmarks.report import Result
from benchmarks.results import Results, percent, ratio, several, show, table

TENANTS = ("1", "100", "1000")
HELD_P90_MS = 50.0


def repeated(results: Results) -> str:
    """What the embedding cache gives."""
    at = "repeated/uniform"
    return (f"Unique texts {show(results.number(f'{at}/saturated_unique_per_s'))}/s, with "
            f"{percent(results.number(f'{at}/repeated_share'))} said before "
            f"{show(results.number(f'{at}/saturated_per_s'))}/s: +{percent(results.number(f'{at}/repeated_gain'))}.")


def heads(results: Results) -> str:
    """Heads only, and what happens to many of them."""
    times = show(results.number("heads/times_reference_a_vcpu"), 1)
    return "\n".join((
        f"- `heads`: two head workers give {show(results.number('heads/throughput_per_s'))}/s at p90 "
        f"{show(results.number('heads/p90_ms'), 1)} ms, {times} times the published system's a vCPU. The process that "
        "asks writes the embeddings (12 KB each). Bound by the workers' cores.",
        _monolith(results), _cliff(results), *_fairness(results), _lifecycle(results),
    ))


def first_hour(results: Results) -> str:
    """What training prints of small tenants, against unseen lines."""
    names = {"intent_accuracy": "intents right", "span_f1": "span F1", "sentence_accuracy": "whole sentences right"}
    columns = ("unseen_mean", "difference_mean", "difference_worst")
    header = ("figure", "unseen, mean, %", "printed less unseen, points", "worst tenant", "intervals that held it")
    return table(header, (
        (title, *(show(results.number(f"first-hour/{name}/{column}"), 1) for column in columns),
         f"{percent(results.number(f'first-hour/{name}/covered'))} of "
         f"{show(results.number(f'first-hour/{name}/tenants'))}")
        for name, title in names.items()
    ))


def memory(results: Results) -> str:
    """What tenants take, as whole models and as heads."""
    return table(("tenants", "whole models, MB", "Headrace, MB", "its files, MB"), (
        (f"{int(count):,}", *(show(results.number(f"memory/{place}/{count}/{whose}")) for place, whose in (
            ("memory_mb", "whole"), ("memory_mb", "ours"), ("storage_mb", "ours"))))
        for count in TENANTS
    ))


def _monolith(results: Results) -> str:
    whole = results.number("monolith/whole_models/utterances_per_s")
    ours = results.number("monolith/encoder_and_heads/utterances_per_s")
    return (f"- `memory`, `monolith`: {show(results.number('memory/answering'))} heads score in one worker, at "
            f"{show(results.number('memory/ratio_to_file'), 3)} times their files, which a machine's workers share. "
            f"On one core whole models in float32 give {show(whole, 1)} utterances/s, encoder and heads in int8 "
            f"{show(ours)}.")


def _cliff(results: Results) -> str:
    during = "; ".join(
        f"{order}: warm {show(results.number(f'cliff/{order}/warm_p99_ms_during'), 1)} ms, "
        f"cold p90 {show(results.number(f'cliff/{order}/cold_p90_ms'), 1)} ms" for order in ("cyclic", "zipf")
    )
    return (f"- `cliff`: room for {show(results.number('cliff/room'))} heads, {show(results.number('cliff/tenants'))} "
            f"tenants. Warm p99 before: {show(results.number('cliff/warm_p99_ms_before'), 1)} ms; while cold heads "
            f"load, {during}. A cold reply is bound by reading and hashing 8.5 MB; the warm keep theirs (decision 9).")


def _fairness(results: Results) -> list[str]:
    lines = []
    for name in ("fairness", "fairness-150"):
        before, during = (results.number(f"{name}/others_p99_ms_{when}") for when in ("before", "during"))
        more = None if (share := ratio(during, before)) is None else share - 1
        refused = several(results.number(f"{name}/{what}") for what in ("overloaded_replies", "flood_offered"))
        lines.append(f"- `{name}`: one of ten tenants sends ten times its share and is allowed twice. At "
                     f"{show(results.number(f'{name}/rate_per_s'))}/s the others' p99 goes from {show(before, 1)} to "
                     f"{show(during, 1)} ms (+{percent(more)}); refused of the flood: {refused}.")
    return lines


def _lifecycle(results: Results) -> str:
    steps: dict[str, object] = results.get("lifecycle/by_step") or {}
    lost = several(results.number(f"lifecycle/{what}") for what in ("dropped", "wrong_version", "mislabelled"))
    slowest = ", ".join(
        f"{step} {show(results.number(f'lifecycle/by_step/{step}/applied_max_ms'))}" for step in steps
    )
    return (f"- `lifecycle`: {show(results.number('lifecycle/sent'))} utterances while nine heads are published, "
            f"tried, rolled back, deleted. Dropped / by a wrong version / with labels of another: {lost}. From "
            f"announcement to effect, slowest tenant, ms: {slowest}.")


def accuracy(results: Results) -> str:
    """ATIS, three seeds, beside the published rows."""

    def row(what: str, at: str) -> list[str]:
        spread = {score: results.number(f"{at}/spread/{score}") for score in SCORES}
        return [what, *(show(results.number(f"{at}/{score}"), 2) + (f" ± {show(off, 2)}" if off is not None else "")
                        for score, off in spread.items())]

    rows = []
    for name in ACCURACIES:
        rows += [row(f"**Headrace, int8**, trained on {results.machine(name)}", name),
                 row("the same, vectors and head in float32", f"{name}/float32_wire")]
    published: dict[str, object] = results.get("accuracy/published") or {}
    rows += [row(f"{who}, fine-tuned whole", f"accuracy/published/{who}") for who in published]
    return table(("per cent", "intents", "slots F1", "whole sentences"), rows)


def gpu(results: Results) -> str:
    """The engine on GPUs."""
    cards, sizes = ("engine-h200", "engine-h100"), (1, 16, 256, 1_024)
    speed = table(("utterances of 15 tokens a call", "H200 p50 / p90 ms", "utterances/s", "H100 p50 / p90 ms",
                   "utterances/s"), (
        (f"{size:,}", *(text for card in cards for text in (
            several((results.number(f"{card}/by_batch_of_15_tokens/{size}/{q}_ms") for q in ("p50", "p90")), 2),
            show(results.number(f"{card}/by_batch_of_15_tokens/{size}/utterances_per_s")))))
        for size in sizes
    ))
    quality = "; ".join(
        f"{name}: {percent(results.number(f'{card}/share_of_bf16_peak'), 1)} of the bf16 peak, mix over uniform by "
        f"tokens {show(results.number(f'{card}/mix_share_of_uniform'), 2)}, padding "
        f"{percent(results.number(f'{card}/mix/padding_share'), 1)}, cosine to float32 at least "
        f"{show(results.number(f'{card}/cosine/to_float32_min'), 6)}"
        for name, card in zip(("H200", "H100"), cards, strict=True)
    )
    return f"{quality}.\n\n{speed}"


def rates(results: Results) -> str:
    """The whole pipeline at given rates: of every file of `headrace bench rates` the highest that was held, and most
    replies a second."""
    rows = []
    for name, file in results.files.items():
        for runs in (file.get("uniform"), file.get("mix")) if file["benchmark"] == "rates" else ():
            if runs:
                rows.append((results.machine(name), *_held(runs, file["settings"])))
    return table(("on", "encoders / heads", "held", "p50 / p90 / p99 ms", "wait / encode / head / reply, p50 ms",
                  "cores: encoders / heads / broker / callers", "most replies"), rows)


def _held(runs: Sequence[Result], settings: Result) -> tuple[str, ...]:
    """The row of a file: its highest rate with p90 within HELD_P90_MS and 98 % answered in time, else its lowest."""
    held = [run for run in runs if run["p90_ms"] <= HELD_P90_MS and run["achieved"] >= 0.98]
    one = max(held, key=lambda run: run["rate_per_s"]) if held else runs[0]
    stages, cores = one.get("stages", {}), one.get("cores", {})
    return (
        f"{settings.get('encoders', 1)} / {settings['head_workers']}", f"{show(one['rate_per_s'])}/s",
        several(one.get(f"{q}_ms") for q in ("p50", "p90", "p99")),
        several((stages.get(stage, {}).get("p50_ms") for stage in ("wait", "encode", "head", "reply")), 1),
        several((cores.get(part) for part in ("encoder", "head", "kafka", "client")), 2),
        f"{show(max(run['throughput_per_s'] for run in runs))}/s",
    )
