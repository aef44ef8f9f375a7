"""How two head versions differ over the same utterances: counts, and the few that are worth reading. Pure arithmetic.

Every pair of rows has one kind, the first of these that holds: `refused` (by one of the two), `intent` (another
intent), `scope` (the same intent, in scope for one version and out of it for the other), `entities` (another span,
label or value), `same`. Two refusals of one utterance are counted apart, and compare nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from infra.backfill.compare.entity_changes import SAME, entity_changes
from infra.backfill.job import Row

KINDS = ("same", "entities", "scope", "intent", "refused")
BINS = 20  # of a histogram of confidences
Z_95 = 1.959964  # standard deviations of a 95 % interval
IN_SCOPE, OUT_OF_SCOPE = "in scope", "out of scope"
VERSIONS = ("before", "after")


@dataclass(frozen=True)
class Sampling:
    """Which utterances are kept to be read: of each change (`on` to `off`) those that both versions are surest of."""

    each: int = 5  # of one change
    changes: int = 500  # different ones; later ones are only counted: memory, against rare changes to read
    text_chars: int = 400  # kept of a text: a page that can be read, against whole texts


SAMPLING = Sampling()
Change = tuple[str, str, str]  # kind, before, after


@dataclass
class _Confidences:
    """Sums and histograms of both versions' confidences in the same utterances."""

    count: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(VERSIONS, 0.0))
    bins: dict[str, list[int]] = field(default_factory=lambda: {name: [0] * BINS for name in VERSIONS})

    def add(self, before: Row, after: Row) -> None:
        self.count += 1
        for name, row in zip(VERSIONS, (before, after), strict=True):
            self.sums[name] += row["confidence"]
            self.bins[name][min(BINS - 1, max(0, int(row["confidence"] * BINS)))] += 1

    def summary(self) -> dict[str, Any]:
        means = {name: self.sums[name] / self.count if self.count else 0.0 for name in VERSIONS}
        shift = means["after"] - means["before"]
        return {"utterances": self.count, "mean": means, "shift": shift, "histogram": self.bins}


class Comparison:
    """Takes pairs of rows (`target.py` says what a row has), one after the other, and gives the `summary` at any time.

    Its memory depends on the heads' labels and on `sampling`, never on how many pairs it took.
    """

    def __init__(self, sampling: Sampling = SAMPLING) -> None:
        self._sampling = sampling
        self._kinds: Counter[str] = Counter()
        self.refused_by_both: Counter[str] = Counter()  # reason → utterances
        self._refused: dict[str, Counter[str]] = {name: Counter() for name in VERSIONS}
        self._intents: Counter[tuple[str, str]] = Counter()
        self._labels: Counter[str] = Counter()
        self._scope: Counter[tuple[str, str]] = Counter()
        self._out_in_both = 0
        self._entities: dict[str, Counter[str]] = {}
        self._relabeled: Counter[tuple[str, str]] = Counter()
        self._confidence, self._agreeing = _Confidences(), _Confidences()
        self._changes: Counter[Change] = Counter()
        self._samples: dict[Change, list[dict[str, Any]]] = {}
        self._unsampled = 0

    @property
    def utterances(self) -> int:
        """Pairs taken so far."""
        return self._kinds.total() + self.refused_by_both.total()

    def add(self, before: Row, after: Row) -> None:
        """What both versions say of one utterance."""
        if before["error"] and after["error"]:
            self.refused_by_both[before["error"]] += 1
            return
        refused = before["error"] or after["error"]
        change = self._note_refusal(before, after) if refused else self._note_results(before, after)
        kind = change[0] if change else "same"
        self._kinds[kind] += 1
        if change:
            self._changes[change] += 1
            self._keep(change, before, after)

    def _note_refusal(self, before: Row, after: Row) -> Change:
        name, row = ("before", before) if before["error"] else ("after", after)
        self._refused[name][row["error"]] += 1
        if name == "after":
            self._labels[before["intent"]] += 1
        sides = [f"refused: {one['error']}" if one["error"] else one["intent"] for one in (before, after)]
        return "refused", sides[0], sides[1]

    def _note_results(self, before: Row, after: Row) -> Change | None:
        self._labels[before["intent"]] += 1
        self._intents[before["intent"], after["intent"]] += 1
        scopes = tuple(OUT_OF_SCOPE if row["out_of_scope"] else IN_SCOPE for row in (before, after))
        self._scope[scopes[0], scopes[1]] += 1
        self._confidence.add(before, after)
        found = entity_changes(before["entities"], after["entities"])
        for label, how in found.labels:
            self._entities.setdefault(label, Counter())[how] += 1
        self._relabeled.update(found.relabeled)
        if before["intent"] != after["intent"]:
            self._out_in_both += scopes == (OUT_OF_SCOPE, OUT_OF_SCOPE)
            return "intent", before["intent"], after["intent"]
        self._agreeing.add(before, after)
        if scopes[0] != scopes[1]:
            return "scope", scopes[0], scopes[1]
        return next((("entities", label, how) for label, how in found.labels if how != SAME), None)

    def _keep(self, change: Change, before: Row, after: Row) -> None:
        """Keep the utterance if it is among the surest of its change; a text is kept once."""
        kept = self._samples.get(change)
        if kept is None:
            if len(self._samples) >= self._sampling.changes:
                self._unsampled += 1
                return
            kept = self._samples[change] = []
        text = before["text"] or after["text"]
        text = text[: self._sampling.text_chars] + "…" * (len(text) > self._sampling.text_chars)
        if any(one["text"] == text for one in kept):
            return
        sure = before["confidence"] + after["confidence"]
        if len(kept) == self._sampling.each and sure <= kept[-1]["sure"]:
            return
        place = {name: before[name] for name in ("utterance_id", "source", "partition", "offset")}
        kept.append({"text": text, "sure": sure, **place, "before": _told(before), "after": _told(after)})
        kept.sort(key=lambda one: -one["sure"])
        del kept[self._sampling.each :]

    def summary(self) -> dict[str, Any]:
        """All of it, in maps and lists that JSON can hold."""
        compared = self._kinds.total()
        same = compared - self._kinds["intent"] - self._kinds["refused"]
        return {
            "utterances": self.utterances, "compared": compared,
            "kinds": {kind: self._kinds[kind] for kind in KINDS},
            "same_intent": share(same, compared), "same_result": share(self._kinds["same"], compared),
            "changed_intents": _sorted((a, b, n) for (a, b), n in self._intents.items() if a != b),
            "changed_out_of_scope_in_both": self._out_in_both,
            "matrix": _sorted((a, b, n) for (a, b), n in self._intents.items()),
            "by_intent": self._by_intent(),
            "scope": [[a, b, self._scope[a, b]] for a in (IN_SCOPE, OUT_OF_SCOPE) for b in (IN_SCOPE, OUT_OF_SCOPE)],
            "entities": {label: dict(counts) for label, counts in sorted(self._entities.items())},
            "relabeled": _sorted((a, b, n) for (a, b), n in self._relabeled.items()),
            "confidence": self._confidence.summary(), "confidence_same_intent": self._agreeing.summary(),
            "refused": {name: dict(self._refused[name].most_common()) for name in VERSIONS},
            "refused_by_both": dict(self.refused_by_both.most_common()),
            "samples": list(self._sampled()), "changes_without_samples": self._unsampled,
        }

    def _by_intent(self) -> list[dict[str, Any]]:
        """By the intent that the first version gives: how many get another from the second, or none."""
        rows = []
        for intent, count in self._labels.items():
            changed = count - self._intents[intent, intent]
            of_all = share(changed, count)
            rows.append({"intent": intent, "utterances": count, "changed": of_all.pop("count"), **of_all})
        return sorted(rows, key=lambda row: (-row["changed"], row["intent"]))

    def _sampled(self) -> Iterator[dict[str, Any]]:
        for change, kept in sorted(self._samples.items(), key=lambda item: (-self._changes[item[0]], item[0])):
            kind, before, after = change
            told = [{name: value for name, value in one.items() if name != "sure"} for one in kept]
            yield {"kind": kind, "before": before, "after": after, "utterances": self._changes[change], "texts": told}


def _told(row: Row) -> dict[str, Any]:
    names = ("intent", "confidence", "out_of_scope", "error")
    spans = [{name: one.get(name) for name in ("start", "end", "label", "text", "value")} for one in row["entities"]]
    return {**{name: row[name] for name in names}, "entities": spans}


def _sorted(cells: Iterator[tuple[str, str, int]]) -> list[list[Any]]:
    return [list(cell) for cell in sorted(cells, key=lambda cell: (-cell[2], cell[0], cell[1]))]


def share(count: int, total: int) -> dict[str, Any]:
    """A count's share of a total, with its 95 % interval."""
    return {"count": count, "share": count / total if total else 0.0, "interval": list(wilson(count, total))}


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): within 0..1 and honest for small totals and shares near 0 or 1."""
    if not total:
        return 0.0, 1.0
    at, z2 = count / total, Z_95 * Z_95
    middle = (at + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 * math.sqrt(at * (1 - at) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    return (0.0 if count == 0 else max(0.0, middle - half)), (1.0 if count == total else min(1.0, middle + half))
