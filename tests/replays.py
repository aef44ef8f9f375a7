"""Replays as tests run them, and installations beside each other on one broker, each with topics of its own."""

import asyncio
import json
import time
from pathlib import Path

import msgpack
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from infra.announce import announce
from infra.backfill.job import Asked
from infra.backfill.meter import Meter
from infra.backfill.run import Options, run
from tests.small import example
from topology import topics, wire
from topology.heads import HeadManifest
from topology.settings import load
from topology.stream.admin import apply_topics
from topology.stream.kafka import Producer, TopicReader
from topology.stream.records import Output

RING = "en"
FAST = Options(workers=2, ignore_live=True)
CONFIG = """
prefix = "{name}"
state_dir = "{home}/state"
[broker]
kind = "external"
bootstrap = "{bootstrap}"
[redis]
kind = "external"
url = "{redis}"
[heads]
store = "{store}"
[limits]
max_chars = 200
max_tokens = 40
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
precision = "int8"
[rings.en.cells.a]
"""


def utterance(number, tenant="acme"):
    now = int(time.time() * 1e6)
    return wire.encode(wire.Utterance(f"u{number}", tenant, example(number).text, "en", now, now + 60_000_000))


async def replay(settings, config, asked, name="", options=FAST):
    return await run(settings, config, asked, name, options, Meter(), asyncio.Event(), lambda line: None)


async def results_of(settings, job):
    """The records that a job wrote to the backfill lane: id → its bytes, all that were seen."""
    reader = TopicReader(settings.broker, topics.predictions(settings.prefix, RING, "a", "backfill"))
    await reader.start()
    try:
        found = {}
        for record in await reader.read_to_end():
            if dict(record.headers).get("headrace.job") == job.encode():
                found.setdefault(msgpack.unpackb(record.value)["id"], set()).add(record.value)
        return found
    finally:
        await reader.stop()


def counts(told):
    return told["state"], told["read"], told["predicted"], told["lost"]


class Installation:
    """Another one on the same broker, with the same head and topics of its own; nobody serves live traffic there."""

    def __init__(self, stack, name):
        settings, _, head = stack
        home = head.parent / name
        home.mkdir()
        self.config = str(home / "headrace.toml")
        Path(self.config).write_text(CONFIG.format(
            name=name, home=home, bootstrap=settings.broker.bootstrap, redis=settings.redis.url,
            store=head.parent / settings.heads.store, encoder=settings.rings[RING].encoder,
        ))
        self.settings = load(self.config)
        self.topic = topics.utterances(name, RING)
        self._manifest = HeadManifest.from_json((head / "head.json").read_bytes())
        self.admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker.bootstrap)

    async def __aenter__(self):
        await self.admin.start()
        await apply_topics(self.settings, topics.wanted(self.settings))
        await announce(self.settings, self._manifest)
        return self

    async def __aexit__(self, *error):
        await self.admin.close()

    async def configure(self, **configs):
        told = {name.replace("_", "."): value for name, value in configs.items()}
        await self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.topic, told)])

    async def produce(self, values, partition=0, keys=None, transactional=False):
        """Write to one partition; in a transaction a marker ends it."""
        more = {"transactional_id": f"{self.topic}-{partition}-{time.time()}"} if transactional else {}
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.broker.bootstrap, acks="all", **more)
        await producer.start()
        try:
            if transactional:
                await producer.begin_transaction()
            for number, value in enumerate(values):
                await producer.send(self.topic, value, key=keys and keys[number], partition=partition)
            await producer.flush()
            if transactional:
                await producer.commit_transaction()
        finally:
            await producer.stop()

    async def replay(self, **asked):
        name = asked.pop("name", "job")
        options = asked.pop("options", FAST)
        return await replay(self.settings, self.config, Asked(RING, **asked), name, options)


async def send(settings, values, topic=""):
    producer = Producer(settings.broker)
    await producer.start()
    try:
        outputs = [Output(topic or topics.utterances(settings.prefix, RING), None, value) for value in values]
        for at in range(0, len(outputs), 500):
            await producer.send(outputs[at : at + 500])
    finally:
        await producer.stop()


async def until(happened, seconds=60):
    end = time.monotonic() + seconds
    while not await happened():
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


def set_aside(folder):
    return [json.loads(line) for p in Path(folder).rglob("*.jsonl") for line in p.read_text().splitlines()]
