"""What counts mean: shares, quantiles, drift of confidence, shift of labels. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.insights.windows import LIMITS_MS, MICRO, Window
from topology.heads import HeadManifest


@dataclass(frozen=True)
class Baseline:
    """What a head's own evaluation said: its mean confidence, and how often it said each intent."""

    confidence: float | None = None
    intents: Mapping[str, int] = field(default_factory=dict)


def baseline_of(manifest: HeadManifest) -> Baseline:
    """From `metrics` of head.json, as `headrace head train` writes them; what is missing or odd there is left out."""
    bins = [(float(one[0]), int(one[2])) for one in _rows(manifest.metrics.get("calibration_bins"), (0, 2))]
    examples = sum(count for _, count in bins)
    intents: dict[str, int] = {}
    for _, said, count in _rows(manifest.metrics.get("confusion"), (2,)):
        intents[str(said)] = intents.get(str(said), 0) + int(count)
    mean = sum(confidence * count for confidence, count in bins) / examples if examples > 0 else None
    return Baseline(mean, intents)


def _rows(found: Any, numbers: tuple[int, ...]) -> list[Sequence[Any]]:
    """Those of a list that have three fields, with numbers where they belong."""
    rows = found if isinstance(found, list) else []
    return [one for one in rows if isinstance(one, list | tuple) and len(one) == 3
            and all(isinstance(one[i], int | float) for i in numbers)]


def confidence(window: Window) -> float | None:
    """The mean confidence of its predictions; None where there are none."""
    total = sum(sum_ for _, sum_ in window.sure.values())
    return total / MICRO / window.predictions if window.predictions else None


def out_of_scope_share(window: Window) -> float | None:
    """Of its predictions; None where there are none."""
    return window.out_of_scope / window.predictions if window.predictions else None


def confidence_drift(window: Window, baselines: Mapping[str, Baseline]) -> float | None:
    """Mean confidence less that of the evaluations, weighted by the versions that predicted. Below 0: heads are less
    sure than they were on the examples they were tuned with. None where no version has an evaluation."""
    count, drift = 0, 0.0
    for version, (predictions, sum_) in window.sure.items():
        expected = baselines.get(version, Baseline()).confidence
        if expected is not None:
            count += predictions
            drift += sum_ / MICRO - expected * predictions
    return drift / count if count else None


def label_shift(now: Mapping[str, int], before: Mapping[str, int]) -> float | None:
    """Half the sum of the differences of shares (total variation): the share of utterances that would have to change
    their intent. 0: the same mix, 1: nothing in common. None where one of both is empty."""
    all_now, all_before = sum(now.values()), sum(before.values())
    if not all_now or not all_before:
        return None
    return sum(
        abs(now.get(name, 0) / all_now - before.get(name, 0) / all_before) for name in {*now, *before}
    ) / 2


def expected_intents(window: Window, baselines: Mapping[str, Baseline]) -> dict[str, float]:
    """The mix of intents that the evaluations of the versions that predicted lead to expect."""
    mix: dict[str, float] = {}
    for version, (predictions, _) in window.sure.items():
        intents = baselines.get(version, Baseline()).intents
        examples = sum(intents.values())
        for name, count in intents.items():
            mix[name] = mix.get(name, 0.0) + predictions * count / examples if examples else 0.0
    return mix


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """An upper bound of a quantile from a histogram of latencies; infinite in the last bucket, None without counts."""
    wanted, seen = share * sum(counts), 0
    for count, limit in zip(counts, (*LIMITS_MS, float("inf")), strict=True):
        seen += count
        if seen and seen >= wanted:
            return float(limit)
    return None
