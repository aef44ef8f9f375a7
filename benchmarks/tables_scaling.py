"""The figures of docs/SCALING.md: what `headrace bench autoscale` measured, and what the simulator says of that run."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.results import Results, several, show, table

FILE = "autoscale"
PREDICTED = Path(__file__).parents[1] / "docs" / "scaling-step.json"  # by `headrace scale simulate --csv step.csv`
TIMES = (("up_decided_s", "s from the step up until it was decided"), ("up_done_s", "until two encoder workers worked"),
         ("down_decided_s", "s from the step down until it was decided"), ("down_done_s", "until one was left"))


def autoscale(results: Results) -> str:
    """The step, measured: when it was answered, and what became of every utterance."""
    number = results.number
    low, high, knee, part, offered, lost, encoded, predicted = (show(number(f"{FILE}/{key}")) for key in (
        "low_per_s", "high_per_s", "knee_per_s", "part_s", "offered", "lost", "embeddings_twice", "predictions_twice"))
    latencies = several(number(f"{FILE}/p{q}_ms") for q in (50, 90, 99))
    return (
        f"{results.machine(FILE)}: from {low}/s to {high}/s (80 % of {knee}/s) and back, {part} s each. {offered} "
        f"utterances offered, {lost} lost; {encoded} encoded twice, {predicted} predicted twice. p50 / p90 / p99 "
        f"{latencies} ms."
    )


def predicted(results: Results) -> str:
    """The same run, by the simulator and as it was."""
    part_s = results.number(f"{FILE}/part_s") or 0.0
    said, system = _said(part_s)
    system_words = (
        f"Given to the simulator: one encoder worker does {system['encoder']['work_per_s']:,.0f} tokens/s of "
        f"{system['tokens']:g} an utterance, {system['partitions']} partitions, start {system['start_s']:g} s, "
        f"rebalance {system['rebalance_s']:g} s."
    )
    rows = [(what, show(said[key], 1), show(results.number(f"{FILE}/{key}"), 1)) for key, what in TIMES]
    rows.append(("oldest age at most, s", show(said["oldest_age_s_at_most"], 1),
                 show(results.number(f"{FILE}/oldest_age_s_at_most"), 1)))
    at = [part_s * share for share in (0.5, 1.25, 1.5, 1.75, 2.25, 2.5, 2.9)]
    rows.append((f"encoder workers at {', '.join(f'{one:.0f}' for one in at)} s",
                 ", ".join(str(_at(said["counts"], one)) for one in at),
                 ", ".join(str(_at(results.get(f"{FILE}/counts") or [], one)) for one in at)))
    return f"{system_words}\n\n" + table(("figure", "predicted", "measured"), rows)


def _said(part_s: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the simulator says: the times of `TIMES`, the oldest age, and (second, workers that work)."""
    body = json.loads(PREDICTED.read_text(encoding="utf-8"))
    (looks,), system = body["ours_over_time"].values(), body["system"]
    changes = [(before[0], before[2], after[2]) for before, after in pairwise(looks)
               if before[2] != after[2]]
    found: dict[str, Any] = {"oldest_age_s_at_most": max(age for _, age, _, _ in looks), "counts": [[0.0, looks[0][2]]]}
    for name, step_s, upward in (("up", part_s, True), ("down", 2 * part_s, False)):
        at_s = next((at for at, old, new in changes if at >= step_s and (new > old) is upward), None)
        takes_s = system["rebalance_s"] + (system["start_s"] if upward else 0.0)
        found[f"{name}_decided_s"] = None if at_s is None else at_s - step_s
        found[f"{name}_done_s"] = None if at_s is None else at_s - step_s + takes_s
    for at_s, old, new in changes:
        found["counts"].append([at_s + (system["start_s"] if new > old else 0.0), new])
    return found, system


def _at(counts: list[list[float]], second: float) -> int | str:
    """The count at that second, of (second, count, ...) in order."""
    return next((int(one[1]) for one in reversed(counts) if one[0] <= second), "–")
