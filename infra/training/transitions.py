"""How well tags follow each other in a tenant's examples, and how much that is worth beside what the words say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from head_worker.decode import legal_transitions
from head_worker.engine import Array

SMOOTHING = 5.0  # times that every tag has been seen after every other, in proportion to its own share
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
NEAR = 12.0  # nats below the likeliest tag from which on a tag adds nothing to a sum that matters

Path = Sequence[int]


def associations(paths: Sequence[Path], tags: int) -> Array:
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


def likelihoods(found: Array, tuning: Sequence[tuple[Array, Path]], tags: Sequence[str]) -> list[float]:
    """How likely the right paths are together under each weight of WEIGHTS, as logarithms.

    `tuning`: (log chances float32[words, tags], right path) of each utterance. Likelihood, and not how many come out
    right: a few hundred utterances tell weights apart by the one and not by the other.
    """
    totals = []
    for weight in WEIGHTS:
        transitions = legal_transitions(found * np.float32(weight), tags)
        totals.append(sum(log_likelihood(scores, transitions, path) for scores, path in tuning))
    return totals


def log_likelihood(scores: Array, transitions: Array, path: Path) -> float:
    """Of a path among all: a linear chain's (Lafferty et al. 2001), by the forward algorithm."""
    reached = scores[0] + transitions[-1]
    own = float(reached[path[0]])
    for word in range(1, len(scores)):
        near = np.flatnonzero(reached > reached.max() - NEAR)
        sums = reached[near, None] + transitions[near]
        most = sums.max(axis=0)
        inner = np.where(np.isfinite(most), most, 0)
        with np.errstate(divide="ignore"):
            reached = np.log(np.exp(sums - inner).sum(axis=0)) + inner + scores[word]
        own += float(scores[word, path[word]] + transitions[path[word - 1], path[word]])
    most_of_all = float(reached.max())
    return own - most_of_all - float(np.log(np.exp(reached - most_of_all).sum()))
