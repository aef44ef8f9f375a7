"""Values that are known by lists alone: rows that say one of them get the spans that their own tool would find."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from infra.training.examples import Entity
from infra.training.formats.found import Found

SHOWN = 5
WORD = re.compile(r"\w+")


def mark(found: Found) -> None:
    """Give spans of `found.listed` to rows, where no row has a span of that label; tell labels that stay without."""
    spanned = {one.label for row in found.rows for one in row.example.entities}
    labels = {label: values for label, values in found.synonyms.items() if label not in spanned}
    ways = {" ".join(way.casefold().split()): label for label, values in sorted(labels.items())
            if label in found.listed for value, others in values.items() for way in (value, *others)}
    counts: Counter[str] = Counter()
    if ways:
        longest = max(len(WORD.findall(way)) for way in ways)
        for i, row in enumerate(found.rows):
            taken = list(row.example.entities)
            new = []
            for one in _said(row.example.text, ways, longest):
                if all(one.end <= other.start or other.end <= one.start for other in taken):
                    taken.append(one)
                    new.append(one)
            if new:
                counts.update(one.label for one in new)
                entities = tuple(sorted(taken, key=lambda one: one.start))
                found.rows[i] = replace(row, example=replace(row.example, entities=entities))
    for label, count in sorted(counts.items()):
        found.notes[f"spans of {label}, which the list of its values gave"] += count
    if unseen := sorted(set(labels) - set(counts)):
        some = ", ".join(unseen[:SHOWN]) + (", …" if len(unseen) > SHOWN else "")
        found.notes[f"labels with values but no span in any row, which no head will find ({some})"] += len(unseen)


def _said(text: str, ways: Mapping[str, str], longest: int) -> Iterator[Entity]:
    """What is said of `ways` in whole words, the longer first where two begin alike."""
    words = [match.span() for match in WORD.finditer(text)]
    at = 0
    while at < len(words):
        for end in range(min(len(words), at + longest), at, -1):
            said = text[words[at][0] : words[end - 1][1]]
            if label := ways.get(" ".join(said.casefold().split())):
                yield Entity(words[at][0], words[end - 1][1], label)
                at = end - 1
                break
        at += 1
