"""Scores a head: intent accuracy, exact-match span F1 (as CoNLL-2003 counts it) and out of scope, apart."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from head_worker.engine import Head, TokenVectors
from infra.training.examples import OUT_OF_SCOPE, Example
from infra.training.interval import Interval, bootstrap, wilson


@dataclass(frozen=True)
class Labelled:
    """An example and its token vectors, as they would reach a head worker."""

    example: Example
    row: TokenVectors


@dataclass(frozen=True)
class Outcome:
    """What a head made of one line. The counts are of spans by label: right, said, and there to be found."""

    wanted: str
    said: str
    confidence: float
    refused: bool  # as out of scope
    hit: Counter[str]
    found: Counter[str]
    there: Counter[str]
    scope_score: float = 0.0  # what the threshold parts by: a head's max logit, or its confidence

    @property
    def outside(self) -> bool:
        """Whether the line is an example of what is out of scope."""
        return self.wanted == OUT_OF_SCOPE

    @property
    def whole(self) -> bool:
        """Whether the intent and every span are right."""
        return self.wanted == self.said and self.hit == self.found == self.there


@dataclass(frozen=True)
class Scores:
    """All in 0..1. Intents and spans are counted on the `examples` that are in scope, whatever the threshold refuses.

    `intervals`: of 95 %, by the name of the score. `out_of_scope`: what is kept, found and right in being refused.
    """

    intent_accuracy: float
    span_f1: float
    f1_by_label: dict[str, float]
    sentence_accuracy: float = 0.0  # intent and every span right
    confusion: tuple[tuple[str, str, int], ...] = ()  # (wanted, said, how often)
    examples: int = 0
    spans: int = 0  # there to be found
    intervals: dict[str, Interval] = field(default_factory=dict)
    out_of_scope: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """As `head.json` keeps it."""
        return {
            "intent_accuracy": self.intent_accuracy, "span_f1": self.span_f1,
            "sentence_accuracy": self.sentence_accuracy, "span_f1_by_label": self.f1_by_label,
            "confusion": [list(one) for one in self.confusion], "examples": self.examples, "spans": self.spans,
            "intervals": {name: list(one) for name, one in self.intervals.items()}, "out_of_scope": self.out_of_scope,
        }


def evaluate(head: Head, rows: Sequence[Labelled], batch: int = 64) -> Scores:
    """The head's scores on labelled rows. A span counts where start, end and label are all right.

    System entities are not counted, nor looked for.
    """
    own = copy.copy(head)
    own.manifest = replace(head.manifest, system_entities=(), synonyms={})
    return scores_of(outcomes(own, rows, batch))


def outcomes(head: Head, rows: Sequence[Labelled], batch: int = 64) -> list[Outcome]:
    """What the head makes of each row. A head without tags is not asked for entities."""
    made, asked = [], len(head.manifest.tags) > 1
    by_confidence = head.manifest.out_of_scope_max_logit is None
    for i in range(0, len(rows), batch):
        part = rows[i : i + batch]
        for one, scored in zip(part, head.predict([one.row for one in part]), strict=True):
            wanted = {(e.start, e.end, e.label) for e in one.example.entities if asked}
            found = {(e.start, e.end, e.label) for e in scored.entities}
            hit, said, there = (Counter(label for _, _, label in spans) for spans in (wanted & found, found, wanted))
            made.append(Outcome(one.example.intent, scored.intent, scored.confidence, scored.out_of_scope, hit, said,
                                there, scored.confidence if by_confidence else scored.max_logit))
    return made


def scores_of(lines: Sequence[Outcome], spread: float = 0.0) -> Scores:
    """The scores of lines together. `spread`: as of `wilson`; below 0, no intervals (they take a moment)."""
    inside = [one for one in lines if not one.outside]
    hit, said, there = (sum(counts, Counter[str]()) for counts in (
        (one.hit for one in inside), (one.found for one in inside), (one.there for one in inside)))
    right = sum(one.wanted == one.said for one in inside)
    whole, count = sum(one.whole for one in inside), len(inside)
    intervals = {}
    if spread >= 0 and count:
        intervals = {"intent_accuracy": wilson(right, count, spread), "sentence_accuracy": wilson(whole, count, spread)}
        if there:
            counts = np.array([[c.total() for c in (one.hit, one.found, one.there)] for one in inside])
            intervals["span_f1"] = bootstrap(counts, spread)
    return Scores(
        right / max(1, count), f1(hit.total(), said.total(), there.total()),
        {label: f1(hit[label], said[label], there[label]) for label in sorted(there | said)}, whole / max(1, count),
        tuple((*pair, n) for pair, n in sorted(Counter((one.wanted, one.said) for one in inside).items())),
        count, there.total(), intervals, out_of_scope(lines),
    )


def out_of_scope(lines: Sequence[Outcome]) -> dict[str, float]:
    """How a threshold parts the lines in scope from those out of it. Of these alone: what it finds; of those: empty."""
    inside, outside = ([one for one in lines if one.outside is kind] for kind in (False, True))
    if not outside:
        return {}
    kept, found = sum(not one.refused for one in inside), sum(one.refused for one in outside)
    if not inside:
        return {"out_of_scope_found": found / len(outside), "examples": float(len(outside))}
    refused = found + len(inside) - kept
    sure = np.sort([one.scope_score for one in inside])
    strange = np.array([one.scope_score for one in outside])
    above = len(sure) - (np.searchsorted(sure, strange, "left") + np.searchsorted(sure, strange, "right")) / 2
    return {
        "in_scope_kept": kept / len(inside), "out_of_scope_found": found / len(outside),
        "precision": found / refused if refused else 0.0, "auroc": float(above.mean() / len(sure)),
        "in_scope_examples": float(len(inside)), "examples": float(len(outside)),
        "accuracy_with_threshold": sum(one.wanted == one.said and not one.refused for one in inside) / len(inside),
    }


def f1(hit: int, said: int, there: int) -> float:
    """The harmonic mean of precision and recall; 1 where there is nothing to find and nothing was said."""
    return 2 * hit / (said + there) if said + there else 1.0
