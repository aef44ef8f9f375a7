"""Makes confidences mean what they say, and finds the one below which an utterance is out of scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from head_worker.engine import TokenVectors
from infra.training.evaluate import Labelled
from infra.training.examples import OUT_OF_SCOPE as OUT_OF_SCOPE
from infra.training.model import HeadModel

LEAST = 20  # fewer tuning examples than these calibrate nothing
BINS = 10
BATCH = 32

Padded = Callable[[Sequence[TokenVectors]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Calibration:
    """`ece` is the expected calibration error in 0..1, before and after the temperature.

    `bins` are (confidence, accuracy, examples) of each tenth; `out_of_scope` says how the threshold parts both kinds,
    where both were seen.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    ece_before: float = 0.0
    ece: float = 0.0
    bins: tuple[tuple[float, float, int], ...] = ()
    out_of_scope: dict[str, float] | None = None

    def as_dict(self) -> dict[str, object]:
        """As `head.json` keeps it."""
        return {"ece": self.ece, "ece_before": self.ece_before, "calibration_bins": [list(b) for b in self.bins],
                "out_of_scope": self.out_of_scope or {}}


@torch.inference_mode()
def calibrate(
    model: HeadModel, padded: Padded, intents: Sequence[str], tune: Sequence[Labelled],
    outside: Sequence[Labelled] = (),
) -> Calibration:
    """The temperature with the least tuning loss (Guo et al., 2017) and the threshold for out of scope.

    Where examples out of scope were given (in `outside` or in `tune`) the threshold is the one that parts them best
    from the others (the largest sum of both hit rates, Youden 1950); else the confidence that 99 % of `tune` exceed.
    """
    within = [one for one in tune if one.example.intent in intents]
    outside = [*outside, *(one for one in tune if one.example.intent == OUT_OF_SCOPE)]
    if len(within) < LEAST:
        return Calibration()
    logits = _logits(model, padded, within)
    right = torch.tensor([intents.index(one.example.intent) for one in within])
    temperature = min(torch.logspace(-0.7, 0.7, 57).tolist(), key=lambda t: float(F.cross_entropy(logits / t, right)))
    chances = (logits / temperature).softmax(1)
    sure, hit = chances.amax(1), chances.argmax(1) == right
    before = logits.softmax(1)
    ece_before, _ = expected_calibration_error(before.amax(1), before.argmax(1) == right)
    ece, bins = expected_calibration_error(sure, hit)
    if not outside:
        return Calibration(float(temperature), float(sure.quantile(0.01)), ece_before, ece, bins)
    strange = (_logits(model, padded, outside) / temperature).softmax(1).amax(1)
    threshold, told = _parted(sure, strange)
    return Calibration(float(temperature), threshold, ece_before, ece, bins, told)


def expected_calibration_error(sure: Tensor, hit: Tensor) -> tuple[float, tuple[tuple[float, float, int], ...]]:
    """The mean distance of confidence and accuracy over ten bins, weighted by their examples (Naeini et al., 2015)."""
    which = (sure * BINS).long().clamp(max=BINS - 1)
    error, bins = 0.0, []
    for number in range(BINS):
        inside = which == number
        if count := int(inside.sum()):
            confidence, accuracy = float(sure[inside].mean()), float(hit[inside].float().mean())
            error += abs(confidence - accuracy) * count / len(sure)
            bins.append((confidence, accuracy, count))
    return error, tuple(bins)


def _parted(sure: Tensor, strange: Tensor) -> tuple[float, dict[str, float]]:
    grid = torch.cat([sure, strange]).sort().values.tolist()
    threshold = max(grid, key=lambda t: float((sure >= t).float().mean() + (strange < t).float().mean()))
    return float(threshold), {
        "in_scope_kept": float((sure >= threshold).float().mean()),
        "out_of_scope_found": float((strange < threshold).float().mean()), "examples": float(len(strange)),
    }


def _logits(model: HeadModel, padded: Padded, rows: Sequence[Labelled]) -> Tensor:
    parts = [model(*padded([one.row for one in rows[i : i + BATCH]]))[0] for i in range(0, len(rows), BATCH)]
    return torch.cat(parts)
