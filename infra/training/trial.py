"""Judges a head by lines that taught it nothing: nor are a line's own results used to choose what it is reported by.

The epoch, the temperature, the threshold and the weight of transitions that a part of the lines is reported with come
from the other parts. What is shipped is chosen by all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from head_worker.decode import is_legal
from head_worker.engine import Array, Head, TokenVectors, log_of, softmax
from infra.training.calibrate import KEEP, LEAST, Calibration, calibrate, expected_calibration_error
from infra.training.evaluate import Labelled, Outcome, f1, outcomes, scores_of
from infra.training.examples import OUT_OF_SCOPE
from infra.training.folds import parts_of
from infra.training.tags import path_of
from infra.training.transitions import WEIGHTS, likelihoods
from topology.heads import HeadManifest

BATCH = 64


@dataclass
class Epoch:
    """What a model said of each line after an epoch: float32[lines, intents], float16[tokens, tags] of each."""

    intents: Array
    tags: list[Any]
    lines: list[Outcome]

    def __post_init__(self) -> None:
        inside = [one for one in self.lines if not one.outside]
        hit, said, there = (sum(counts[i].total() for counts in ((one.hit, one.found, one.there) for one in inside))
                            for i in range(3))
        self.intent_accuracy = sum(one.wanted == one.said for one in inside) / max(1, len(inside))
        self.span_f1 = f1(hit, said, there)
        self.has_spans = bool(said + there)
        self.sentence_accuracy = sum(one.whole for one in inside) / max(1, len(inside))

    @property
    def scores(self) -> dict[str, float]:
        """For who looks on: without `span_f1` where there was no span to find."""
        return {"intent_accuracy": self.intent_accuracy, **({"span_f1": self.span_f1} if self.has_spans else {})}

    @property
    def score(self) -> float:
        """In 0..3: what an epoch is chosen by."""
        return self.intent_accuracy + self.span_f1 + self.sentence_accuracy


@dataclass
class Trial:
    """Lines that do not teach, and what was said of them epoch by epoch."""

    rows: list[Labelled]
    epochs: list[Epoch] = field(default_factory=list)

    def note(self, head: Head) -> Epoch:
        """Keep what a head says of the lines now."""
        intents, tags = [], []
        for at in range(0, len(self.rows), BATCH):
            part = [one.row for one in self.rows[at : at + BATCH]]
            said, tokens = head.logits(part)
            intents.append(said)
            tags += np.split(tokens.astype(np.float16), np.cumsum([len(row.data) for row in part])[:-1])
        scores = np.concatenate(intents)
        epoch = Epoch(scores, tags, outcomes(Recorded(head.manifest, scores, tags), self.rows, len(self.rows)))
        self.epochs.append(epoch)
        return epoch

    def at(self, epoch: int) -> Epoch:
        """Counted from 0. A model that learned no longer stays as it was."""
        return self.epochs[min(epoch, len(self.epochs) - 1)]

    def parts(self, seed: int) -> list[Trial]:
        """The lines in parts, as of `parts_of`."""
        return [Trial([self.rows[i] for i in part], [
            Epoch(one.intents[part], [one.tags[i] for i in part], [one.lines[i] for i in part]) for one in self.epochs
        ]) for part in parts_of(len(self.rows), seed) if part]


class Recorded(Head):
    """A head that says again of a trial's lines what was said after an epoch."""

    nbytes = 0

    def __init__(
        self, manifest: HeadManifest, intents: Array, tags: Sequence[Any], transitions: Array | None = None
    ) -> None:
        super().__init__(manifest, transitions)
        self._intents, self._tags = intents, tags

    def logits(self, rows: Sequence[TokenVectors]) -> tuple[Array, Array]:
        """As `Head.logits`; `rows` are all of the trial's."""
        return self._intents, np.concatenate(self._tags).astype(np.float32)


@dataclass(frozen=True)
class Verdict:
    """What a head is shipped with, and what it is worth on other lines."""

    calibration: Calibration
    transitions: Array | None
    metrics: dict[str, Any]


def best_epoch(trials: Sequence[Trial]) -> int:
    """The epoch, counted from 0, with the highest mean score over the trials; the first of equals."""
    count = max(len(trial.epochs) for trial in trials)
    return max(range(count), key=lambda e: sum(trial.at(e).score for trial in trials))


def judge(
    trials: Sequence[Trial], epoch: int, manifest: HeadManifest, found: Array | None, keep: float = KEEP,
    spread: float = 0.0,
) -> Verdict:
    """`found`: how tags follow each other. `spread`: as of `wilson`. `epoch`: the shipped head's, counted from 0.

    Where the other parts are too few to choose a threshold for one, none is shipped: what it keeps could not be told.
    """
    shipped = _calibrated(trials, epoch, manifest, keep)
    likely = [_likelihoods(trial, epoch, manifest, found) for trial in trials]
    lines: list[Outcome] = []
    before: list[float] = []
    for number, trial in enumerate(trials):
        others = [other for other in trials if other is not trial]
        if not others:
            break
        chosen = best_epoch(others)
        own = _calibrated(others, chosen, manifest, keep)
        shipped = own if own == Calibration() else shipped
        said = trial.at(chosen)
        weight = _weight([one for i, one in enumerate(likely) if i != number])
        head = Recorded(_with(manifest, own), said.intents, said.tags, _weighed(found, weight))
        lines += outcomes(head, trial.rows, len(trial.rows))
        before += softmax(said.intents).max(axis=1).tolist()
    return Verdict(shipped, _weighed(found, _weight(likely)), _metrics(lines, before, spread) if lines else {})


def _metrics(lines: Sequence[Outcome], before: Sequence[float], spread: float) -> dict[str, Any]:
    scores = scores_of(lines, spread)
    metrics: dict[str, Any] = {**scores.as_dict(), "ece": 0.0, "ece_before": 0.0, "calibration_bins": []}
    if scores.examples < LEAST:
        return metrics
    inside = [(one, sure) for one, sure in zip(lines, before, strict=True) if not one.outside]
    hit = torch.tensor([one.wanted == one.said for one, _ in inside])
    ece, bins = expected_calibration_error(torch.tensor([one.confidence for one, _ in inside]), hit)
    ece_before, _ = expected_calibration_error(torch.tensor([sure for _, sure in inside]), hit)
    return {**metrics, "ece": ece, "ece_before": ece_before, "calibration_bins": [list(one) for one in bins]}


def _with(manifest: HeadManifest, found: Calibration) -> HeadManifest:
    return replace(manifest, temperature=found.temperature, out_of_scope_threshold=found.threshold,
                   out_of_scope_max_logit=found.max_logit)


def _calibrated(trials: Sequence[Trial], epoch: int, manifest: HeadManifest, keep: float) -> Calibration:
    logits = torch.from_numpy(np.concatenate([trial.at(epoch).intents for trial in trials]))
    wanted = [one.example.intent for trial in trials for one in trial.rows]
    inside = [i for i, intent in enumerate(wanted) if intent in manifest.intents]
    outside = [i for i, intent in enumerate(wanted) if intent == OUT_OF_SCOPE]
    right: Tensor = torch.tensor([manifest.intents.index(wanted[i]) for i in inside], dtype=torch.long)
    return calibrate(logits[inside], right, logits[outside], keep)


def _likelihoods(trial: Trial, epoch: int, manifest: HeadManifest, found: Array | None) -> list[float]:
    """Of the right paths, by the weights of WEIGHTS."""
    if found is None:
        return [0.0] * len(WEIGHTS)
    tuning = []
    for one, tags in zip(trial.rows, trial.at(epoch).tags, strict=True):
        if {f"B-{entity.label}" for entity in one.example.entities} <= set(manifest.tags):
            words, path = path_of(one, manifest.tags)
            if words and is_legal(path, manifest.tags):  # entities that share a word leave a path without likelihood
                tuning.append((log_of(softmax(tags[words].astype(np.float32))), path))
    return likelihoods(found, tuning, manifest.tags)


def _weight(likely: Sequence[Sequence[float]]) -> float:
    return WEIGHTS[int(np.argmax(np.sum(likely, axis=0)))]


def _weighed(found: Array | None, weight: float) -> Array | None:
    return None if found is None or not weight else found * np.float32(weight)
