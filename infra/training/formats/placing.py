"""Where a span stands, whatever its tool counts: characters, or UTF-16 units as tools that run in a browser do."""

from __future__ import annotations

from typing import Any

from infra.training.examples import RowFault
from infra.training.offsets import in_characters

WAYS = ("characters", "utf-16", "bytes")


def placed(text: str, start: int, end: int, unit: str) -> tuple[int, int]:
    """The span in characters. LUIS counts UTF-16 units, and some tools that write its files count characters: without
    `unit` it is the one of the two that gives whole words. Raises: ValueError."""
    if unit:
        found = in_characters(text, start, end, unit)
    else:
        ways = [in_characters(text, start, end, one) for one in ("utf-16", "characters")]
        found = next((way for way in ways if way and _is_whole(text, *way)), ways[0] or ways[1])
    if found is None:
        raise ValueError(f"entity {start}..{end - 1} is outside the text")
    return found


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether no letter touches the span, and no blank is at its ends."""
    said = text[start:end]
    cut_before = text[start - 1 : start].isalnum() and said[:1].isalnum()
    cut_after = text[end : end + 1].isalnum() and said[-1:].isalnum()
    return said == said.strip() and not cut_before and not cut_after


def said_at(text: str, start: Any, end: Any, said: Any, unit: str) -> tuple[int, int]:
    """The span in characters that says `said`: counted in the unit that gives it or, where none does, the only place
    that says it. Without `said` as `placed`. Raises: ValueError."""
    if unit or not isinstance(said, str) or not said.strip():
        return placed(text, start, end, unit)
    for way in WAYS:
        found = in_characters(text, start, end, way)
        if found and text[found[0] : found[1]].split() == said.split():
            return found
    if text.count(said) == 1:
        return text.index(said), text.index(said) + len(said)
    raise RowFault(f"{start}..{end} is not {said!r}, as the file says, in any unit", "offsets")
