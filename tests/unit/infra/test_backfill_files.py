"""Files as a source: every good line is there, every bad one is named, whatever the file's size and format."""

import asyncio
import bz2
import csv
import gzip
import io
import itertools
import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from infra.backfill.files import source as files
from infra.backfill.files.source import FileSource, is_files
from infra.backfill.job import Asked
from infra.backfill.source import END_OF_FILE, Replaced
from topology import wire
from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.settings import Ring, Settings

RING = Ring(name="en", languages=("en", "fr"))
TIME = "2026-03-01T12:00:00Z"
TIME_US = 1_772_366_400_000_000


class Opened:
    """A source in use, for one question."""

    def __init__(self, place, **asked):
        self.asked = Asked("en", str(place), **asked)
        self.source = FileSource(Settings(), RING, self.asked)

    async def __aenter__(self):
        await self.source.start()
        return self.source, await self.source.spans(self.asked)

    async def __aexit__(self, *_):
        await self.source.stop()


async def records_of(source, span, position=None, most=5_000, keep=True):
    """All records from `position` on; every piece moves on, or skips."""
    await source.seek(span, span.start if position is None else position)
    found = []
    for _ in range(100_000):
        taken = await source.take(most)
        assert len(taken.records) <= most
        found += taken.records if keep else [len(taken.records)]
        if taken.position == END_OF_FILE:
            return found
        assert not taken.records or taken.position > taken.records[-1].offset
    raise AssertionError("no end")


async def read(place, **asked):
    async with Opened(place, **asked) as (source, spans):
        return [one for span in spans for one in await records_of(source, span)]


def said(record):
    return wire.decode(wire.Utterance, record.value)


def faults(records):
    return {record.offset: record.unreadable for record in records if record.unreadable}


def line(number, **more):
    return json.dumps({"text": f"light {number} on", "tenant": f"tenant-{number % 7}", **more}).encode()


BROKEN = {  # what is wrong → what is said of it
    b'{"text": "cut sho': "not JSON: Unterminated string starting at at character 9",
    b'["light on", "acme"]': "a JSON map is wanted, this is list",
    b'{"tenant": "acme", "utterance": "light on"}': "no text",
    b'{"tenant": "acme", "text": 17}': "text: a string is wanted, this is 17",
    b'{"tenant": "acme", "text": "' + b"a" * 8_193 + b'"}': "text: 8193 characters, the limit is 8192 (limits.",
    b'{"tenant": "acme", "text": "caf\xe9"}': "not UTF-8 at byte 31",
    b'{"tenant": "acme", "text": "\\ud83d"}': "not Unicode",
    b'{"tenant": "../etc", "text": "light on"}': "tenant: a name has no '/'",
    b'{"tenant": "acme", "text": "light on", "time": "yesterday"}': "time: ISO 8601 or a number",
    b'{"tenant": "acme", "text": "light on", "lang": "de"}': "lang: 'de' is none of ring en (en, fr)",
    b'{"text": "light on"}': "no tenant",
    b'{"tenant": "acme", "text": "light on", "id": "a/b"}': "id: a whole number or 1 to 256",
}


async def test_of_a_hundred_thousand_lines_with_one_percent_broken_ones_each_is_named_and_no_other_is_lost(tmp_path):
    kinds, place = [*BROKEN], tmp_path / "month.jsonl"
    bad = {number: kinds[number // 100 % len(kinds)] for number in range(42, 100_000, 100)}
    place.write_bytes(b"\n".join(bad.get(number) or line(number) for number in range(100_000)))
    found = await read(place)
    assert [one.offset for one in found] == [*range(100_000)]
    told = faults(found)
    assert told.keys() == bad.keys()
    for number, raw in bad.items():
        assert told[number].startswith(f"line {number + 1}: {BROKEN[raw]}"), told[number]
        assert found[number].value == raw[:2_048]
    for number, one in enumerate(found):
        if number not in bad:
            utterance = said(one)
            assert (utterance.text, utterance.tenant) == (f"light {number} on", f"tenant-{number % 7}")
            assert one.key == utterance.tenant.encode()
    assert len({said(one).id for one in found if not one.unreadable}) == 99_000


async def test_a_line_of_megabytes_costs_only_itself_and_its_beginning_is_kept(tmp_path):
    place = tmp_path / "one.jsonl"
    size = PACING.file_line_bytes + 1
    place.write_bytes(line(0) + b"\n" + b'{"' + b"x" * (size - 2) + b"\n" + line(2) + b"\n" + b"y" * size)
    found = await read(place)
    assert faults(found) == {n: f"line {n + 1}: {size} bytes, the limit is {PACING.file_line_bytes}" for n in (1, 3)}
    assert [len(one.value) for one in found if one.unreadable] == [2_048, 2_048]
    assert said(found[2]).text == "light 2 on"


async def test_blank_lines_foreign_line_ends_and_a_mark_of_order_change_no_number(tmp_path):
    place = tmp_path / "one.json"
    place.write_bytes(b"\xef\xbb\xbf" + line(0) + b"\r\n\r\n  \n" + line(3, text="a\u2028b") + b"\r\nbroken\r\n")
    found = await read(place)
    assert [one.offset for one in found] == [0, 3, 4]
    assert said(found[1]).text == "a\u2028b"
    assert faults(found) == {4: "line 5: not JSON: Expecting value at character 0"}


async def test_fields_of_a_line_become_those_of_an_utterance_and_what_is_missing_has_a_default(tmp_path):
    place = tmp_path / "one.ndjson"
    place.write_bytes(b"\n".join([
        line(0, id="order-7", lang="fr-CA", time=TIME, other=[1]), line(1, id=7, tenant=None), line(2, lang="", id=""),
    ]))
    first, second, third = [said(one) for one in await read(place, tenant="acme")]
    assert (first.id, first.lang, first.submitted_us, first.reply_to) == ("order-7", "fr", TIME_US, "")
    assert first.deadline_us == wire.LAST_US
    assert (second.id, second.tenant, second.lang) == ("7", "acme", "en")
    assert third.id and third.id == said((await read(place, tenant="acme"))[2]).id
    assert second.submitted_us == round(place.stat().st_mtime * 1e6)


@pytest.mark.parametrize("time", [
    TIME, "2026-03-01T12:00:00", "2026-03-01 13:00:00+01:00", 1_772_366_400, 1_772_366_400.0, 1_772_366_400_000,
    TIME_US, "1772366400", "1772366400000",
])
async def test_a_time_is_read_in_any_unit_and_a_naive_one_is_utc(tmp_path, time):
    (tmp_path / "one.jsonl").write_bytes(line(0, time=time))
    assert said((await read(tmp_path / "one.jsonl"))[0]).submitted_us == TIME_US


@pytest.mark.parametrize("time", [-1, 10**40, True, "9" * 5_000, [], "0001-01-01T00:00:00+14:00", "1e9", "²"])
async def test_a_time_that_is_none_costs_its_line_alone(tmp_path, time):
    (tmp_path / "one.jsonl").write_bytes(line(0, time=time) + b"\n" + line(1))
    found = await read(tmp_path / "one.jsonl")
    assert found[0].unreadable.startswith("line 1: time: ")
    assert said(found[1]).text == "light 1 on"


def csv_of(rows, **options):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n", **options).writerows(rows)
    return file.getvalue().encode()


CSV_BROKEN = {
    b"only one cell": "1 cell, the header has 3",
    b'acme,"light on,x': "no row of CSV",
    b'acme,light "on",x,y,z': "5 cells, the header has 3",
    b'acme,"light" on,x': "no row of CSV",
    b"acme,caf\xe9,x": "not UTF-8",
    b"acme,,x": "no text",
    b"acme," + b"a" * 8_193 + b",x": "text: 8193 characters",
    b"acme," + b"a" * 140_000 + b",x": "no row of CSV: field larger than field limit",
    b".hidden,light on,x": "tenant: a name",
    b",light on,x": "no tenant",
}


async def test_of_a_hundred_thousand_csv_rows_each_broken_one_is_named_by_its_line_and_no_other_is_lost(tmp_path):
    kinds, place = [*CSV_BROKEN], tmp_path / "month.csv"
    lines, starts, line_number = [b"tenant,text,time"], [], 2
    bad = {number: kinds[number // 100 % len(kinds)] for number in range(42, 100_000, 100)}
    for number in range(100_000):
        text = f'"first, {number}\nsecond ""{number}"""' if number % 10 == 3 else f"light {number} on"
        lines.append(bad.get(number) or f"t{number % 7},{text},{TIME}".encode())
        starts.append(line_number)
        line_number += lines[-1].count(b"\n") + 1
    place.write_bytes(b"\n".join(lines))
    found = await read(place)
    assert [one.offset for one in found] == [*range(100_000)]
    told = faults(found)
    assert told.keys() == bad.keys()
    for number, raw in bad.items():
        wanted = CSV_BROKEN[raw].replace("no text", "text: it is empty")
        assert told[number].startswith(f"line {starts[number]}: {wanted}"), told[number]
    for number, one in enumerate(found):
        if number not in bad:
            text = f'first, {number}\nsecond "{number}"' if number % 10 == 3 else f"light {number} on"
            assert (said(one).text, said(one).submitted_us) == (text, TIME_US)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_csv_of_any_usual_separator_is_read_with_its_mark_of_order(tmp_path, delimiter):
    rows = [["id", "text", "note", "tenant"], ["1", f"a{delimiter} b\nc", 'say "x"', "acme"], ["2", "d", "", "acme"]]
    (tmp_path / "one.csv").write_bytes(b"\xef\xbb\xbf" + csv_of(rows, delimiter=delimiter).replace(b"\n", b"\r\n"))
    found = [said(one) for one in await read(tmp_path / "one.csv")]
    assert [(one.id, one.text) for one in found] == [("1", f"a{delimiter} b\r\nc"), ("2", "d")]


@pytest.mark.parametrize(("name", "content", "wanted"), [
    ("a.csv", b"tenant,utterance\nacme,x\n", "a.csv:1: no column text in the header, which has 'tenant', 'utterance'"),
    ("a.csv", b"text,text,tenant\n", "a.csv:1: the column text is there twice"),
    ("a.csv", b'te"xt,"tenant\n', "a.csv:1: no header of CSV"),
    ("a.csv", "text,tenant\n".encode("utf-16"), "a.csv: it is UTF-16"),
    ("a.jsonl", "{}".encode("utf-16-be"), ""),
    ("a.jsonl", "\ufeff{}".encode("utf-16-be"), "a.jsonl: it is UTF-16"),
    ("a.parquet", b"PAR1 no parquet", "a.parquet: ArrowInvalid"),
    ("a.jsonl.gz", b"no gzip", "a.jsonl.gz: it is broken after 0 rows"),
    ("a.txt", b"", "a.txt: JSON lines, CSV or Parquet are wanted"),
])
async def test_a_file_that_is_none_of_its_kind_is_named_before_a_job_begins(tmp_path, name, content, wanted):
    (tmp_path / name).write_bytes(content)
    if not wanted:
        assert len(await read(tmp_path / name)) == 1
        return
    with pytest.raises(Misconfigured) as raised:
        await read(tmp_path / name)
    assert wanted in str(raised.value)


def parquet(place, columns, **options):
    pq.write_table(pa.table(columns), place, **options)


@pytest.mark.parametrize("kind", [
    pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()),
])
async def test_parquet_is_read_whatever_kind_of_string_and_time_it_has(tmp_path, kind):
    texts = [f"light {number} on" for number in range(2_000)]
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    times = {
        "ns": pa.array([TIME_US * 1_000 + 1] * 2_000, pa.timestamp("ns")),
        "zone": pa.array([moment.astimezone(timezone(timedelta(hours=9)))] * 2_000, pa.timestamp("ms", "Asia/Tokyo")),
        "text": pa.array([TIME] * 2_000), "seconds": pa.array([TIME_US // 1_000_000] * 2_000),
    }
    for name, time in times.items():
        place = tmp_path / f"{name}.parquet"
        parquet(place, {"text": pa.array(texts).cast(kind), "tenant": ["acme"] * 2_000, "time": time,
                        "id": pa.array([*range(2_000)]), "other": [[1]] * 2_000}, row_group_size=700)
        found = [said(one) for one in await read(place)]
        assert [(one.text, one.id) for one in found] == [(text, str(n)) for n, text in enumerate(texts)]
        assert {one.submitted_us for one in found} == {TIME_US}


@pytest.mark.parametrize(("kind", "most", "unit_us"), [
    (pa.date32(), 2**31 - 1, 86_400 * 10**6), (pa.timestamp("s"), 10**15, 10**6), (pa.timestamp("ms"), 10**17, 10**3),
])
async def test_a_time_of_parquet_that_is_too_large_is_told_and_never_another_time(tmp_path, kind, most, unit_us):
    number = pa.int32() if kind == pa.date32() else pa.int64()
    times = pa.array([3, most, -5, None], number).cast(kind)
    parquet(tmp_path / "a.parquet", {"text": ["a"] * 4, "tenant": ["acme"] * 4, "time": times})
    found = await read(tmp_path / "a.parquet")
    assert said(found[0]).submitted_us == 3 * unit_us
    assert [told[:12] for told in faults(found).values()] == ["row 1: time:", "row 2: time:"]


async def test_a_bad_row_of_parquet_costs_only_itself(tmp_path):
    binary = pa.array([b"a", b"caf\xe9", b"c", b"d"])
    texts = pa.StringArray.from_buffers(4, binary.buffers()[1], binary.buffers()[2])
    parquet(tmp_path / "a.parquet", {"text": texts, "tenant": ["acme", "acme", None, "a/b"], "lang": [None] * 4})
    found = await read(tmp_path / "a.parquet")
    assert said(found[0]).text == "a"
    assert [told[:14] for told in faults(found).values()] == ["row 1: not UTF", "row 2: no tena", "row 3: tenant:"]


@pytest.mark.parametrize(("columns", "wanted"), [
    ({"text": [1, 2], "tenant": ["a", "b"]}, "the column text is of type int64; strings are wanted"),
    ({"text": ["a"], "tenant": [b"b"]}, "the column tenant is of type binary; strings are wanted"),
    ({"text": ["a"], "tenant": ["b"], "time": [True]}, "the column time is of type bool; a timestamp"),
    ({"text": ["a"], "tenant": ["b"], "id": [1.5]}, "the column id is of type double"),
    ({"words": ["a"], "tenant": ["b"]}, "no column text; it has words, tenant"),
])
async def test_a_parquet_column_of_a_wrong_type_is_named_before_a_job_begins(tmp_path, columns, wanted):
    parquet(tmp_path / "a.parquet", columns)
    with pytest.raises(Misconfigured) as raised:
        await read(tmp_path / "a.parquet")
    assert wanted in str(raised.value)


async def test_files_broken_in_the_middle_are_named_with_the_row(tmp_path):
    texts = [f"light {number} on" for number in range(20_000)]
    parquet(tmp_path / "a.parquet", {"text": texts, "tenant": texts}, row_group_size=5_000, use_dictionary=False)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[len(data) // 2:len(data) // 2 + 9_000] = bytes(9_000)
    (tmp_path / "a.parquet").write_bytes(data)
    lines = b"\n".join(line(number) for number in range(100_000))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines)[:-100_000])
    (tmp_path / "c.jsonl.bz2").write_bytes(bz2.compress(lines)[:-100_000])
    (tmp_path / "d.jsonl.zst").write_bytes(pa.compress(lines, "zstd", asbytes=True)[:90_000] + bytes(9_000))
    for name in ("a.parquet", "b.jsonl.gz", "c.jsonl.bz2", "d.jsonl.zst"):
        with pytest.raises(Misconfigured, match=rf"{name}: .*after \d+ rows"):
            await read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.bz2", "a.jsonl.zst", "a.csv.xz"])
async def test_compressed_texts_are_read(name, tmp_path):
    content = csv_of([["text", "tenant"], ["light 0 on", "acme"]]) if ".csv" in name else line(0)
    if name.endswith("zst"):
        (tmp_path / name).write_bytes(pa.compress(content, "zstd", asbytes=True))
    else:
        with fsspec.open(str(tmp_path / name), "wb", compression="infer") as file:
            file.write(content)
    assert [said(one).text for one in await read(tmp_path / name)] == ["light 0 on"]


def write_all(tmp_path, count):
    """The same rows in every format."""
    (tmp_path / "a.jsonl").write_bytes(b"".join(line(number) + b"\n" for number in range(count)))
    rows = [[f"light {number} on", f"tenant-{number % 7}"] for number in range(count)]
    (tmp_path / "b.csv").write_bytes(csv_of([["text", "tenant"], *rows]))
    columns = {"text": [a for a, _ in rows], "tenant": [b for _, b in rows]}
    parquet(tmp_path / "c.parquet", columns, row_group_size=7_000)


async def test_reading_goes_on_at_any_row_with_the_same_records(tmp_path):
    write_all(tmp_path, 15_000)
    async with Opened(tmp_path) as (source, spans):
        assert [span.source for span in spans] == [str(tmp_path / n) for n in ("a.jsonl", "b.csv", "c.parquet")]
        for span in spans:
            whole = await records_of(source, span)
            for row in (0, 1, 6_999, 7_000, 14_999, 15_000, 40_000):
                assert await records_of(source, span, row, most=333) == whole[row:]


class Failing:
    """A file whose reads fail now and then."""

    def __init__(self, file, reads):
        self._file, self._reads = file, reads

    def __getattr__(self, name):
        return getattr(self._file, name)

    def read(self, *size):
        if next(self._reads) in (1, 4, 5, 13, 17):
            raise TimeoutError(110, "the store takes too long")
        return self._file.read(*size)


@pytest.mark.parametrize("name", ["a.jsonl", "b.csv", "c.parquet"])
async def test_a_read_that_fails_is_tried_again_and_no_row_is_lost_or_there_twice(tmp_path, monkeypatch, name):
    write_all(tmp_path, 15_000)
    reads, opened = itertools.count(), files.open_file
    async with Opened(tmp_path / name) as (source, (span,)):
        wanted = await records_of(source, span)
        monkeypatch.setattr(files, "PACING", replace(PACING, file_take_bytes=200_000))
        monkeypatch.setattr("infra.backfill.files.lines.PACING", replace(PACING, file_block_bytes=100_000))
        await source.seek(span, 0)
        monkeypatch.setattr(files, "open_file", lambda name: Failing(opened(name), reads))
        found, failed = [], 0
        await source.seek(span, 0)
        for _ in range(1_000):
            try:
                taken = await source.take(5_000)
            except Unavailable as error:
                assert name in str(error)
                failed += 1
                continue
            found += taken.records
            if taken.position == END_OF_FILE:
                break
    assert found == wanted
    assert failed


async def test_a_take_that_was_cancelled_loses_no_row(tmp_path):
    write_all(tmp_path, 30_000)
    async with Opened(tmp_path / "a.jsonl") as (source, (span,)):
        wanted = await records_of(source, span)
        await source.seek(span, 0)
        found = [*(await source.take(5_000)).records]
        taking = asyncio.ensure_future(source.take(5_000))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait([taking])
        assert taking.cancelled()
        found += (await source.take(25_000)).records
        assert found == wanted[:30_000]


async def test_bounds_are_rows_by_the_number_of_a_file(tmp_path):
    write_all(tmp_path, 100)
    found = await read(tmp_path, start="0:90,1:20", end="1:30,2:5")
    assert [(one.partition, one.offset) for one in found] == [
        *((0, n) for n in range(90, 100)), *((1, n) for n in range(20, 30)), *((2, n) for n in range(5)),
    ]
    for asked in ({"start": "2h"}, {"start": "latest"}, {"end": "2026-01-01"}, {"start": "3:0"}, {"start": "0:-4"},
                  {"start": "0:9", "end": "0:8"}):
        with pytest.raises(Misconfigured):
            await read(tmp_path, **asked)


async def test_more_files_than_the_record_of_a_job_holds_are_refused_with_how_many_it_holds(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f"{number:02d}.jsonl").write_bytes(line(number))
    monkeypatch.setattr(files, "MAX_BYTES", 3_000)
    with pytest.raises(Misconfigured, match=r"20 files, a job has at most 1\d of these"):
        await read(tmp_path)
    assert len(await read(tmp_path / "0[0-7].jsonl")) == 8


async def test_a_file_that_was_written_anew_or_is_gone_is_told_and_not_read(tmp_path):
    write_all(tmp_path, 100)
    async with Opened(tmp_path) as (source, spans):
        (tmp_path / "a.jsonl").write_bytes(line(0))
        (tmp_path / "b.csv").unlink()
        for span, wanted in zip(spans, ("written anew", "was there"), strict=False):
            with pytest.raises(Replaced, match=wanted):
                await source.seek(span, 5)
        await source.seek(spans[2], 0)
        await source.take(10)
        parquet(tmp_path / "c.parquet", {"text": ["new"], "tenant": ["acme"]})
        with pytest.raises(Replaced):
            for _ in range(100):
                await source.take(10)


async def test_no_file_is_refused_by_name_and_only_whole_files_are_found(tmp_path):
    for source in (tmp_path, tmp_path / "no.csv", tmp_path / "*.jsonl", "memory://nothing/at/all.csv", "what://x.csv"):
        with pytest.raises(Misconfigured, match=str(source).replace("*", r"\*")):
            await read(source)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".b.csv.crc").touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a [1].jsonl").write_bytes(line(1))
    (tmp_path / "b.csv").write_bytes(b"")
    for source in (tmp_path, f"{tmp_path}/**/*.jsonl", tmp_path / "deep" / "a [1].jsonl"):
        assert [said(one).text for one in await read(source)] == ["light 1 on"]
    (tmp_path / "notes.txt").touch()
    with pytest.raises(Misconfigured, match=r"notes\.txt"):
        await read(tmp_path)


async def test_a_url_of_any_file_system_is_a_source():
    memory = fsspec.filesystem("memory")
    memory.pipe({"/many/b.jsonl": line(2), "/many/a.jsonl": line(1), "/many/c.csv": b"text;tenant\nlight 3 on;acme"})
    try:
        async with Opened("memory://many/*") as (source, spans):
            assert [span.source for span in spans] == [f"memory:///many/{n}" for n in ("a.jsonl", "b.jsonl", "c.csv")]
            found = [one for span in spans for one in await records_of(source, span)]
            assert [said(one).text for one in found] == ["light 1 on", "light 2 on", "light 3 on"]
            assert len({said(one).id for one in found}) == 3
            memory.pipe_file("/many/a.jsonl", line(9))
            with pytest.raises(Replaced):
                await source.seek(spans[0], 0)
    finally:
        memory.rm("/many", recursive=True)
    assert is_files("memory://many/*") and not is_files("utterances") and not is_files("embeddings")


async def peak_mb(place):
    """The most memory that reading takes."""
    async with Opened(place) as (source, (span,)):
        tracemalloc.start()
        try:
            count = sum(await records_of(source, span, most=1_000, keep=False))
            return count, tracemalloc.get_traced_memory()[1] / 1e6
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "long.jsonl", "a.parquet"])
async def test_memory_stays_flat_whatever_the_size_of_the_file(tmp_path, name):
    text, place = "light on " * 110, tmp_path / name
    count = 50_000  # 50 MB
    if name == "a.parquet":
        with pq.ParquetWriter(place, pa.schema([("text", pa.string()), ("tenant", pa.string())])) as writer:
            for number in range(0, count, 5_000):
                texts = [f"{n} {text}" for n in range(number, number + 5_000)]
                writer.write_table(pa.table({"text": texts, "tenant": ["acme"] * 5_000}))
    else:
        with place.open("wb") as file:
            file.write(b"text,tenant\n" if name == "a.csv" else b"")
            for number in range(count):
                file.write({
                    "a.csv": f"{number} {text},acme\n".encode(),
                    "a.jsonl": json.dumps({"text": f"{number} {text}", "tenant": "acme"}).encode() + b"\n",
                    "long.jsonl": b"{" * 1_000,  # one line
                }[name])
    seen, peak = await peak_mb(place)
    assert seen == (1 if name == "long.jsonl" else count)
    assert peak < 30


async def test_a_piece_ends_after_some_megabytes_however_many_rows_are_asked_for(tmp_path, monkeypatch):
    write_all(tmp_path, 1_000)
    small = replace(PACING, file_take_bytes=1_000)
    monkeypatch.setattr("infra.backfill.files.source.PACING", small)
    async with Opened(tmp_path / "a.jsonl") as (source, (span,)):
        await source.seek(span, 0)
        assert 0 < len((await source.take(1_000)).records) < 20
