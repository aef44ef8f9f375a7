"""Ours beside its rivals over the same arrivals: each rival at its best setting, found with hindsight."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from infra.autoscale.decision import worth
from infra.autoscale.rivals import CpuTarget, Fixed, Keda, Ours
from infra.autoscale.simulator import Outcome, Scaler, Simulation, System
from infra.autoscale.stage import Speed
from infra.autoscale.tiers import Policy
from infra.autoscale.traces import Parcel, Trace, arrivals

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks"  # of a checkout; an installed package has none
KEDA_S = (0.05, 0.1, 0.2, 0.35, 0.7)  # lagThreshold, in seconds of one replica's work
CPU_TARGETS = (0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Tried:
    """One setting of one scaler over all traces. `cost`: missed minutes and replica-hours, added up: the price that
    rivals are tuned by."""

    setting: str
    outcomes: tuple[Outcome, ...]

    @property
    def cost(self) -> float:
        """A missed minute weighs as much as a replica-hour."""
        return sum(one.missed_minutes + one.replica_hours for one in self.outcomes)


def measured() -> tuple[Speed, Speed]:
    """What an encoder and a head worker did on one core, from the checkout's benchmark results; else those of 0.2."""
    encoder, head = Speed(8_300.0, 0.0003), Speed(2_000.0, 0.0003)
    try:
        used = json.loads((RESULTS / "pipeline.json").read_text())["uniform"]["cpu_us_per_utterance"]
        batches = json.loads((RESULTS / "engine.json").read_text())["by_batch_of_15_tokens"]
        one, many = (batches[size]["p50_ms"] / 1_000 for size in ("1", "16"))
        batch_s = max(0.0, one - (many - one) / 15)
        return Speed(15e6 / used["encoder"], batch_s), Speed(1e6 / used["head"], batch_s)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return encoder, head


def compare(
    system: System, policy: Policy, traces: Sequence[Trace], seed: int, said: Callable[[str], None], workers: int = 0
) -> list[list[Tried]]:
    """A list a scaler, ours first, each with every setting that was tried, the best first. `said` is told of each.

    `workers`: of each tier at the start; 0: sized for the trace's first rate, and one where a backlog waits.
    """
    coming = {one.name: arrivals(one, seed, system.partitions, system.tokens, system.parcels) for one in traces}
    found = []
    for settings in _scalers(system, policy):
        tried = []
        for setting, make in settings.items():
            said(setting)
            outcomes = (_run(system, policy, one, coming[one.name], make, workers) for one in traces)
            tried.append(Tried(setting, tuple(outcomes)))
        found.append(sorted(tried, key=lambda one: one.cost))
    return found


Make = Callable[[Trace], Scaler]


def _scalers(system: System, policy: Policy) -> Iterable[Mapping[str, Make]]:
    yield {"ours": lambda trace: Ours(policy)}
    yield dict(_keda(_thresholds(system, seconds)) for seconds in KEDA_S)
    yield dict(_cpu(target) for target in CPU_TARGETS)
    yield {"sized for the mean": lambda trace: Fixed("fixed, mean", sized(system, policy, trace.mean))}
    yield {"sized for the peak": lambda trace: Fixed("fixed, peak", sized(system, policy, trace.peak))}


def _keda(thresholds: Mapping[str, int]) -> tuple[str, Make]:
    return f"lagThreshold {thresholds['encoder']}, {thresholds['head']}", lambda trace: Keda(thresholds)


def _cpu(target: float) -> tuple[str, Make]:
    return f"target {target:.0%}", lambda trace: CpuTarget(target)


def _run(
    system: System, policy: Policy, trace: Trace, parcels: Sequence[Parcel], make: Make, workers: int
) -> Outcome:
    scaler = make(trace)
    start = sized(system, policy, trace.points[0][1])
    if workers or trace.backlog:
        start = dict.fromkeys(start, workers or 1)
    return Simulation(system, trace, scaler, parcels).run(dict(scaler.counts) if isinstance(scaler, Fixed) else start)


def sized(system: System, policy: Policy, rate: float) -> dict[str, int]:
    """Replicas by role for so many utterances a second at the policy's busy share, as far as they spread evenly."""
    each = {"encoder": system.encoder.work_per_s / system.tokens, "head": system.head.work_per_s}
    return {role: worth(system.partitions, rate / policy.utilization / per_s) for role, per_s in each.items()}


def _thresholds(system: System, seconds: float) -> dict[str, int]:
    return {"encoder": ceil(seconds * system.encoder.work_per_s / system.tokens),
            "head": ceil(seconds * system.head.work_per_s)}


def verdict(ours: Outcome, rival: Outcome) -> str:
    """How ours stands to a rival on one trace, in words."""
    less = (ours.missed_minutes - rival.missed_minutes, round(ours.replica_hours - rival.replica_hours, 2))
    if less == (0, 0):
        return "equal"
    if max(less) <= 0:
        return "ours is better"
    if min(less) >= 0:
        return "OURS IS WORSE"
    return "ours misses fewer, costs more" if less[0] < 0 else "OURS MISSES MORE, costs less"


def table(found: Sequence[Sequence[Tried]]) -> list[str]:
    """Lines of a table in Markdown: a row for each trace and scaler at its best setting, sums last."""
    lines = ["| trace | scaler | SLO minutes missed | replica-hours | turns | p99 s | ours beside it |",
             "|---|---|---:|---:|---:|---:|---|"]
    best = [tried[0] for tried in found]
    for number, ours in enumerate(best[0].outcomes):
        for one in (tried.outcomes[number] for tried in best):
            lines.append(f"| {one.trace} | {one.scaler} | {one.missed_minutes} of {one.minutes} | "
                         f"{one.replica_hours:.2f} | {one.turns} | {one.p99_s:.1f} | "
                         f"{'' if one is ours else verdict(ours, one)} |")
    ours = summed(best[0])
    for tried in best:
        one = summed(tried)
        lines.append(f"| **all** | {one.scaler} ({tried.setting}) | {one.missed_minutes} of {one.minutes} | "
                     f"{one.replica_hours:.2f} | {one.turns} | | {'' if tried is best[0] else verdict(ours, one)} |")
    return lines


def summed(tried: Tried) -> Outcome:
    """All traces as one."""
    of = tried.outcomes
    return replace(of[0], trace="all", missed_minutes=sum(one.missed_minutes for one in of),
                   minutes=sum(one.minutes for one in of), replica_hours=sum(one.replica_hours for one in of),
                   turns=sum(one.turns for one in of), changes=sum(one.changes for one in of),
                   lost=sum(one.lost for one in of), ages=())


def as_json(
    found: Sequence[Sequence[Tried]], system: System, policy: Policy, seed: int, own: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything that was run, the settings that were not the best too. `own`: traces of which ours is told look by
    look: (second, age of the oldest, encoder workers, head workers)."""
    ours = {one.trace: [[round(value, 3) for value in look] for look in one.ages]
            for one in found[0][0].outcomes if one.trace in own}
    return {
        **({"ours_over_time": ours} if ours else {}),
        "benchmark": "scale simulate", "seed": seed, "system": asdict(system), "policy": asdict(policy),
        "table": table(found),
        "scalers": [{
            "scaler": tried[0].outcomes[0].scaler,
            "tried": [{"setting": one.setting, "cost": round(one.cost, 3),
                       "all": _brief(summed(one)), "traces": [_brief(each) for each in one.outcomes]} for one in tried],
        } for tried in found],
    }


def _brief(one: Outcome) -> dict[str, Any]:
    return {key: round(value, 3) if isinstance(value, float) else value
            for key, value in asdict(one).items() if key != "ages"}
