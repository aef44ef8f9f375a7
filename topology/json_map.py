"""JSON from elsewhere: a map that is small, flat and plain enough to be worked with, or a ValueError."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

MAX_DEPTH = 32  # of maps and lists in each other; copying and printing call themselves once a level


def parse_json_map(data: bytes | str, max_bytes: int) -> dict[str, Any]:
    """The map in `data`. NaN, Infinity, a name twice in one map and strings that are not Unicode are refused.

    Raises: ValueError, and nothing else.
    """
    if len(data) > max_bytes:
        raise ValueError(f"{len(data)} bytes, the limit is {max_bytes}")
    try:
        text = data.decode() if isinstance(data, bytes) else data
        body = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from error
    if not isinstance(body, dict):
        raise ValueError(f"a JSON map is wanted, this is {type(body).__name__}")
    _check(body)
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _map_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one map")
    return found


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_map_of)  # a new one a call costs 2 µs


def _check(body: dict[str, Any]) -> None:
    """Raises: ValueError where it is too deep, a string has no bytes, or a number is no finite one."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, str):  # nearly all are
                one.encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
            elif isinstance(one, dict):
                inner += [*one, *one.values()]
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, float) and one - one != 0:
                raise ValueError("a number is too large")  # 1e999 is read as infinite
        level = inner
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")


def known_fields(kind: type, body: Mapping[str, Any]) -> dict[str, Any]:
    """What of `body` the dataclass `kind` has a field for. The rest is of a later release, and is left out."""
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in body.items() if name in names}


def shown(value: object) -> str:
    """A value of a map in an error message: as Python writes it, 60 characters at most."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
