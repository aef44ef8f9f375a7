"""Scores a head: intent accuracy and exact-match span F1 (as CoNLL-2003 counts it), by label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from head_worker.engine import Head, TokenVectors
from infra.training.examples import Example


@dataclass(frozen=True)
class Labelled:
    """An example and its token vectors, as they would reach a head worker."""

    example: Example
    row: TokenVectors


@dataclass(frozen=True)
class Scores:
    """All in 0..1."""

    intent_accuracy: float
    span_f1: float
    f1_by_label: dict[str, float]
    sentence_accuracy: float = 0.0  # intent and every span right
    confusion: tuple[tuple[str, str, int], ...] = ()  # (wanted, said, how often)

    def as_dict(self) -> dict[str, object]:
        """As `head.json` keeps it."""
        return {
            "intent_accuracy": self.intent_accuracy, "span_f1": self.span_f1,
            "sentence_accuracy": self.sentence_accuracy, "span_f1_by_label": self.f1_by_label,
            "confusion": [list(one) for one in self.confusion],
        }


def evaluate(head: Head, rows: Sequence[Labelled], batch: int = 64) -> Scores:
    """The head's scores on labelled rows. A span counts where start, end and label are all right."""
    right = whole = 0
    confusion: Counter[tuple[str, str]] = Counter()
    hit: Counter[str] = Counter()
    said: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for i in range(0, len(rows), batch):
        part = rows[i : i + batch]
        for one, scored in zip(part, head.predict([one.row for one in part]), strict=True):
            right += scored.intent == one.example.intent
            wanted = {(e.start, e.end, e.label) for e in one.example.entities}
            found = {(e.start, e.end, e.label) for e in scored.entities}
            confusion[one.example.intent, scored.intent] += 1
            whole += scored.intent == one.example.intent and found == wanted
            there.update(label for _, _, label in wanted)
            said.update(label for _, _, label in found)
            hit.update(label for _, _, label in wanted & found)
    by_label = {label: f1(hit[label], said[label], there[label]) for label in sorted(there | said)}
    span_f1, count = f1(hit.total(), said.total(), there.total()), max(1, len(rows))
    pairs = tuple((wanted, said, n) for (wanted, said), n in sorted(confusion.items()))
    return Scores(right / count, span_f1, by_label, whole / count, pairs)


def f1(hit: int, said: int, there: int) -> float:
    """The harmonic mean of precision and recall; 1 where there is nothing to find and nothing was said."""
    return 2 * hit / (said + there) if said + there else 1.0
