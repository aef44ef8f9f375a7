"""Rows of text files: JSON lines and CSV, a block at a time, whatever the file's size and however long a line is."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.counted import counted
from topology.errors import Misconfigured
from topology.json_map import parse_json_map
from topology.pacing import PACING

BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins
SEPARATORS = ",;\t|"
NOT_UTF8 = "not UTF-8"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `fields`: none where `fault` says what is wrong with it, and none of a blank line.

    `where`: how its place is told, `line 12` as an editor counts. `raw`: its beginning.
    """

    offset: int
    where: str
    raw: bytes
    fields: Mapping[str, Any] | None = None
    fault: str = ""


Rows = Iterator[Row | None]  # None: so much work was done that somebody else may have the thread


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end. `data` is only its beginning where the line is longer than is read."""

    data: bytes
    size: int

    @property
    def fault(self) -> str:
        """What is wrong with it whatever it means."""
        if self.size <= PACING.file_line_bytes:
            return ""
        return f"{self.size} bytes, the limit is {PACING.file_line_bytes}"


class Lines:
    """The lines of a file, in turn. A line of 100 MB takes no more memory than one that is just too long."""

    def __init__(self, name: str, file: Any) -> None:
        """Raises: Misconfigured where it is UTF-16."""
        self._file = file
        self._block = file.read(PACING.file_block_bytes)
        if self._block.startswith(WIDE):
            raise Misconfigured(f"{name}: it is UTF-16; UTF-8 is wanted, as from iconv -f UTF-16 -t UTF-8")
        self._block = self._block.removeprefix(BOM)

    def skip(self, count: int) -> Iterator[None]:
        """Leave out `count` lines, without a look into them."""
        while self._block and count:
            ends = self._block.count(b"\n")
            if ends >= count:
                self._block = self._block.split(b"\n", count)[count] or self._next()
                return
            count -= ends
            self._block = self._next()
            yield None

    def __iter__(self) -> Iterator[Line]:
        begun, size = b"", 0  # of a line that goes on in the next block
        while self._block:
            first, *rest = self._block.split(b"\n")
            size += len(first)
            begun = begun + first if size <= PACING.file_line_bytes else (begun + first)[:PACING.file_raw_bytes]
            if rest:
                yield Line(begun, size)
                yield from (self._whole(line) for line in rest[:-1])
                begun, size = rest[-1], len(rest[-1])
            self._block = self._next()
        if size:
            yield Line(begun, size)

    def _whole(self, line: bytes) -> Line:
        return Line(line, len(line))

    def _next(self) -> bytes:
        block: bytes = self._file.read(PACING.file_block_bytes)
        return block


def json_rows(name: str, file: Any, position: int) -> Rows:
    """A row is a line, a blank one too, so that rows that were read are left out by counting line ends."""
    lines = Lines(name, file)
    yield from lines.skip(position)
    for offset, line in enumerate(lines, position):
        where, raw, fault = f"line {offset + 1}", line.data[:PACING.file_raw_bytes], line.fault
        if fault or not line.data.strip():
            yield Row(offset, where, raw, None, fault)
            continue
        try:
            yield Row(offset, where, raw, parse_json_map(line.data, PACING.file_line_bytes))
        except UnicodeDecodeError as error:
            yield Row(offset, where, raw, None, f"{NOT_UTF8} at byte {error.start}")
        except UnicodeEncodeError:
            yield Row(offset, where, raw, None, "not Unicode: half of a surrogate pair")
        except json.JSONDecodeError as error:
            yield Row(offset, where, raw, None, f"not JSON: {error.msg} at character {error.pos}")
        except ValueError as error:
            yield Row(offset, where, raw, None, f"{error}"[:300])


class _Physical:
    """The lines of one CSV row: those that `csv` asked for. What it asked for in vain is given again."""

    def __init__(self, lines: Lines) -> None:
        self._lines = iter(lines)
        self._again: deque[Line] = deque()
        self.number = 0  # of the line read last, from 1
        self.taken: list[Line] = []
        self._size = 0  # of them

    def begin(self) -> None:
        """A new row."""
        self.taken, self._size = [], 0

    def __iter__(self) -> _Physical:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.number += 1
        self.taken.append(line)
        self._size += line.size
        if self._size > PACING.file_line_bytes:
            raise csv.Error(line.fault or "a quote is not closed")
        return line.data.decode("utf-8", "surrogateescape") + "\n"

    def give_back(self) -> None:
        """All lines but the first: a quote that nobody closed costs its own line, and none of those after it."""
        self._again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1
        self.taken = self.taken[:1]


def csv_rows(name: str, file: Any, position: int, wanted: Sequence[str]) -> Rows:
    """The rows below the header. A row may have several lines; its place is the first.

    `wanted`: columns that must be there. Raises: Misconfigured, naming those that are not.
    """
    lines = _Physical(Lines(name, file))
    separator, header = _header(name, lines, wanted)
    offset = 0
    while True:
        lines.begin()
        begins, fault = lines.number + 1, ""
        try:
            cells = next(csv.reader(lines, delimiter=separator, strict=True))
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back()
            cells, fault = [], lines.taken[0].fault or f"no row of CSV: {error}"
        if offset >= position:
            yield _row(offset, begins, lines.taken, header, cells, fault)
        elif offset % PACING.file_skip_rows == 0:
            yield None
        offset += 1


def _row(
    offset: int, line: int, taken: Sequence[Line], header: Sequence[str], cells: Sequence[str], fault: str
) -> Row:
    raw = b"\n".join(one.data for one in taken)[:PACING.file_raw_bytes]
    if not fault and cells and len(cells) != len(header):
        fault = f"{counted(len(cells), 'cell')}, the header has {len(header)}"
    fields = dict(zip(header, cells, strict=True)) if cells and not fault else None
    return Row(offset, f"line {line}", raw, fields, fault)


def _header(name: str, lines: _Physical, wanted: Sequence[str]) -> tuple[str, list[str]]:
    """The separator, and the names of the columns. The separator is the one that finds most of what is wanted."""
    found: dict[str, list[str]] = {}
    try:
        first = next(lines, "")
        if not first:
            return ",", list(wanted)
        for separator in SEPARATORS:
            found[separator] = [cell.strip() for cell in next(csv.reader([first], delimiter=separator, strict=True))]
    except csv.Error as error:
        raise Misconfigured(f"{name}:1: no header of CSV: {error}") from error
    best = max(found, key=lambda separator: (len({*wanted} & {*found[separator]}), len(found[separator])))
    columns = found[best]
    if missing := [column for column in wanted if column not in columns]:
        raise Misconfigured(
            f"{name}:1: no column {' and no column '.join(missing)} in the header, which has "
            f"{', '.join(map(repr, columns[:20]))[:300]}"
        )
    if twice := [column for column in columns if columns.count(column) > 1 and column in ("text", "tenant")]:
        raise Misconfigured(f"{name}:1: the column {twice[0]} is there twice")
    return best, columns
