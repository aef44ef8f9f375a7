"""Windows as Parquet: a file for a partition and an hour of minutes, a day of hours, or a day.

A file is written whole, under the same name with the same bytes for the same counts, so that a rerun overwrites.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.backfill.files.places import file_system, is_local, reaching, required
from infra.backfill.whole_files import put_local
from infra.insights.windows import GRAINS, LIMITS_MS, STAGES, Key, Window

Place = tuple[int, str, int]  # partition, grain, start of the file
REPEATED = ["tenant", "ring", "cell"]
COUNTED = b"headrace.utterances"


def files_of(
    windows: Iterable[tuple[Key, Window]], changed: Iterable[tuple[str, int]]
) -> Iterator[tuple[Place, list[tuple[Key, Window]]]]:
    """(place, its windows in order) of the files that changed."""
    wanted = set(changed)
    found: dict[Place, list[tuple[Key, Window]]] = defaultdict(list)
    for key, window in windows:
        file_s = GRAINS[key.grain].file_s
        start_s = key.start_s // file_s * file_s
        if (key.grain, start_s) in wanted:
            found[key.partition, key.grain, start_s].append((key, window))
    for place, some in sorted(found.items()):
        yield place, sorted(some, key=lambda one: (one[0].start_s, one[0].tenant, one[0].log))


def place_of(ring: str, cell: str, partition: int, grain: str, start_s: int) -> str:
    """Where a file goes, below the target."""
    form = "%Y-%m-%dT%H" if GRAINS[grain].file_s < 86_400 else "%Y-%m-%d"
    period = datetime.fromtimestamp(start_s, UTC).strftime(form)
    return f"{grain}/{ring}.{cell}/partition-{partition:05d}/{period}.parquet"


def schema(utterances: int = 0) -> Any:
    """The columns, as Arrow has them. Raises: Misconfigured where pyarrow is not installed."""
    arrow = required("pyarrow")
    text, number = arrow.string(), arrow.int64()
    counts = arrow.map_(text, number)
    return arrow.schema([
        ("tenant", text), ("ring", text), ("cell", text), ("partition", arrow.int32()),
        ("start", arrow.timestamp("s", "UTC")), ("seconds", arrow.int32()), ("utterances", number),
        ("predictions", number), ("out_of_scope", number), ("confidence_sum", arrow.float64()), ("errors", counts),
        ("intents", counts), ("versions", counts), ("partial", arrow.bool_()),
        *((f"{stage}_ms", arrow.list_(number)) for stage in STAGES),
    ], metadata={COUNTED: str(utterances), "headrace.latency_limits_ms": ",".join(map(str, LIMITS_MS))})


def row_of(ring: str, cell: str, key: Key, window: Window) -> dict[str, Any]:
    """A window as a row. `{stage}_ms`: utterances by the limits that the file's metadata names."""
    return {
        "tenant": key.tenant, "ring": ring, "cell": cell, "partition": key.partition, "start": key.start_s,
        "seconds": GRAINS[key.grain].seconds, "utterances": window.utterances, "predictions": window.predictions,
        "out_of_scope": window.out_of_scope,
        "confidence_sum": sum(total for _, total in window.sure.values()) / 1e6,
        "errors": sorted(window.errors.items()), "intents": sorted(window.intents.items()),
        "versions": sorted((version, count) for version, (count, _) in window.sure.items()),
        "partial": window.partial, **{f"{stage}_ms": window.latency.get(stage, []) for stage in STAGES},
    }


def write(url: str, ring: str, cell: str, place: Place, windows: list[tuple[Key, Window]]) -> None:
    """Write one file. Partial windows replace none that count more: they were counted anew from a topic whose beginning
    is gone.

    Raises: Misconfigured, Unavailable.
    """
    fs, root = file_system(url)
    at = place_of(ring, cell, *place)
    count = sum(window.utterances for _, window in windows)
    with reaching(f"{url.rstrip('/')}/{at}"):
        full = f"{root.rstrip('/')}/{at}"
        if any(window.partial for _, window in windows) and _counted(fs, full) > count:
            return
        rows = [row_of(ring, cell, key, window) for key, window in windows]
        data = _parquet(rows, count)
        if is_local(fs):
            put_local(Path(root), Path(full), data)
        else:
            fs.pipe_file(full, data)  # one put: an object is there whole


def _counted(fs: Any, place: str) -> int:
    """The utterances that a file counts; -1 where there is none."""
    try:
        with fs.open(place, "rb") as file:
            found = required("pyarrow.parquet").read_schema(file).metadata or {}
    except FileNotFoundError:
        return -1
    return int(found.get(COUNTED, b"-1"))


def _parquet(rows: list[dict[str, Any]], utterances: int) -> bytes:
    arrow = required("pyarrow")
    sink = arrow.BufferOutputStream()
    table = arrow.Table.from_pylist(rows, schema=schema(utterances))
    required("pyarrow.parquet").write_table(table, sink, compression="zstd", use_dictionary=REPEATED)
    data: bytes = sink.getvalue().to_pybytes()
    return data
