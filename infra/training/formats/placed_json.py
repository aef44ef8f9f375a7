"""JSON documents whose maps and lists know the line that they begin on, so that a bad one can be named."""

from __future__ import annotations

import json
from bisect import bisect_left
from json import decoder, scanner
from typing import Any


class PlacedMap(dict[str, Any]):
    """A JSON object. `line`: where it begins, counted from 1."""

    line = 0


class PlacedList(list[Any]):
    """A JSON array. `line`: where it begins, counted from 1."""

    line = 0


def parse(text: str) -> Any:
    """The document. Raises: ValueError, which names line and column."""
    try:
        return _Decoder(text).decode(text)
    except RecursionError as error:
        raise ValueError("maps and lists are nested too deeply") from error


def line_of(value: Any) -> int:
    """The line that a map or list begins on; 0 for others."""
    return value.line if isinstance(value, PlacedMap | PlacedList) else 0


def items(value: Any) -> list[Any]:
    """The members of a list; none where it is no list."""
    return value if isinstance(value, list) else []


def maps(value: Any) -> list[dict[str, Any]]:
    """The maps of a list; none where it is no list."""
    return [one for one in items(value) if isinstance(one, dict)]


class _Decoder(json.JSONDecoder):
    """The library's own decoder in Python, 4 MB/s: that in C tells no places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._breaks = [at for at, letter in enumerate(text) if letter == "\n"]
        self.parse_object = self._map
        self.parse_array = self._list
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    def _map(self, at: tuple[str, int], *rest: Any) -> tuple[PlacedMap, int]:
        found, end = decoder.JSONObject(at, *rest)  # type: ignore[attr-defined]
        placed = PlacedMap(found)
        placed.line = self._line(at[1])
        return placed, end

    def _list(self, at: tuple[str, int], *rest: Any) -> tuple[PlacedList, int]:
        found, end = decoder.JSONArray(at, *rest)  # type: ignore[attr-defined]
        placed = PlacedList(found)
        placed.line = self._line(at[1])
        return placed, end

    def _line(self, at: int) -> int:
        return bisect_left(self._breaks, at) + 1
