"""The tags of an example's tokens and words."""

from __future__ import annotations

from collections.abc import Sequence

from head_worker.decode import words_of
from infra.training.evaluate import Labelled

IGNORED = -100


def tags_of(one: Labelled, tags: Sequence[str]) -> list[int]:
    """A tag for the first token of every word, IGNORED for the rest. A word inside a span belongs to it."""
    found = [IGNORED] * len(one.row.data)
    if len(tags) == 1:
        return found
    for token, start, end in words_of(one.row.text, one.row.offsets):
        found[token] = 0
        for entity in one.example.entities:
            if start < entity.end and entity.start < end:
                begins = start <= entity.start
                found[token] = tags.index(f"{'B' if begins else 'I'}-{entity.label}")
                break
    return found


def path_of(one: Labelled, tags: Sequence[str]) -> tuple[list[int], list[int]]:
    """(the first token of every word, the word's tag)."""
    found = [(token, tag) for token, tag in enumerate(tags_of(one, tags)) if tag != IGNORED]
    return [token for token, _ in found], [tag for _, tag in found]
