"""Parquet as a target: what anybody's tools read, whole or not at all, and the same whenever it is done again."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from infra.backfill.job import Part, Span
from infra.backfill.parquet import ParquetTarget, write_refused
from tests.rows import TIME, TOPIC, row
from topology.errors import Misconfigured

SPAN, PART = Span(TOPIC, 3, 0, 30_000), Part(20_000, 30_000)
NAME = "headrace.utterances.en/partition-00003/part-00000000000000020000.parquet"


async def written(url, rows, span=SPAN, part=PART, job="job-1"):
    target = ParquetTarget(str(url), job)
    await target.start()
    for begin in range(0, len(rows), 300):
        await target.write(span, part, rows[begin:begin + 300])
    await target.finish(span, part)
    await target.stop()


def files_of(folder):
    return sorted(str(place.relative_to(folder)) for place in folder.rglob("*") if place.is_file())


async def test_pandas_polars_and_duckdb_read_the_directory_with_the_refused_lines_beside_it(tmp_path):
    pandas, polars, duckdb = (pytest.importorskip(name) for name in ("pandas", "polars", "duckdb"))
    await written(tmp_path, [row(offset) for offset in range(20_000, 21_000)])
    await written(tmp_path, [row(30_000, partition=4)], Span(SPAN.source, 4, 0, -1), Part(30_000, 31_000))
    await write_refused(str(tmp_path), SPAN, PART, [{"line": "line 1"}])
    frame = pandas.read_parquet(tmp_path)
    assert len(frame) == 1_001
    first = frame[frame.offset == 20_001].iloc[0]
    assert (first.text, first.intent, first.partition) == ("at kitchen 20001 é😀", "on", 3)
    assert first.time == pandas.Timestamp(TIME) + pandas.Timedelta(microseconds=20_001)
    assert [one["value"] for one in first.entities] == ["kitchen", '{"a": "é", "b": 1}', "3", None]
    frame = polars.read_parquet(f"{tmp_path}/**/*.parquet")
    assert frame["offset"].to_list() == [*range(20_000, 21_000), 30_000]
    assert frame.schema["time"] == polars.Datetime("us", "UTC")
    assert frame.filter(polars.col("offset") == 20_001)["entities"][0][0]["label"] == "room"
    found = duckdb.sql(f"""
        select tenant, count(*), min(epoch_us(time)), max(e.confidence)
        from '{tmp_path}/**/*.parquet', unnest(entities) as _(e) where e.label = 'room' group by tenant order by tenant
    """).fetchall()
    assert found == [(f"t{n}", 100, int(TIME.timestamp() * 1e6) + 20_000 + (n if n % 2 else n + 5), 0.9)
                     for n in range(5)]


async def test_a_part_has_one_file_with_the_same_bytes_whenever_it_is_done_again(tmp_path):
    rows = [row(offset) for offset in range(20_000, 20_900)]
    await written(tmp_path / "a", rows)
    before = (tmp_path / "a" / NAME).read_bytes()
    await written(tmp_path / "a", rows)
    assert files_of(tmp_path / "a") == [NAME]
    assert (tmp_path / "a" / NAME).read_bytes() == before
    assert pq.read_metadata(tmp_path / "a" / NAME).metadata[b"headrace.job"] == b"job-1"
    schema = pq.read_schema(tmp_path / "a" / NAME)
    assert schema.field("time").type == pa.timestamp("us", "UTC")
    assert pq.read_metadata(tmp_path / "a" / NAME).row_group(0).column(0).compression == "ZSTD"


async def test_rows_of_a_part_that_is_begun_anew_are_there_once_and_in_order(tmp_path):
    target = ParquetTarget(str(tmp_path), "job-1")
    await target.write(SPAN, PART, [row(20_000), row(20_002, intent="old")])
    await target.write(SPAN, PART, [row(20_000), row(20_001)])
    await target.write(SPAN, PART, [row(20_002)])
    await target.finish(SPAN, PART)
    found = pq.read_table(tmp_path / NAME)
    assert found["offset"].to_pylist() == [20_000, 20_001, 20_002]
    assert found["intent"].to_pylist() == ["on"] * 3


async def test_a_part_without_rows_leaves_no_file_and_removes_an_older_one(tmp_path):
    await written(tmp_path, [])
    assert files_of(tmp_path) == []
    await written(tmp_path, [row(20_000)])
    await write_refused(str(tmp_path), SPAN, PART, [{"line": 1}])
    await written(tmp_path, [])
    await write_refused(str(tmp_path), SPAN, PART, [])
    assert files_of(tmp_path) == []


async def test_parts_of_many_topics_and_files_never_share_a_name(tmp_path):
    spans = [Span(source, number, 0, -1) for source, number in (
        ("headrace.embeddings.en.a", 0), ("headrace.embeddings.en.b", 0), ("/data/a.csv", 0), ("/data/b.csv", 1),
        ("s3://bucket/../a.csv", 2),
    )]
    for span in spans:
        await written(tmp_path, [row(0)], span, Part(0, 10))
    assert files_of(tmp_path) == sorted([
        *(f"headrace.embeddings.en.{cell}/partition-00000/part-{0:020d}.parquet" for cell in "ab"),
        *(f"files/partition-{n:05d}/part-{0:020d}.parquet" for n in range(3)),
    ])


async def test_a_row_of_an_error_and_a_message_that_quotes_anything_are_written(tmp_path):
    bad = row(20_000, intent="", error="bad_record", message="half of a pair: \ud83d", entities=[], confidence=0.0)
    del bad["space"], bad["truncated"]
    await written(tmp_path, [bad])
    (found,) = pq.read_table(tmp_path / NAME).to_pylist()
    assert (found["error"], found["message"], found["space"]) == ("bad_record", "half of a pair: \\ud83d", None)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from infra.backfill.parquet import ParquetTarget, write_refused
from tests.unit.infra import test_backfill_parquet as t
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
async def main():
    target = ParquetTarget(sys.argv[1], "job-1")
    await target.write(t.SPAN, t.PART, [t.row(20_000)])
    Path.replace = killed
    await (target.finish(t.SPAN, t.PART) if sys.argv[2] == "rows" else
           write_refused(sys.argv[1], t.SPAN, t.PART, [{"line": 1}]))
asyncio.run(main())
"""


@pytest.mark.parametrize("what", ["rows", "refused"])
def test_a_process_killed_before_a_part_has_its_name_leaves_none_and_a_rerun_clears_up(tmp_path, what):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), what], timeout=120)
    assert done.returncode == -9
    (left,) = files_of(tmp_path)
    assert left.endswith(".tmp") and "/.part-" in left
    asyncio.run(written(tmp_path, [row(20_000)]))
    asyncio.run(write_refused(str(tmp_path), SPAN, PART, [{"line": 1}]))
    assert files_of(tmp_path) == sorted([NAME, f"_refused/{NAME.removesuffix('parquet')}jsonl"])


async def test_a_write_that_fails_keeps_the_rows_and_may_be_tried_again(tmp_path):
    target = ParquetTarget(str(tmp_path), "job-1")
    await target.write(SPAN, PART, [row(20_000)])
    (tmp_path / SPAN.source).write_text("a file where a folder must be")
    with pytest.raises(Misconfigured, match=NAME):
        await target.finish(SPAN, PART)
    (tmp_path / SPAN.source).unlink()
    await target.finish(SPAN, PART)
    assert files_of(tmp_path) == [NAME]


async def test_refused_lines_are_json_lines_whatever_they_hold(tmp_path):
    refused = [{"where": "line 12: \ud83d", "raw": b"caf\xe9\nx", "offset": 11}, {"where": "é", "reason": None}]
    await write_refused(str(tmp_path), SPAN, PART, refused)
    lines = (tmp_path / "_refused" / NAME).with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(one) for one in lines] == [
        {"where": "line 12: \ud83d", "raw": "caf\\xe9\nx", "offset": 11}, {"where": "é", "reason": None},
    ]


async def test_a_place_that_cannot_be_written_to_is_named_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    places = [str(tmp_path / "file" / "below"), "what://x"]
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        places.append(str(tmp_path / "locked"))
    for place in places:
        with pytest.raises(Misconfigured, match=place):
            await ParquetTarget(place, "job-1").start()
    await ParquetTarget(str(tmp_path / "new" / "deep"), "job-1").start()
    assert files_of(tmp_path) == ["file"]


async def test_a_url_of_any_file_system_is_a_target():
    files = fsspec.filesystem("memory")
    try:
        await written("memory://out/", [row(20_000), row(20_001)])
        await write_refused("memory://out/", SPAN, PART, [{"line": 1}])
        assert sorted(files.find("/out")) == [f"/out/_refused/{NAME.removesuffix('parquet')}jsonl", f"/out/{NAME}"]
        with files.open(f"/out/{NAME}") as file:
            assert pq.read_table(file)["offset"].to_pylist() == [20_000, 20_001]
        await written("memory://out", [])
        await write_refused("memory://out", SPAN, PART, [])
        assert files.find("/out") == []
    finally:
        files.store.clear()
