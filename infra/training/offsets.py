"""Where a span stands: in characters, or in the units that other tools count, and what a wrong one was meant as."""

from __future__ import annotations

from itertools import accumulate

UNITS = {"utf-16": "UTF-16 offsets", "bytes": "byte offsets"}  # what other tools count instead of characters


def in_characters(text: str, start: int, end: int, unit: str) -> tuple[int, int] | None:
    """The span `start` to `end` (exclusive), counted in `unit`, as characters.

    None where it lies outside the text, or begins or ends inside a character.
    """
    if unit == "characters":
        places = {i: i for i in range(len(text) + 1)}
    else:
        sizes = [len(one.encode("utf-16-le" if unit == "utf-16" else "utf-8", "surrogatepass")) for one in text]
        each = 2 if unit == "utf-16" else 1
        places = {size // each: i for i, size in enumerate(accumulate(sizes, initial=0))}
    if start in places and end in places:
        return places[start], places[end]
    return None


def better_fit(text: str, start: int, end: int, value: str) -> str:
    """What `start` and `end` must have been, for `value` to stand there; empty where no reading of them finds it."""
    for unit, name in UNITS.items():
        found = in_characters(text, start, end, unit)
        if found and is_same(text[slice(*found)], value):
            return f"{name} would fit: characters {found[0]}..{found[1]}"
    if is_same(text[start : end + 1], value):
        return f"an inclusive end would fit: characters {start}..{end + 1}"
    at = text.casefold().find(value.strip().casefold()) if len(text.casefold()) == len(text) else text.find(value)
    return f"it stands at {at}..{at + len(value.strip())}" if at >= 0 and value.strip() else ""


def is_same(said: str, value: str) -> bool:
    """Whether a span is its value, letters of either case and blanks around alike."""
    return said.strip().casefold() == value.strip().casefold()
