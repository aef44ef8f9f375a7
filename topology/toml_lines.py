"""Where in a TOML file each key stands, and mistakes told by that place."""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Any, TypeVar, get_args, get_type_hints

from topology.errors import Misconfigured
from topology.release import VERSION
from topology.secrets import Secret, wrong_reference

_TABLE = re.compile(r"^\s*\[+\s*([^\[\]]+?)\s*\]+\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")

BuiltT = TypeVar("BuiltT")


def line_numbers(text: str) -> dict[str, int]:
    """Dotted key → the line it stands on, from 1. The standard parser keeps no places, so the lines are scanned."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _dotted(header[1])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault(f"{table}.{_dotted(key[1])}".lstrip("."), number)
    return found


def _dotted(raw: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in raw.split("."))


@dataclasses.dataclass
class Mistakes:
    """Collects what is wrong with one file, so that all of it can be told at once."""

    where: str
    lines: dict[str, int]
    found: list[tuple[int, str]] = dataclasses.field(default_factory=list)

    def add(self, place: str, what: str) -> None:
        """Note that the value at the dotted key `place` is wrong."""
        line = self._line(place)
        self.found.append((line, f"{self.where}:{line}: {place or 'top level'}: {what}"))

    def _line(self, place: str) -> int:
        while place and place not in self.lines:
            place = place.rpartition(".")[0]
        return self.lines.get(place, 1)

    def raise_if_any(self) -> None:
        """Raises: Misconfigured with every mistake, in the file's order."""
        if self.found:
            raise Misconfigured("\n".join(message for _, message in sorted(self.found)))

    def table(self, value: Any, place: str) -> dict[str, Any]:
        """`value` where it is a table, else an empty one and a mistake."""
        if isinstance(value, dict):
            return value
        self.add(place, f"a table is wanted, this is {type(value).__name__}")
        return {}

    def choice(self, place: str, value: str, allowed: tuple[str, ...]) -> None:
        """Note a mistake unless `value` is one of `allowed`."""
        if value not in allowed:
            self.add(place, f"{value!r} is none of {', '.join(map(repr, allowed))}")

    def build(
        self,
        kind: type[BuiltT],
        table: dict[str, Any],
        place: str,
        skip: tuple[str, ...] = (),
        extra: dict[str, Any] | None = None,
    ) -> BuiltT:
        """The dataclass `kind` from a table: unknown names and wrong types become mistakes, not values."""
        hints = get_type_hints(kind)
        known = [f.name for f in dataclasses.fields(kind) if f.name not in skip]  # type: ignore[arg-type]
        values: dict[str, Any] = dict(extra or {})
        for name, value in table.items():
            at = f"{place}.{name}".lstrip(".")
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; Headrace {VERSION} knows {', '.join(known)}"
                self.add(at, f"unknown setting{hint}")
            elif (table_of := _table_of(hints[name])) is not None:
                values[name] = self.build(table_of, self.table(value, at), at)
            elif (wrong := _wrong(hints[name], value)) is not None and not _is_default(kind, name, value):
                self.add(at, wrong)
            else:
                values[name] = _as(hints[name], value)
        return kind(**values)


def _is_default(kind: Any, name: str, value: Any) -> bool:
    """Whether it is what a file without it has: `threads = 0`."""
    default = next(f.default for f in dataclasses.fields(kind) if f.name == name)
    return type(value) is type(default) and bool(value == default)


def _table_of(hint: Any) -> Any:
    """The dataclass that a table of its own becomes (`Tls | None`); None for a plain value."""
    return next((kind for kind in get_args(hint) if dataclasses.is_dataclass(kind)), None)


def _wrong(hint: Any, value: Any) -> str | None:
    if hint is Secret:
        return wrong_reference(value)
    if hint is str and not isinstance(value, str):
        return f"text in quotes is wanted, this is {_shown(value)}"
    if hint is bool and not isinstance(value, bool):
        return f"true or false is wanted, this is {_shown(value)}"
    if hint is int and (type(value) is not int or value < 1):
        return f"a whole number of at least 1 is wanted, this is {_shown(value)}"
    if hint is float and (type(value) not in (int, float) or not 0 < value < 1e12):
        return f"a number above 0 is wanted, this is {_shown(value)}"
    if hint == tuple[str, ...] and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
        return f"a list of texts is wanted, this is {_shown(value)}"
    return None


def _shown(value: Any) -> str:
    """A value that is not what was wanted; not an address or a list of them, which may hold a password."""
    plain = isinstance(value, int | float) or (isinstance(value, str) and "@" not in value)
    return repr(value) if plain else type(value).__name__


def _as(hint: Any, value: Any) -> Any:
    if hint is float:
        return float(value)
    if hint is Secret:
        return Secret(value)
    return tuple(value) if hint == tuple[str, ...] else value
