"""Rows of a Parquet file, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.backfill.files.lines import Row, Rows
from infra.backfill.files.places import required
from infra.backfill.files.rows import Microseconds
from topology.errors import Misconfigured
from topology.pacing import PACING

READ = ("text", "tenant", "id", "lang", "time")
NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 10**6, "s": 10**9, "day": 86_400 * 10**9}


def parquet_rows(name: str, file: Any, position: int, wanted: Sequence[str]) -> Rows:
    """The rows from `position` on. Row groups before it are not read.

    `wanted`: columns that must be there. Raises: Misconfigured, naming the column that is not or has a wrong type.
    """
    parquet = required("pyarrow.parquet")
    opened = parquet.ParquetFile(file, buffer_size=PACING.file_block_bytes, pre_buffer=False)
    columns = _columns(name, opened.schema_arrow, wanted)
    offset = 0
    for group in range(opened.num_row_groups):
        rows = opened.metadata.row_group(group).num_rows
        if offset + rows <= position:
            offset += rows
            continue
        for batch in opened.iter_batches(PACING.file_batch_rows, [group], columns):
            if offset + len(batch) <= position:
                yield None
            else:
                yield from _rows(batch, columns, offset, position)
            offset += len(batch)


def _columns(name: str, schema: Any, wanted: Sequence[str]) -> list[str]:
    """The columns to read. Raises: Misconfigured."""
    if missing := [column for column in wanted if column not in schema.names]:
        raise Misconfigured(
            f"{name}: no column {' and no column '.join(missing)}; it has {', '.join(schema.names[:20])[:300]}"
        )
    found = [column for column in READ if column in schema.names]
    for column in found:
        if schema.names.count(column) > 1:
            raise Misconfigured(f"{name}: the column {column} is there twice")
        if fault := _fault(column, schema.field(column).type):
            raise Misconfigured(f"{name}: the column {column} is of type {schema.field(column).type}; {fault}")
    return found


def _fault(column: str, kind: Any) -> str:
    types = required("pyarrow").types
    if types.is_dictionary(kind):
        kind = kind.value_type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)
    if column == "time":
        right = text or types.is_timestamp(kind) or types.is_date(kind) or _is_number(types, kind)
        return "" if right else "a timestamp, a text or a number is wanted"
    right = text or (column == "id" and types.is_integer(kind))
    return "" if right else "strings are wanted"


def _is_number(types: Any, kind: Any) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind))


def _rows(batch: Any, columns: list[str], offset: int, position: int) -> Rows:
    values = [_values(batch.column(column)) for column in columns]
    for at, cells in enumerate(zip(*values, strict=True), offset):
        if at >= position:
            raw = repr(cells).encode("utf-8", "backslashreplace")[:PACING.file_raw_bytes]
            yield Row(at, f"row {at}", raw, dict(zip(columns, cells, strict=True)))


def _values(column: Any) -> list[Any]:
    """As Python has them. A time is microseconds; a string that is not UTF-8 costs only itself."""
    pyarrow = required("pyarrow")
    kind = column.type
    if pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind):
        # A zone does not change what is stored, and a naive time is UTC. In Python: Arrow's numbers wrap around.
        times = column.cast(pyarrow.int32() if kind == pyarrow.date32() else pyarrow.int64()).to_pylist()
        by = NANOSECONDS["day" if kind == pyarrow.date32() else getattr(kind, "unit", "ms")]
        return [None if time is None else Microseconds(time * by // 1_000) for time in times]
    if pyarrow.types.is_dictionary(kind):
        column = column.dictionary_decode()
    try:
        found: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        found = [_text(value) for value in column]
    return found


def _text(value: Any) -> str | None:
    return value.as_buffer().to_pybytes().decode("utf-8", "surrogateescape") if value.is_valid else None
