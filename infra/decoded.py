"""Bytes that anybody may have written, as plain values that JSON takes and a person reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from topology import wire
from topology.errors import MalformedRecord

SHOWN_BYTES = 64  # of what is no text
MAX_DEPTH = 20  # of maps and lists: bytes of a few kilobytes can nest a thousand

WAYS: tuple[tuple[str, Callable[[bytes], Any]], ...] = (  # an embedding has all fields of an utterance, and more
    ("Embedding", lambda value: asdict(wire.decode(wire.Embedding, value))),
    ("Utterance", lambda value: asdict(wire.decode(wire.Utterance, value))),
    ("msgpack map", lambda value: wire.unpack_map("value", value)),
    ("JSON", json.loads),
    ("text", bytes.decode),
)


def decoded(value: bytes | None) -> dict[str, Any]:
    """What a value is (`as`), and its `content`: fields or text. Vectors are told by their size."""
    for name, parse in WAYS:
        try:
            return {"as": name, "content": _plain(parse(value or b""))}
        except (MalformedRecord, ValueError, RecursionError):
            continue
    return {"as": "bytes", "content": text_of(value)}


def text_of(value: bytes | None) -> Any:
    """As text where it is some, else its size and how it begins."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"bytes": len(value), "begins": value[:SHOWN_BYTES].hex()}


def _plain(value: Any, depth: int = 0) -> Any:
    """With keys that are text, and without bytes, extensions of msgpack, and numbers that JSON has not."""
    if isinstance(value, dict | list | tuple) and depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {name if isinstance(name, str) else repr(name): _plain(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, bytes):
        return {"bytes": len(value), "begins": value[:SHOWN_BYTES].hex()}
    if value is None or isinstance(value, str | bool | int):
        return value
    return value if isinstance(value, float) and value - value == 0 else repr(value)
