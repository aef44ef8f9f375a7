"""Makes confidences mean what they say, and finds where an utterance is out of scope."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from head_worker.engine import max_logits
from infra.training.examples import OUT_OF_SCOPE as OUT_OF_SCOPE

LEAST = 20  # lines: fewer calibrate nothing, and tell nothing
BINS = 10
KEEP = 0.97  # of what is in scope, at least
UNSEEN = 0.99  # kept where nobody said what is out of scope


@dataclass(frozen=True)
class Calibration:
    """What the logits are divided by, and the max logit below which an utterance is out of scope.

    `threshold`: the confidence below which it is, for older workers.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    max_logit: float | None = None


def calibrate(logits: Tensor, right: Tensor, outside: Tensor, keep: float = KEEP) -> Calibration:
    """The temperature with the least loss (Guo et al., 2017) and the thresholds for out of scope, on held-out lines.

    `logits`: float32[lines, intents] in scope, `right`: int64[lines] their intents, `outside`: float32[lines, intents]
    of lines out of scope. A threshold parts both best (the largest sum of both hit rates, Youden 1950) among those
    that keep a share of `keep` of other lines in scope; without lines out of scope it keeps 99 %.
    """
    if len(logits) < LEAST:
        return Calibration()
    temperature = min(torch.logspace(-0.7, 0.7, 57).tolist(), key=lambda t: float(F.cross_entropy(logits / t, right)))
    sure, strange = ((one / temperature).softmax(1).amax(1) for one in (logits, outside))
    fit, unfit = (torch.from_numpy(max_logits(one.numpy())) for one in (logits, outside))
    threshold = _parted(sure, strange, keep)
    return Calibration(float(temperature), threshold, _parted(fit, unfit, keep) if threshold else None)


def _parted(sure: Tensor, strange: Tensor, keep: float) -> float:
    """Of n lines in scope, another is below the k-th least sure with a chance of k / (n + 1) (Vovk et al. 2005)."""
    sure = sure.sort().values
    lost = 1 - (keep if len(strange) else max(keep, UNSEEN))
    nearest = 0.5 if len(strange) else 1e-9  # of 60 lines 3 % are two, as one alone may be a line labelled wrongly
    allowed = min(math.floor(lost * (len(sure) + 1) + nearest), len(sure))
    if not len(strange):
        return float(sure[allowed - 1]) if allowed else 0.0
    grid = sure[: max(1, allowed)]
    parted = (sure >= grid[:, None]).float().mean(1) + (strange < grid[:, None]).float().mean(1)
    return float(grid[int((parted >= parted.max() - 1e-6).nonzero().max())])


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
