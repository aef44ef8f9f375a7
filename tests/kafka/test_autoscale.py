"""Scaling on Apache Kafka: workers come and go under traffic; Kafka goes away under who decides."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("grpc")

from headrace import Headrace
from infra.autoscale.local import Fleet
from infra.autoscale.tiers import Advice
from infra.stack import kafka
from tests.keda import Keda
from tests.small import example, small_stack
from topology import topics, wire
from topology.stream.groups import read_groups
from topology.stream.kafka import TopicReader

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
TOGETHER = 10
ENCODERS, HEADS = "encoder/en", "head/en/a"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with small_stack(home, kind="kafka") as (settings, supervisor, _):
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
    prefix, wanted = settings.prefix, sorted(ids)
    for kind, topic in ((wire.Embedding, topics.embeddings(prefix, "en", "a")),
                        (wire.Prediction, topics.predictions(prefix, "en", "a"))):
        async def whole(kind=kind, topic=topic):
            found = await ids_on(settings, kind, topic)
            return found if set(ids) <= set(found) else None

        found = await until(whole)
        assert sorted(one for one in found if one in set(ids)) == wanted


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
