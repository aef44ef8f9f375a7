"""Maps and lists as YAML that a person reads: stable order, comments, few quotes, short things on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WIDTH = 120  # of a line that holds a whole map or list
# What YAML 1.1 and 1.2 both read as that very string, also within {} and []: words and paths, flags, quantities such as
# 4Gi. All else is quoted as JSON, which YAML reads as it is.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./=-]*|--?[a-z][a-z-]*|[1-9][0-9]*(m|s|Mi|Gi)|\.\./[a-z0-9./-]+")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


@dataclass(frozen=True)
class Noted:
    """A scalar with a comment behind it."""

    value: str | int | bool
    note: str


def document(objects: Iterable[Mapping[str, Any]], header: str) -> str:
    """A file of Kubernetes objects: `header` as comments, then each object."""
    lines = [f"# {line}".rstrip() for line in header.strip().splitlines()]
    for number, one in enumerate(objects):
        lines += ["---"] * (number > 0)
        lines += yaml_lines(one)
    return "\n".join([*lines, ""])


def yaml_lines(value: Any, indent: str = "") -> Iterator[str]:
    """Lines of a map or a list that is not empty. Text of several lines is written as it is, behind `|`."""
    entries = value.items() if isinstance(value, Mapping) else (("-", one) for one in value)
    for name, one in entries:
        begin = f"{indent}-" if name == "-" else f"{indent}{_scalar(name)}:"
        if isinstance(one, str) and _is_block(one):
            yield f"{begin} |"
            yield from (f"{indent}  {line}" if line else "" for line in one.splitlines())
        elif isinstance(one, Noted):
            yield f"{begin} {_scalar(one.value)}  # {one.note}"
        elif (flow := _flow(one)) is not None and (len(begin) + len(flow) < WIDTH or _is_scalar(one)):
            yield f"{begin} {flow}"
        else:
            inner = list(yaml_lines(one, f"{indent}  "))
            if name == "-":  # the first line of it stands behind the dash
                yield f"{indent}- {inner.pop(0).lstrip()}"
            else:
                yield begin
            yield from inner


def _flow(value: Any) -> str | None:
    """`value` on one line; None where it holds a comment or a text of several lines, or more than three maps or lists
    beside each other."""
    if isinstance(value, Noted) or (isinstance(value, str) and _is_block(value)):
        return None
    if _is_scalar(value):
        return _scalar(value)
    parts = [_flow(one) for one in (value.values() if isinstance(value, Mapping) else value)]
    if None in parts or sum(part[:1] in ("{", "[") for part in parts if part) > 3:
        return None
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(name)}: {part}" for name, part in zip(value, parts, strict=True)) + "}"
    return "[" + ", ".join(part or "" for part in parts) + "]"


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, Mapping | list | tuple)


def _is_block(text: str) -> bool:
    """Whether `|` keeps it: it ends in one line's end, and its first line is not indented."""
    plain = all(line.isprintable() for line in text.split("\n"))
    return plain and text.count("\n") > 1 and text.endswith("\n") and not text.endswith("\n\n") and text[0] not in " \n"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)  # such as other lines' ends
