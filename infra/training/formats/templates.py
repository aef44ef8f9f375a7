"""Sentences with places to fill in, such as `top {count} in {city}`: rows come from the values of such places."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

MOST = 5  # rows of one template: more would repeat its other words
BRACES = re.compile(r"\{\s*([\w.]+)\s*\}")
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")


class Filling:
    """`values`: what may stand for a label. Each is taken in its turn, so that many templates show many of them."""

    def __init__(self, values: dict[str, list[str]]) -> None:
        self.values = values
        self._turn: Counter[str] = Counter()

    def rows(self, pieces: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
        """The (text, label or none) segments of every row that (text, label or none) pieces give: the text of a piece
        with a label is not used. A label without values is said by its name."""
        sizes = [len(self._of(label)) for _, label in pieces if label]
        for _ in range(min(MOST, max(sizes, default=1))):
            yield [(self._next(label) if label else text, label) for text, label in pieces]

    def unknown(self, pieces: Sequence[tuple[str, str]]) -> list[str]:
        """The labels that have no values."""
        return [label for _, label in pieces if label and not self.values.get(label)]

    def _of(self, label: str) -> Sequence[str]:
        return self.values.get(label) or [" ".join(WORDS.findall(label)).lower() or label]

    def _next(self, label: str) -> str:
        values = self._of(label)
        self._turn[label] += 1
        return values[(self._turn[label] - 1) % len(values)]


def pieces_of(template: str, places: re.Pattern[str] = BRACES) -> list[tuple[str, str]]:
    """(text, "") and ("", label) in their order. The last group that matched in `places` is the label."""
    found: list[tuple[str, str]] = []
    at = 0
    for match in places.finditer(template):
        found += [(template[at : match.start()], ""), ("", str(match[match.lastindex or 0]))]
        at = match.end()
    return [*found, (template[at:], "")]
