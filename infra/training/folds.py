"""Which lines a head is scored on, and which teach it: stratified and shuffled, a text always on one side."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from infra.training.examples import Example

FOLDED = 400  # lines from which on a tenth is held out once, and not every line in turn: folds train six times
FOLDS = 5
TENTH = 10
HALVED = 100  # held-out lines


def folds_of(examples: Sequence[Example], seed: int) -> list[list[int]]:
    """The lines (by place) to hold out, fold by fold; from FOLDED lines on one fold of a tenth.

    Lines that are alike but for case and blanks share a fold, and so do those that were made of one template. A line
    with an intent that no other line has is in no fold. One with a label that no other has is in no fold of a tenth,
    where the head never learns from what is held out; of five folds it is, as such lines are a share of what is still
    to come, and left out the figure is too high (ATIS, 139 lines: span F1 74 % printed, 67 % unseen).
    """
    count = FOLDS if len(examples) < FOLDED else TENTH
    groups, first = defaultdict[str, list[int]](list), dict[str, str]()
    for place, one in enumerate(examples):
        text = " ".join(one.text.casefold().split())
        groups[first.setdefault(text, one.source or text)].append(place)
    lone = rare(examples, [places[0] for places in groups.values()])
    lone = {kind for kind in lone if count == TENTH or kind[0] == "intent"}
    by_intent: dict[str, list[list[int]]] = defaultdict(list)
    for places in groups.values():
        if not any(kind in lone for place in places for kind in _kinds(examples[place])):
            by_intent[examples[places[0]].intent].append(places)
    shuffle, found, turn = random.Random(seed), [list[int]() for _ in range(count)], 0
    for intent in sorted(by_intent):
        shuffle.shuffle(by_intent[intent])
        for places in by_intent[intent]:
            found[turn % count] += places
            turn += 1
    found = [sorted(fold) for fold in found if fold]
    return found[:1] if count == TENTH else found


def rare(examples: Sequence[Example], places: Sequence[int]) -> set[tuple[str, str]]:
    """("intent" or "label", name) of what only one of the lines has."""
    counts = Counter(kind for place in places for kind in _kinds(examples[place]))
    return {kind for kind, count in counts.items() if count == 1}


def parts_of(count: int, seed: int) -> list[list[int]]:
    """The places of `count` lines by chance in two halves; of few lines in ten parts, as each is judged by what the
    others choose, and half of few lines chooses no threshold."""
    order, parts = list(range(count)), 2 if count >= HALVED else TENTH
    random.Random(seed).shuffle(order)
    return [sorted(order[at::parts]) for at in range(parts)]


def _kinds(example: Example) -> set[tuple[str, str]]:
    return {("intent", example.intent), *(("label", one.label) for one in example.entities)}
