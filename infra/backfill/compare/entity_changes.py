"""What became of the entities of one utterance, between two head versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Entity = Mapping[str, Any]  # of start, end, label, text, confidence, value

SAME, OTHER_VALUE, OTHER_SPAN = "same", "other value", "other span"
ONLY_BEFORE, ONLY_AFTER = "only before", "only after"
HOWS = (SAME, OTHER_VALUE, OTHER_SPAN, ONLY_BEFORE, ONLY_AFTER)


@dataclass(frozen=True)
class EntityChanges:
    """`labels`: (label, what became of it) of each entity. `relabeled`: (label before, label after) of spans that both
    versions found; each of them is also in `labels`, as only before and only after."""

    labels: list[tuple[str, str]]
    relabeled: list[tuple[str, str]]


def entity_changes(before: Sequence[Entity], after: Sequence[Entity]) -> EntityChanges:
    """Pair the entities of one utterance: first those of the same label and span, then those of the same label whose
    spans overlap; what is left was found by one version only."""
    gone, new = list(before), list(after)
    labels = [
        (one["label"], SAME if one.get("value") == other.get("value") else OTHER_VALUE)
        for one, other in _paired(gone, new, _same_place)
    ]
    labels += [(one["label"], OTHER_SPAN) for one, _ in _paired(gone, new, _overlap)]
    relabeled = [(one["label"], other["label"]) for one in gone for other in new if _span(one) == _span(other)]
    labels += [(one["label"], ONLY_BEFORE) for one in gone] + [(one["label"], ONLY_AFTER) for one in new]
    return EntityChanges(labels, relabeled)


def _paired(
    gone: list[Entity], new: list[Entity], fits: Callable[[Entity, Entity], bool]
) -> list[tuple[Entity, Entity]]:
    """The pairs that fit, in order; what is paired is taken out of both lists."""
    pairs = []
    for one in list(gone):
        other = next((entity for entity in new if fits(one, entity)), None)
        if other is not None:
            gone.remove(one)
            new.remove(other)
            pairs.append((one, other))
    return pairs


def _same_place(a: Entity, b: Entity) -> bool:
    return bool(_span(a) == _span(b) and a["label"] == b["label"])


def _overlap(a: Entity, b: Entity) -> bool:
    return bool(a["label"] == b["label"] and a["start"] < b["end"] and b["start"] < a["end"])


def _span(entity: Entity) -> tuple[int, int]:
    return entity["start"], entity["end"]
