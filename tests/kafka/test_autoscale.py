"""Scaling on Apache Kafka: workers come and go under traffic; Kafka goes away under who decides."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("grpc")

import grpc

from headrace import Headrace
from infra.autoscale.local import Fleet
from infra.autoscale.tiers import Advice
from infra.stack import kafka
from infra.stack.supervise import processes_of
from tests.keda import Keda
from tests.small import example, small_stack
from topology import topics, wire
from topology.stream.groups import read_groups
from topology.stream.kafka import TopicReader

AWAY_S = float(os.environ.get("HEADRACE_AWAY_S", "1"))  # that Kafka stays away after that was seen: `make away`
pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(420 + AWAY_S),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
TOGETHER = 10
SECTIONS = '[broker]\nkind = "kafka"\n[autoscale]\nevery_s = 0.5'
ENCODERS, HEADS = "encoder/en", "head/en/a"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with small_stack(home, connections=SECTIONS) as (settings, supervisor, _):
        yield settings, supervisor, home / "headrace.toml"


async def until(happened, seconds=120):
    end = time.monotonic() + seconds
    while not (found := await happened()):
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    return found


async def ids_on(settings, kind, topic):
    reader = TopicReader(settings.broker, topic)
    await reader.start()
    try:
        return [wire.decode(kind, record.value).id for record in await reader.read_to_end()]
    finally:
        await reader.stop()


async def each_once(settings, kind, topic, ids):
    """Wait until all of `ids` are on the topic; each must be there once."""
    async def whole():
        found = await ids_on(settings, kind, topic)
        return found if set(ids) <= set(found) else None

    found = await until(whole)
    assert sorted(one for one in found if one in set(ids)) == sorted(ids)


async def members(settings):
    """(the encoders' group, the heads'): how many members each has, and whether it is stable."""
    prefix = settings.prefix
    found = await read_groups(settings.broker, {
        topics.encoder_group(prefix, "en"): topics.utterances(prefix, "en"),
        topics.head_group(prefix, "en", "a"): topics.embeddings(prefix, "en", "a"),
    })
    return [one.members for one in found], all(one.state == "Stable" for one in found)


def advice(tier, replicas):
    return Advice(tier, time.time(), replicas, 0, "as the test says")


async def test_workers_come_and_go_under_traffic_and_every_record_is_computed_once(running):
    settings, supervisor, config = running
    fleet, told = Fleet(settings, supervisor, str(config)), []

    async def scale(count):
        for tier in (ENCODERS, HEADS):
            fleet.apply(advice(tier, count))
        assert fleet.counts == {ENCODERS: count, HEADS: count}
        await until(lambda: stable([count, count]))

    async def stable(counts):
        return await members(settings) == (counts, True)

    async def up_and_down():
        await scale(3)
        for tier in (ENCODERS, HEADS):
            fleet.apply(advice(tier, 1))
        while len(told) < 4:
            told.extend(await fleet.tend())
            await asyncio.sleep(0.05)
        assert (await members(settings))[0] == [1, 1]  # they left: nobody waits for the end of their sessions
        await until(lambda: stable([1, 1]))

    async def send(client, scaled):
        ids = []
        while not scaled.done():
            ids += await asyncio.gather(*(
                client.submit("acme", example(n).text, lang="en", deadline=200) for n in range(TOGETHER)
            ))
            await asyncio.sleep(0.05)
        return ids

    async with Headrace(settings) as client:
        await client.predict("acme", example(0).text, lang="en", deadline=60)
        scaled = asyncio.create_task(up_and_down())
        ids = await send(client, scaled)
        await scaled
        replies = await asyncio.gather(*(client.result("acme", one) for one in ids))
    assert [reply.id for reply in replies] == ids and len(ids) > 100
    stopped = [f"stopped: {name}-{n}, status 0" for name in ("encoder-en", "head-en-a") for n in (1, 2)]
    assert sorted(told) == stopped
    await each_once(settings, wire.Embedding, topics.embeddings(settings.prefix, "en", "a"), ids)
    await each_once(settings, wire.Prediction, topics.predictions(settings.prefix, "en", "a"), ids)


async def test_a_worker_that_ends_is_not_started_again_and_its_name_is_not_given_to_the_next_before(running):
    settings, supervisor, config = running
    fleet = Fleet(settings, supervisor, str(config))

    def heads():
        return [one.name for one in supervisor.children if one.name.startswith("head-") and one.retired_s is None]

    async def settled(count):
        await fleet.tend()
        return await members(settings) == ([1, count], True)

    fleet.apply(advice(HEADS, 2))
    assert heads() == ["head-en-a-0", "head-en-a-1"]
    await until(lambda: settled(2))
    fleet.apply(advice(HEADS, 1))
    fleet.apply(advice(HEADS, 2))  # at once: the name 1 is still the one's that ends
    assert heads() == ["head-en-a-0", "head-en-a-2"]
    await until(lambda: settled(2))
    fleet.apply(advice(HEADS, 1))
    assert heads() == ["head-en-a-0"]
    await until(lambda: settled(1))


@pytest.fixture
async def scaler(running, tmp_path):
    """(client, log file) of a `headrace scaler` that tells how many replicas each tier is to have."""
    config, log = running[2], tmp_path / "scaler.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "infra.cli", "--config", str(config), "scaler", "--host", "127.0.0.1", "--port", "0",
            stdout=out, stderr=out,
        )
    try:
        async def port():
            assert process.returncode is None, log.read_text()
            return re.search(r"answered at port (\d+)", log.read_text())

        async with Keda(f"127.0.0.1:{(await until(port))[1]}") as client:
            yield client, log
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() == 0, log.read_text()


async def count(client, tier):
    """What KEDA is told; None where it is told an error."""
    try:
        (value,) = (await client.metrics(tier)).metricValues
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        return None
    assert value.metricValue == value.metricValueFloat
    return value.metricValueFloat


def history(config):
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "scale", "history", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_while_kafka_is_away_every_count_stays_and_the_reason_is_shown(running, scaler, how):
    (settings, supervisor, config), (client, log) = running, scaler
    broker = next(one for one in supervisor.children if one.name.startswith("kafka-"))

    async def known():
        return await count(client, ENCODERS) == 1 and await count(client, HEADS) == 1

    await until(known)
    assert (await client.is_active(ENCODERS)).result and await client.stream_is_active(HEADS).read()
    broker.process.send_signal(signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
    try:
        async def held():
            assert await known()
            return log.read_text().count("hold at 1: the broker at") >= 2

        await until(held)
        until_s = time.monotonic() + AWAY_S
        while time.monotonic() < until_s:
            assert await known()
            await asyncio.sleep(0.2)
        for tier in (ENCODERS, HEADS):
            (last,) = [one for one in history(config) if one["tier"] == tier][-1:]
            assert last["held"] and last["replicas"] == 1 and settings.broker.bootstrap in last["why"]
            print(f"away for {AWAY_S:g} s, {how}: {tier}: {last['why']}")
    finally:
        broker.process.send_signal(signal.SIGCONT)

    async def goes_on():
        supervisor.restart_ended()  # a killed broker too, and workers that ended since it was away
        assert await known()
        last = {one["tier"]: one for one in history(config)}
        return not last[ENCODERS]["held"] and not last[HEADS]["held"]

    back_s = time.monotonic()
    await until(goes_on)
    print(f"decided again {time.monotonic() - back_s:.1f} s after it came back")


async def test_up_autoscale_stops_a_worker_that_is_not_needed_on_the_embedded_broker_too(running, tmp_path):
    """It starts with two workers of each tier, to which nothing comes."""
    config, log = tmp_path / "headrace.toml", tmp_path / "up.log"
    told = running[2].read_text().replace('kind = "kafka"', 'kind = "embedded"').replace("workers = 1", "workers = 2")
    config.write_text(told.replace("every_s = 0.5", "every_s = 0.5\nquiet_s = 10.0\nrebalance_s = 0.5"))
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "infra.cli", "--config", str(config), "up", "--autoscale", stdout=out, stderr=out
        )
    try:
        async def alone():
            assert process.returncode is None, log.read_text()
            return all(f"stopped: {name}-1, status 0" in log.read_text() for name in ("encoder-en", "head-en-a"))

        await until(alone)
        assert "encoder/en: 2 -> 1: 0/s come, 0 wait" in log.read_text()
        left = [one.name for one in processes_of(tmp_path / "state")]
        assert {"encoder-en-0", "head-en-a-0"} <= set(left) and not {"encoder-en-1", "head-en-a-1"} & set(left)
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() == 130, log.read_text()
    assert processes_of(tmp_path / "state") == []
