"""Parquet as a target: a file a part, which is there whole or not at all.

Written under the same name with the same bytes whenever a part is done again, so that a rerun overwrites.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from infra.backfill.files.places import file_system, is_local, reaching, required
from infra.backfill.job import Part, Row, Span
from infra.backfill.whole_files import put_local
from topology.errors import Misconfigured
from topology.names import fault_of_name

FILES = "files"  # the folder of all files: their numbers tell them apart
REFUSED = "_refused"  # readers of Parquet leave out folders that begin so
REPEATED = ["tenant", "ring", "lang", "intent", "head_version", "space", "error", "source", "partition"]
T = TypeVar("T")


def schema(job_id: str) -> Any:
    """The columns, as Arrow has them. Raises: Misconfigured where pyarrow is not installed."""
    arrow = required("pyarrow")
    text, number, real, yes = arrow.string(), arrow.int64(), arrow.float64(), arrow.bool_()
    entity = [("start", arrow.int32()), ("end", arrow.int32()), ("label", text), ("text", text), ("value", text),
              ("confidence", real)]
    return arrow.schema([
        ("id", text), ("utterance_id", text), ("tenant", text), ("ring", text), ("lang", text), ("text", text),
        ("time", arrow.timestamp("us", "UTC")), ("intent", text), ("confidence", real), ("out_of_scope", yes),
        ("entities", arrow.list_(arrow.struct(entity))), ("head_version", text), ("space", text), ("truncated", yes),
        ("error", text), ("message", text), ("source", text), ("partition", arrow.int32()), ("offset", number),
    ], metadata={"headrace.job": job_id})


class ParquetTarget:
    """Implements `target.Target` under a directory or URL: `{topic}/partition-00003/part-00000000000000020000.parquet`;
    for files the folder is `files`, the partition a file's number. The rows of a part stay in memory until it is
    finished."""

    def __init__(self, url: str, job_id: str) -> None:
        self._url, self._job_id = url, job_id
        self._parts: dict[str, dict[int, Row]] = {}  # path → offset → row: a part begun anew replaces what it had

    async def start(self) -> None:
        """See that it can be written to. Raises: Misconfigured, Unavailable."""
        schema(self._job_id)
        await asyncio.to_thread(_try_out, self._url)

    async def write(self, span: Span, part: Part, rows: Sequence[Row]) -> None:
        """Keep the rows. Raises: nothing."""
        self._parts.setdefault(place_of(span, part, "parquet"), {}).update((row["offset"], row) for row in rows)

    async def finish(self, span: Span, part: Part) -> None:
        """Write the file; without rows remove it. What failed may be finished again. Raises: Unavailable,
        Misconfigured."""
        place = place_of(span, part, "parquet")
        rows = self._parts.get(place, {})
        ordered = [rows[offset] for offset in sorted(rows)]
        await asyncio.to_thread(_put, self._url, place, lambda: _parquet(ordered, self._job_id) if ordered else b"")
        self._parts.pop(place, None)

    async def stop(self) -> None:
        """Forget what was not finished."""
        self._parts.clear()


def owner_of(url: str) -> str:
    """The job whose parts are under a directory or URL; empty where none are. Raises: Misconfigured, Unavailable."""
    fs, root = file_system(url)
    with reaching(url):
        for folder, _, names in fs.walk(root):
            for name in sorted(name for name in names if name.startswith("part-") and name.endswith(".parquet")):
                with fs.open(f"{folder}/{name}") as file:
                    metadata = required("pyarrow.parquet").read_schema(file).metadata or {}
                return str(metadata.get(b"headrace.job", b"").decode(errors="replace"))
    return ""


async def write_refused(url: str, span: Span, part: Part, refused: Sequence[Mapping[str, Any]]) -> None:
    """What was set aside of a part, a JSON map a line, at `{url}/_refused/…/part-….jsonl`; without any, that file is
    removed. Raises: Unavailable, Misconfigured."""
    lines = "".join(json.dumps(one, ensure_ascii=False, default=_plain) + "\n" for one in refused)
    place = f"{REFUSED}/{place_of(span, part, 'jsonl')}"
    await asyncio.to_thread(_put, url, place, lambda: lines.encode("utf-8", "backslashreplace"))


def place_of(span: Span, part: Part, suffix: str) -> str:
    """Where a part goes, below the target. A topic's name is a folder; a file's may be any path."""
    folder = FILES if fault_of_name(span.source) else span.source
    return f"{folder}/partition-{span.partition:05d}/part-{part.start:020d}.{suffix}"


def _plain(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _parquet(rows: Sequence[Row], job_id: str) -> bytes:
    """The bytes of a file, the same for the same rows."""
    arrow, columns = required("pyarrow"), schema(job_id)
    arrays = [
        arrow.array([_cell(row, column.name) for row in rows], column.type) for column in columns
    ]
    sink = arrow.BufferOutputStream()
    required("pyarrow.parquet").write_table(
        arrow.Table.from_arrays(arrays, schema=columns), sink, compression="zstd", use_dictionary=REPEATED,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _cell(row: Row, name: str) -> Any:
    if name == "time":
        return row["submitted_us"]
    value = row.get(name)
    if name == "entities":
        return [{**one, "value": _value(one.get("value"))} for one in value or ()]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _value(value: Any) -> str | None:
    """An entity's value as text; JSON where it is none."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def _put(url: str, place: str, made: Callable[[], bytes]) -> None:
    """Write what `made` gives; where it gives nothing, remove what is there."""
    data = made()
    fs, root = file_system(url)
    with reaching(f"{url.rstrip('/')}/{place}"):
        if is_local(fs):
            put_local(Path(root), Path(root, place), data)
        elif data:
            fs.pipe_file(f"{root.rstrip('/')}/{place}", data)  # one put: an object is there whole
        else:
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(f"{root.rstrip('/')}/{place}")


def _try_out(url: str) -> None:
    """Raises: Misconfigured, naming what to do; Unavailable."""
    place = f".headrace-{uuid.uuid4().hex}"
    try:
        _put(url, place, lambda: b"headrace")
        _put(url, place, lambda: b"")
    except Misconfigured as error:
        raise Misconfigured(f"target {url!r} cannot be written to: {error}; name a directory or bucket that this "
                            "process may write to") from error
