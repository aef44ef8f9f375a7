"""Files as a source: JSON lines, CSV and Parquet, on this machine or at any URL that fsspec knows.

A file is a partition, its number that of its name in order; a row is an offset. `files_places` finds and opens,
`files_lines` and `files_parquet` give rows, `files_rows` makes records of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from gzip import BadGzipFile
from lzma import LZMAError
from typing import Any, TypeVar

from infra.backfill.files.lines import Rows, csv_rows, json_rows
from infra.backfill.files.parquet_rows import parquet_rows
from infra.backfill.files.places import File, find, kind_of, look, open_file, reaching
from infra.backfill.files.rows import RowReader
from infra.backfill.job import MAX_BYTES, SOURCES, Asked, Span
from infra.backfill.source import END_OF_FILE, Replaced, RestLost, Taken
from topology.errors import Misconfigured
from topology.pacing import PACING
from topology.settings import Ring, Settings
from topology.stream.records import Record

T = TypeVar("T")


def is_files(source: str) -> bool:
    """Whether a job's source is files: whatever is no topic."""
    return source not in SOURCES


class FileSource:
    """Implements `source.Source` over files. A thread of its own reads, a piece at a time."""

    def __init__(self, settings: Settings, ring: Ring, asked: Asked) -> None:
        self._ring, self._tenant, self._max_chars = ring, asked.tenant, settings.limits.max_chars
        self._thread = ThreadPoolExecutor(1, "files")
        self._reading: _Reading | None = None
        self._span: Span | None = None
        self._position, self._again = 0, False  # from which row to open the file again, and whether to

    async def start(self) -> None:
        """Nothing is connected before a file is opened."""

    async def spans(self, asked: Asked) -> list[Span]:
        """A span a file; its end is not known (-1) where none was asked for.

        Raises: Misconfigured where no file is there, or bounds are no rows; Unavailable.
        """
        wanted = self._wanted()
        starts, ends = _bounds("start", asked.start, "earliest"), _bounds("end", asked.end, "latest")
        files = await self._run(lambda: _found(asked.source, wanted))
        if wrong := sorted(number for number in {*starts, *ends} if number >= len(files)):
            raise Misconfigured(f"{asked.source}: {len(files)} files, numbered from 0; there is no file {wrong[0]}")
        spans = [
            Span(file.name, number, starts.get(number, 0), ends.get(number, -1), file.identity)
            for number, file in enumerate(files)
        ]
        if back := [span for span in spans if 0 <= span.end < span.start]:
            raise Misconfigured(f"{back[0].source}: row {back[0].start} to {back[0].end}: the end is before the start")
        if (size := len(json.dumps([asdict(span) for span in spans]))) > MAX_BYTES * 3 // 4:  # a quarter for the rest
            most = len(spans) * MAX_BYTES * 3 // 4 // size
            raise Misconfigured(f"{asked.source}: {len(spans)} files, a job has at most {most} of these: use globs")
        return spans

    async def seek(self, span: Span, position: int) -> None:
        """Read this file next, from this row. Raises: Replaced, Misconfigured, Unavailable."""
        self._span, self._position = span, position
        await self._run(self._open)

    async def take(self, most: int) -> Taken:
        """The next rows, at most `most`, and at most some megabytes; none while rows are skipped. What failed or was
        cancelled may be tried again.

        Raises: Replaced; Misconfigured where the file is broken, naming the row; Unavailable.
        """
        try:
            taken = await self._run(lambda: self._take(most))
        except BaseException:
            self._again = True  # the thread may have read on: nobody has these rows
            raise
        self._position = taken.position
        return taken

    async def stop(self) -> None:
        """Close the file."""
        with contextlib.suppress(TimeoutError):  # a store that hangs
            await asyncio.wait_for(self._run(self._close), PACING.close_s)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _take(self, most: int) -> Taken:
        if self._reading is None or self._again:
            self._open()
        assert self._reading is not None
        return self._reading.take(most)

    def _open(self) -> None:
        self._close()
        span, position = self._span, self._position
        if span is None:
            raise RuntimeError("seek comes first")
        file = _same(span)
        reader = RowReader(span, self._ring, self._tenant, self._max_chars, file.modified_us)
        self._reading, self._again = _Reading(span, position, reader, self._wanted()), False

    def _wanted(self) -> tuple[str, ...]:
        """The columns that a file must have."""
        return ("text",) if self._tenant else ("text", "tenant")

    def _close(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None


class _Reading:
    """One file that is being read."""

    def __init__(self, span: Span, position: int, reader: RowReader, wanted: Sequence[str]) -> None:
        self._span, self._position, self._reader = span, position, reader
        self._file = open_file(span.source)
        self._rows = _rows(span.source, self._file, position, wanted)

    def take(self, most: int) -> Taken:
        """As `FileSource.take`."""
        try:
            return self._take(most)
        except Misconfigured:
            _same(self._span)  # what looks broken may be another file now
            raise

    def _take(self, most: int) -> Taken:
        records: list[Record] = []
        most = most if self._span.end < 0 else min(most, self._span.end - self._position)
        size = 0
        with _unbroken(self._span.source, lambda: self._position):
            for row in itertools.islice(self._rows, max(most, 0)):
                if row is None:
                    return Taken(records, self._position)
                self._position = row.offset + 1
                if record := self._reader.record(row):
                    records.append(record)
                    size += len(record.value or b"")
                if size >= PACING.file_take_bytes:
                    return Taken(records, self._position)
                most -= 1
        if most > 0 or 0 <= self._span.end <= self._position:
            _same(self._span)  # of a file that was written meanwhile, half of what was read is old and half new
            self._position = END_OF_FILE
        return Taken(records, self._position)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(Exception):  # it was only read
            self._file.close()


def _rows(name: str, file: Any, position: int, wanted: Sequence[str]) -> Rows:
    kind = kind_of(name)
    if kind == "json":
        return json_rows(name, file, position)
    return (csv_rows if kind == "csv" else parquet_rows)(name, file, position, wanted)


def _found(source: str, wanted: Sequence[str]) -> list[File]:
    """The files of a source, looked at. Raises: Misconfigured, Unavailable."""
    with ThreadPoolExecutor(PACING.file_looks, "look") as threads:
        return [*threads.map(lambda name: _checked(name, wanted), find(source))]


def _checked(name: str, wanted: Sequence[str]) -> File:
    """The file; its header, where it has one, is read: a missing column is told before a job begins."""
    found = look(name)
    if kind_of(name) == "json":
        return found
    with contextlib.closing(open_file(name)) as file, _unbroken(name, lambda: 0):
        next(_rows(name, file, 0, wanted), None)
    return found


def _same(span: Span) -> File:
    """The span's file. Raises: Replaced where it is another one or gone."""
    try:
        file = look(span.source)
    except Misconfigured as error:
        raise Replaced(f"{span.source}: it was there when the job began: {error}") from error
    if span.identity and file.identity != span.identity:
        raise Replaced(f"{span.source}: it was written anew: {file.identity}; when the job began {span.identity}")
    return file


@contextlib.contextmanager
def _unbroken(name: str, row: Callable[[], int]) -> Iterator[None]:
    """Raises: RestLost where the file itself is broken, naming where; Unavailable where it does not come."""
    with reaching(f"{name}: after {row()} rows" if row() else name):
        try:
            yield
        except Exception as error:
            # Arrow tells broken pages by an OSError without a number; those of the system have one.
            arrows = type(error) is OSError and error.errno is None
            if arrows or isinstance(error, EOFError | zlib.error | LZMAError | BadGzipFile):
                raise RestLost(f"{name}: it is broken after {row()} rows: {error}") from error
            raise


def _bounds(name: str, asked: str, whole: str) -> dict[int, int]:
    """Rows by a file's number, as in `0:1200,1:900`. Raises: Misconfigured."""
    if asked == whole:
        return {}
    try:
        pairs = [pair.split(":") for pair in asked.split(",")]
        found = {int(number): int(row) for number, row in pairs}
    except ValueError:
        found = {-1: -1}
    if any(number < 0 or row < 0 for number, row in found.items()):
        wanted = f"{whole!r}, or rows by a file's number (0:1200,1:900), is wanted of files"
        raise Misconfigured(f"{name} = {asked!r}: {wanted}")
    return found
