"""Delivery on Apache Kafka: workers are killed, or restarted in turn, while thousands of utterances are in flight."""

import asyncio
import signal
import time
from collections import Counter
from itertools import groupby

import pytest
from aiokafka.partitioner import DefaultPartitioner

pytest.importorskip("torch")

from headrace import Headrace
from infra.stack import kafka
from tests.built import needs_kernels
from tests.small import example, small_stack
from topology import topics, wire
from topology.errors import UnknownTenant
from topology.stream.kafka import Producer, TopicReader
from topology.stream.records import Output

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
COUNT = 5_000
TOGETHER = 10  # submitted at once: a client that waits for much lingers 12 ms for each request


@pytest.fixture(scope="module", params=["float32", pytest.param("int8", marks=needs_kernels)])
def running(tmp_path_factory, request):
    """float32 computes on a thread, int8 in the worker's event loop."""
    with small_stack(tmp_path_factory.mktemp("home"), kind="kafka", workers=2, precision=request.param) as parts:
        yield parts


async def read_all(settings, topic):
    reader = TopicReader(settings.broker, topic)
    await reader.start()
    try:
        return await reader.read_to_end()
    finally:
        await reader.stop()


async def results_of(settings, ids):
    """The ids of `ids` on the result topic, each as often as it is there. It follows the replies: waits for all."""
    reader = TopicReader(settings.broker, topics.predictions(settings.prefix, "en", "a"))
    await reader.start()
    found = []
    try:
        async with asyncio.timeout(60):
            while not ids <= set(found):
                found += [wire.decode(wire.Prediction, r.value).id for r in await reader.take(wait_ms=500)]
        found += [wire.decode(wire.Prediction, r.value).id for r in await reader.read_to_end()]
    finally:
        await reader.stop()
    return [one for one in found if one in ids]


async def until(happened, seconds=90):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def warm(client, tries=60):
    for left in range(tries, 0, -1):
        try:
            await client.predict("acme", example(0).text, lang="en", deadline=60)
            return
        except UnknownTenant:
            if left == 1:
                raise
            await asyncio.sleep(0.2)


async def drive(settings, disturb):
    """Submit COUNT, disturb in mid-run, wait for every reply. Returns (ids, replies, result ids, dead letters)."""
    async with Headrace(settings) as client:
        await warm(client)
        dead = len(await read_all(settings, topics.dead_letters(settings.prefix)))
        ids = []
        disturbing = None
        for first in range(0, COUNT, TOGETHER):
            some = range(first, first + TOGETHER)
            ids += await asyncio.gather(
                *(client.submit("acme", example(number).text, lang="en", deadline=300) for number in some)
            )
            if first == COUNT // 4:
                disturbing = asyncio.create_task(disturb())
        replies = await asyncio.gather(*(client.result("acme", i) for i in ids), return_exceptions=True)
        await disturbing
    results = await results_of(settings, set(ids))
    letters = (await read_all(settings, topics.dead_letters(settings.prefix)))[dead:]
    return ids, replies, results, letters


def child(supervisor, name):
    return next(c for c in supervisor.children if c.name == name)


async def test_kill_9_of_both_kinds_of_worker_loses_nothing(running):
    settings, supervisor, _ = running

    async def disturb():
        for name in ("encoder-en-0", "head-en-a-1"):
            child(supervisor, name).process.send_signal(signal.SIGKILL)
            await until(lambda name=name: child(supervisor, name).process.poll() is not None)
        assert sorted(supervisor.restart_ended()) == ["encoder-en-0", "head-en-a-1"]

    ids, replies, results, letters = await drive(settings, disturb)
    assert [getattr(r, "id", r) for r in replies] == ids
    assert set(ids) <= set(results)
    assert letters == []


async def test_a_rolling_restart_computes_nothing_twice(running):
    settings, supervisor, _ = running

    async def disturb():
        for one in [c for c in supervisor.children if c.name.startswith(("encoder-", "head-"))]:
            one.process.terminate()
            await until(lambda one=one: one.process.poll() is not None)
            assert one.process.returncode == 0, one.log.read_text()[-2000:]
            supervisor.restart_ended()
            await until(one.ready.exists)

    ids, replies, results, letters = await drive(settings, disturb)
    assert [getattr(r, "id", r) for r in replies] == ids
    assert sorted(results) == sorted(ids)
    wanted = set(ids)
    embeddings = await read_all(settings, topics.embeddings(settings.prefix, "en", "a"))
    encoded = [wire.decode(wire.Embedding, r.value).id for r in embeddings]
    assert sorted(wanted) == sorted(i for i in encoded if i in wanted)
    assert letters == []


async def test_one_call_writes_more_than_a_batch_holds_in_order_and_each_key_to_its_partition(running):
    settings = running[0]
    topic = topics.utterances(settings.prefix, "en", "backfill")
    outputs = [Output(topic, b"key-%d" % (i % 3), b"%d " % i + b"x" * 400_000) for i in range(12)]
    producer, reader = Producer(settings.broker), TopicReader(settings.broker, topic)
    await producer.start()
    await reader.start()
    try:
        before = len(await reader.read_to_end())
        await producer.send(outputs)
        found = await reader.read_to_end()
    finally:
        await producer.stop()
        await reader.stop()
    assert before == 0 and len(found) == len(outputs)
    partitioner = DefaultPartitioner()
    numbers = list(range(settings.rings["en"].partitions))
    for key in {o.key for o in outputs}:
        assert [r.value for r in found if r.key == key] == [o.value for o in outputs if o.key == key]
        assert {r.partition for r in found if r.key == key} == {partitioner(key, numbers, numbers)}


async def test_records_without_a_key_stay_together_when_few_and_are_shared_out_when_more(running):
    settings = running[0]
    topic, count = topics.utterances(settings.prefix, "en", "backfill"), settings.rings["en"].partitions
    producer, reader = Producer(settings.broker), TopicReader(settings.broker, topic)
    await producer.start()
    await reader.start()
    try:
        await reader.read_to_end()
        found = []
        for call, records in enumerate((3, 4, 9, 50)):
            await producer.send([Output(topic, None, b"%d %d" % (call, i)) for i in range(records)])
            places = {r.value: r.partition for r in await reader.read_to_end()}
            found.append([places[b"%d %d" % (call, i)] for i in range(records)])
    finally:
        await producer.stop()
        await reader.stop()
    assert [sorted(Counter(places).values()) for places in found[:3]] == [[3], [4], [3, 3, 3]]
    shares = Counter(found[3])
    assert len(shares) == count and max(shares.values()) - min(shares.values()) <= 1
    for places in found:  # neighbours are together
        assert [partition for partition, _ in groupby(places)] == list(dict.fromkeys(places))
    assert len({places[0] for places in found[:3]}) == min(count, 3)  # and the next call begins elsewhere
