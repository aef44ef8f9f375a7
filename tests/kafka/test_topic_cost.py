"""`headrace topics cost` on Apache Kafka: measured sizes and rates, by offsets and times."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from infra.stack import kafka
from infra.stack.supervise import Supervisor
from tests.built import needs_redis
from topology import addresses, topics
from topology.errors import Unavailable
from topology.stream.admin import apply_topics
from topology.stream.groups import asking
from topology.stream.kafka import Producer
from topology.stream.newest import NewestReader
from topology.stream.records import Output, Record
from topology.stream.traffic import size_of

pytestmark = [
    pytest.mark.kafka,
    needs_redis,
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
CONFIG = """
state_dir = "state"
[broker]
kind = "kafka"
[redis]
kind = "external"
url = "redis://127.0.0.1:1"
[rings.en]
languages = ["en"]
encoder = "none"
partitions = 2
embeddings_hours = 48
[rings.en.cells.a]
"""
UTTERANCES, HEADS = topics.utterances("headrace", "en"), topics.heads("headrace")


@pytest.fixture
def system(tmp_path):
    """(headrace.toml, its settings): an Apache Kafka with its topics."""
    config = tmp_path / "headrace.toml"
    config.write_text(CONFIG)
    settings = addresses.load_placed(config)
    supervisor = Supervisor(Path(settings.state_dir))
    try:
        addresses.write(settings, kafka.start_brokers(supervisor, Path(settings.state_dir), 1), "")
        settings = addresses.load_running(config)
        asyncio.run(apply_topics(settings, topics.wanted(settings)))
        yield config, settings
    finally:
        supervisor.stop()


def command(config, *words):
    told = [sys.executable, "-m", "infra.cli", "--config", str(config), "topics", *words]
    return subprocess.run(told, capture_output=True, text=True, timeout=120)


async def written(settings, now_ms):
    """Utterances of 100 and 300 bytes over the last half hour, and as many of two hours ago."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker.bootstrap)
    await producer.start()
    for number in range(180):
        for age_s in (7_200 - number, 1_800 - 10 * number):
            value = b"x" * (100 if number % 2 else 300)
            await producer.send(UTTERANCES, value, partition=number % 2, timestamp_ms=now_ms - age_s * 1_000)
        await producer.flush()  # so that each partition's times are in order enough for its index
    await producer.send_and_wait(HEADS, b"x" * 1_000, key=b"en/acme")
    await producer.stop()


def test_sizes_and_rates_are_those_of_the_records_that_are_there(system):
    config, settings = system
    asyncio.run(written(settings, int(time.time() * 1e3)))
    done = command(config, "cost", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    found = {one["topic"]: one for one in told["topics"]}
    one = found[UTTERANCES]
    sizes = [size_of(Record("", 0, 0, None, b"x" * size)) for size in (100, 300)]
    assert (one["measured"], one["bytes_each"]) == (True, sum(sizes) / 2)
    assert 0.045 < one["per_s"] < 0.11  # 180 in the last hour; an index by time may begin some records early
    assert one["bytes_an_utterance"] == pytest.approx(one["bytes_each"])
    assert one["kept_gb"] == pytest.approx(7 * one["gb_a_day"])
    heads, embeddings = found[HEADS], found[topics.embeddings("headrace", "en", "a")]
    assert heads["kept_gb"] == pytest.approx(size_of(Record("", 0, 0, b"en/acme", b"x" * 1_000)) / 1e9)
    assert (embeddings["measured"], embeddings["per_s"]) == (False, 0.0)
    assert told["rings"]["en"]["gb_a_day"] == pytest.approx(one["gb_a_day"])
    table = command(config, "cost", "--rate", "100")
    assert table.returncode == 0 and "~12" in table.stdout and "ring en" in table.stdout, table.stderr
    applied = command(config, "apply")
    assert "ring en keeps embeddings for 48 h: for each 100 utterances/s " in applied.stdout
    assert (applied.returncode, "retention.ms" in applied.stdout) == (0, False)


async def test_who_follows_the_newest_records_sees_those_of_a_topic_that_was_made_anew_and_none_twice(system):
    settings, topic = system[1], topics.predictions("headrace", "en", "a")
    reader, producer = NewestReader(settings.broker, [topic], from_end=True), Producer(settings.broker)

    async def looked():
        try:
            async with asking(settings.broker):
                await reader.start()
                return [record.value for record in await reader.read(3)]
        except Unavailable:
            await reader.stop()
            return []

    await producer.start()
    await producer.send([Output(topic, b"key", b"before")])
    assert await looked() == []
    await producer.send([Output(topic, b"key", b"%d" % i) for i in range(10)])
    assert await looked() == [b"7", b"8", b"9"]
    assert await looked() == []
    await producer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker.bootstrap)
    await admin.start()
    await admin.delete_topics([topic])
    end = time.monotonic() + 60
    while topic in await admin.list_topics() or not any(
        report.created for report in await apply_topics(settings, topics.wanted(settings))
    ):
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    await admin.close()
    producer = Producer(settings.broker)
    await producer.start()
    await producer.send([Output(topic, b"key", b"anew")])
    await producer.stop()
    while (found := await looked()) != [b"anew"]:
        assert found == [] and time.monotonic() < end
        await asyncio.sleep(0.1)
    await reader.stop()
