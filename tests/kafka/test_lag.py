"""`headrace lag` on three Apache Kafka brokers, lost in the end: what Kafka's own tool tells, and more."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from infra.autoscale.signals import Signals, tiers
from infra.backfill.counts import Counts
from infra.backfill.job import Asked, Job, Span
from infra.backfill.jobs import reading
from infra.stack import kafka
from infra.stack.embedded import start_redis
from infra.stack.supervise import Supervisor
from tests.built import needs_redis
from topology import addresses, topics
from topology.encoders import cache_dir
from topology.stream.admin import apply_topics
from topology.stream.kafka import GroupConsumer, Rebalances
from topology.stream.process import now_us
from topology.stream.work import Work

pytestmark = [
    pytest.mark.kafka,
    needs_redis,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
CONFIG = """
state_dir = "state"
[broker]
kind = "kafka"
brokers = 3
[topics]
replication = 3
[rings.en]
languages = ["en"]
encoder = "none"
partitions = 3
[rings.en.cells.a]
partitions = 3
[rings.fr]
languages = ["fr"]
encoder = "none"
partitions = 3
[rings.fr.cells.a]
partitions = 3
"""
GROUP, TOPIC = topics.encoder_group("headrace", "en"), topics.utterances("headrace", "en")
HEADS, EMBEDDINGS = topics.head_group("headrace", "en", "a"), topics.embeddings("headrace", "en", "a")
FRENCH, FRENCH_TOPIC = topics.encoder_group("headrace", "fr"), topics.utterances("headrace", "fr")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """(headrace.toml, its settings, the supervisor): three brokers with their topics, a Redis, and no workers."""
    home = tmp_path_factory.mktemp("home")
    config = home / "headrace.toml"
    config.write_text(CONFIG)
    settings = addresses.load_placed(config)
    supervisor = Supervisor(Path(settings.state_dir))
    try:
        bootstrap = kafka.start_brokers(supervisor, Path(settings.state_dir), 3)
        addresses.write(settings, bootstrap, start_redis(supervisor, home, "embedded"))
        settings = addresses.load_running(config)
        asyncio.run(apply_topics(settings, topics.wanted(settings)))
        yield config, settings, supervisor
    finally:
        supervisor.stop()


async def until(ask, wanted, seconds=90):
    """The first answer of `ask` that `wanted` is true of."""
    end = time.monotonic() + seconds
    while not wanted(found := await ask()):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.1)
    return found


async def send(settings, topic, counts):
    """So many records to each partition, on all replicas: the end that consumers are told is that of all of them."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker.bootstrap, acks="all")
    await producer.start()
    for number, count in enumerate(counts):
        for _ in range(count):
            await producer.send_and_wait(topic, b"x", partition=number)
    await producer.stop()


async def commit(settings, group, topic, offsets, note=""):
    """Commit as a member that leaves again; what is in no `offsets` stays without a commit."""
    consumer = GroupConsumer(settings.broker, topic, group)
    joined = asyncio.Event()

    class Joined(Rebalances):
        async def assigned(self, count):
            joined.set()

    await consumer.start(Joined())
    try:
        async with asyncio.timeout(60):
            while not joined.is_set():
                await consumer.take(1, wait_ms=50)
            await until(lambda: consumer.commit({(topic, n): offset for n, offset in offsets.items()}, note), bool)
    finally:
        await consumer.stop()


async def reading_of(settings):
    """The first look that a busy machine's brokers answer in time."""
    signals = Signals(settings)
    seen = await until(signals.look, lambda seen: not seen.away)
    await signals.stop()
    return seen


async def lag_command(config, *arguments):
    """What `headrace lag` prints, once the brokers answer in time."""
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "lag", *arguments]
    done = await until(lambda: asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60),
                       lambda done: done.returncode != 1)
    assert done.returncode == 0, done.stderr
    return done.stdout


def of(reading, group):
    """A group of a reading."""
    assert not reading.away, reading.away
    return next(one for one in reading.groups if one.group == group)


async def look(settings, group):
    """One look at a group."""
    return of(await reading_of(settings), group)


def told_by_kafka(settings, group):
    """Partition → lag, as `kafka-consumer-groups --describe` prints it; `-` where nothing was committed."""
    pom = kafka.POM.replace("kafka_2.13", "kafka-tools")
    tools = kafka.fetched(cache_dir() / f"kafka-tools-{kafka.VERSION}", pom, "Kafka's own tools")
    done = subprocess.run([
        "java", "-cp", f"{tools / 'jars'}/*", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "--bootstrap-server", settings.broker.bootstrap, "--describe", "--group", group,
    ], capture_output=True, text=True, timeout=120)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(group)]
    assert rows, done.stdout + done.stderr
    return {int(row[2]): row[5] for row in rows}


async def test_without_any_commit_all_that_the_log_has_waits_and_its_age_is_told(system):
    _, settings, _ = system
    begun_s = time.time()
    await send(settings, TOPIC, [4, 2, 0])
    group = await look(settings, GROUP)
    assert [one.lag for one in group.partitions] == [4, 2, 0]
    assert [one.committed for one in group.partitions] == [None] * 3
    assert 0 <= group.partitions[0].oldest_age_s <= time.time() - begun_s + 1
    assert group.partitions[2].oldest_age_s == 0.0, "an idle partition holds nothing back"
    assert (group.members, group.drain_s) == (0, float("inf")), "nobody reads it"
    (idle,) = [one for one in tiers(settings, await reading_of(settings)) if one.name == "head/en/a"]
    assert (idle.backlog, idle.oldest_age_s, idle.missing) == (0, 0.0, "")


async def test_lag_is_what_kafkas_own_tool_tells_and_a_workers_figures_come_with_its_commits(system):
    config, settings, _ = system
    await commit(settings, GROUP, TOPIC, {0: 1, 1: 2}, Work("worker-1", 10.0, 2.0, 4.0, 100, 1_500).to_note())
    assert await asyncio.to_thread(told_by_kafka, settings, GROUP) == {0: "3", 1: "0"}, "of what was committed"
    group = await look(settings, GROUP)
    assert [one.lag for one in group.partitions] == [3, 0, 0]
    told = {one["group"]: one for one in json.loads(await lag_command(config, "--json"))["groups"]}
    assert (told[GROUP]["lag"], told[GROUP]["state"], told[GROUP]["drains"]) == (3, "Empty", False)
    assert told[GROUP]["arrivals_per_s"] == 0.0 and told[HEADS]["drain_s"] == 0.0
    assert f"{GROUP}: Empty, 0 members; 3 records wait" in await lag_command(config)


async def test_a_replay_that_has_not_ended_tells_what_is_left_of_it(system):
    config, settings, _ = system
    job = Job("months", Asked("en"), (Span(TOPIC, 0, 0, 4), Span(TOPIC, 1, 1, 2)), now_us(), 100)
    async with reading(settings) as jobs:
        await jobs.create(job, [])
    await commit(settings, topics.backfill_group("headrace", "months"), TOPIC, {0: 3}, Counts().to_json())
    told = json.loads(await lag_command(config, "--json"))
    assert told["replays"] == [{"id": "months", "state": "stopped", "remaining": 2}]


async def test_what_retention_deleted_unread_is_no_lag_and_what_a_transaction_took_back_waits_for_nobody(system):
    _, settings, _ = system
    await send(settings, EMBEDDINGS, [6, 0, 0])
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker.bootstrap, transactional_id="test")
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(EMBEDDINGS, b"never valid", partition=1)
    await producer.abort_transaction()
    async with producer.transaction():
        await producer.send_and_wait(EMBEDDINGS, b"valid", partition=2)
    await producer.stop()
    await commit(settings, HEADS, EMBEDDINGS, {0: 1, 1: 0, 2: 1})
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(EMBEDDINGS, 0): RecordsToDelete(before_offset=4)})
    await admin.close()
    first, second, third = (await look(settings, HEADS)).partitions
    assert (first.committed, first.start, first.end, first.lag) == (1, 4, 6, 2), "Kafka's own tool says 5"
    assert (second.end, second.lag, second.oldest_age_s) == (2, 0, 0.0), "an aborted record and its marker"
    assert (third.end, third.lag, third.oldest_age_s) == (2, 0, 0.0), "a marker alone"


async def test_a_topic_made_anew_has_its_own_lag_and_no_rate_from_the_one_before(system):
    _, settings, _ = system
    await send(settings, FRENCH_TOPIC, [5, 0, 0])
    signals = Signals(settings)
    await until(signals.look, lambda seen: not seen.away)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker.bootstrap)
    await admin.start()
    await admin.delete_topics([FRENCH_TOPIC])
    seen = await until(signals.look, lambda seen: not seen.away and not of(seen, FRENCH).partitions)
    (tier,) = [one for one in tiers(settings, seen) if one.name == "encoder/fr"]
    assert tier.missing == f"topic {FRENCH_TOPIC} is not there"
    await admin.create_topics([NewTopic(FRENCH_TOPIC, 3, 3)])
    await admin.close()
    await until(signals.look, lambda seen: not seen.away and len(of(seen, FRENCH).partitions) == 3)
    await send(settings, FRENCH_TOPIC, [7, 0, 0])
    await commit(settings, FRENCH, FRENCH_TOPIC, {0: 9})  # a worker that has not met the new end yet
    group = of(await until(signals.look, lambda seen: not seen.away), FRENCH)
    assert (group.partitions[0].committed, group.partitions[0].end, group.lag) == (9, 7, 7), "read from its beginning"
    assert group.partitions[0].oldest_age_s > 0 and group.arrivals_per_s >= 0
    await signals.stop()


async def test_a_lost_broker_changes_no_figure_and_three_lost_leave_none(system):
    _, settings, supervisor = system
    signals = Signals(settings)
    seen = await until(signals.look, lambda found: not found.away)
    before = [(one.group, [p.lag for p in one.partitions]) for one in seen.groups]
    brokers = [child.process for child in supervisor.children if child.name.startswith("kafka")]
    brokers[0].kill()
    brokers[0].wait()
    seen = await until(signals.look, lambda found: not found.away)
    assert [(one.group, [p.lag for p in one.partitions]) for one in seen.groups] == before
    for broker in brokers[1:]:
        broker.kill()
        broker.wait()
    seen = await signals.look()
    assert "does not answer" in seen.away or "did not answer" in seen.away
    assert seen.groups == () and all(one.missing == seen.away for one in tiers(settings, seen))
    await signals.stop()
