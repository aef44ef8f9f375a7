"""How well tags follow each other in a tenant's examples, and how much that is worth beside what the words say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from head_worker.engine import Array
from infra.training.evaluate import Scores

SMOOTHING = 5.0  # times that every tag has been seen after every other, in proportion to its own share
WEIGHTS = (0.0, 0.15, 0.3, 0.5)


def associations(paths: Sequence[Sequence[int]], tags: int) -> Array:
    """float32[tags + 1, tags]: log P(next | tag) / P(next) over tag sequences (pointwise mutual information, Church and
    Hanks 1990); the last row is from the beginning."""
    counts, own = np.zeros((tags + 1, tags)), np.full(tags, 1e-3)
    for path in paths:
        before = tags
        for tag in path:
            counts[before, tag] += 1
            own[tag] += 1
            before = tag
    own /= own.sum()
    chances = (counts + SMOOTHING * own) / (counts.sum(axis=1, keepdims=True) + SMOOTHING)
    found: Array = np.log(chances / own).astype(np.float32)
    return found


def weighed(found: Array, scored: Callable[[Array | None], Scores]) -> Array | None:
    """`found` times the weight of WEIGHTS that scores best on the tuning part (sentences and spans), None for 0."""
    choices = [None if not weight else found * np.float32(weight) for weight in WEIGHTS]
    totals = [score.sentence_accuracy + score.span_f1 for score in map(scored, choices)]
    return choices[int(np.argmax(totals))]  # the first of equals: the smallest
