"""`headrace status` on Apache Kafka: the lag that Kafka's own tool tells, and none where only markers are left."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from infra.stack import kafka
from infra.stack.embedded import start_redis
from infra.stack.supervise import Supervisor
from infra.status import Seen, troubles
from tests.built import needs_redis
from topology import addresses, topics
from topology.encoders import cache_dir
from topology.stream.admin import apply_topics
from topology.stream.groups import read_groups
from topology.stream.kafka import GroupConsumer, Producer, Rebalances
from topology.stream.records import Output

pytestmark = [
    pytest.mark.kafka,
    needs_redis,
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
CONFIG = """
state_dir = "state"
[broker]
kind = "kafka"
[rings.en]
languages = ["en"]
encoder = "none"
partitions = 3
[rings.en.cells.a]
"""
GROUP, TOPIC = topics.encoder_group("headrace", "en"), topics.utterances("headrace", "en")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """(headrace.toml, its settings): an Apache Kafka with its topics and a Redis, and no workers."""
    home = tmp_path_factory.mktemp("home")
    config = home / "headrace.toml"
    config.write_text(CONFIG)
    settings = addresses.load_placed(config)
    supervisor = Supervisor(Path(settings.state_dir))
    try:
        bootstrap = kafka.start_brokers(supervisor, Path(settings.state_dir), 1)
        addresses.write(settings, bootstrap, start_redis(supervisor, home, "embedded"))
        settings = addresses.load_running(config)
        asyncio.run(apply_topics(settings, topics.wanted(settings)))
        yield config, settings
    finally:
        supervisor.stop()


def told_by_kafka(settings):
    """Partition → lag, as `kafka-consumer-groups --describe` prints it."""
    pom = kafka.POM.replace("kafka_2.13", "kafka-tools")
    tools = kafka.fetched(cache_dir() / f"kafka-tools-{kafka.VERSION}", pom, "Kafka's own tools")
    done = subprocess.run([
        "java", "-cp", f"{tools / 'jars'}/*", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "--bootstrap-server", settings.broker.bootstrap, "--describe", "--group", GROUP,
    ], capture_output=True, text=True, timeout=120)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(GROUP)]
    assert rows, done.stdout + done.stderr
    return {int(row[2]): int(row[5]) for row in rows}


async def state(settings):
    (group,) = await read_groups(settings.broker, {GROUP: TOPIC})
    return group


async def test_lag_is_what_kafkas_own_tool_tells_and_a_partition_without_a_member_is_seen(system):
    config, settings = system
    producer, consumer = Producer(settings.broker), GroupConsumer(settings.broker, TOPIC, GROUP)
    await producer.start()
    await producer.send([Output(TOPIC, b"%d" % i, b"x") for i in range(30)])
    await producer.stop()
    await consumer.start(Rebalances())
    try:
        async with asyncio.timeout(60):
            read = 0
            while read < 30:
                read += len(await consumer.take(100, wait_ms=100))
        ends = {one.number: one.end for one in (await state(settings)).partitions}
        await consumer.commit({(TOPIC, number): end - number for number, end in ends.items()})
        group = await state(settings)
        assert {one.number: one.lag for one in group.partitions} == {0: 0, 1: 1, 2: 2}
        assert await asyncio.to_thread(told_by_kafka, settings) == {0: 0, 1: 1, 2: 2}
        assert (group.state, group.members, [one.owned for one in group.partitions]) == ("Stable", 1, [True] * 3)
    finally:
        await consumer.stop()
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "status", "--json"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    told = json.loads(done.stdout)
    assert (done.returncode, told["groups"][0]["state"], told["groups"][0]["lag"]) == (1, "Empty", 3), done.stderr
    assert any("3 records wait" in one and "encoder_worker --ring en" in one for one in told["troubles"])


async def test_a_position_that_only_transaction_markers_keep_from_the_end_has_no_lag(system):
    settings = system[1]
    topic, group = topics.embeddings("headrace", "en", "a"), "readers"
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker.bootstrap, transactional_id="test")
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"read", partition=0)
        await producer.send_and_wait(topic, b"not read", partition=1)
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"never valid", partition=0)
    await producer.abort_transaction()
    await producer.stop()
    consumer = GroupConsumer(settings.broker, topic, group)
    await consumer.start(Rebalances())
    try:
        async with asyncio.timeout(60):
            while not await consumer.take(10, wait_ms=100):
                pass
        await consumer.commit({(topic, 0): 1, (topic, 1): 0})
        (seen,) = await read_groups(settings.broker, {group: topic})
    finally:
        await consumer.stop()
    first, second, *_ = seen.partitions
    assert (first.committed, first.end, first.lag) == (1, 4, 0)  # marker, aborted record, its marker
    assert (second.committed, second.end, second.lag) == (0, 2, 2)


async def test_a_position_outside_of_its_log_is_told_on_either_side(system):
    settings = system[1]
    topic, group = topics.utterances("headrace", "en", "backfill"), topics.encoder_group("headrace", "en", "backfill")
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker.bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker.bootstrap)
    consumer = GroupConsumer(settings.broker, topic, group)
    await producer.start()
    for number in range(5):
        await producer.send_and_wait(topic, b"%d" % number, partition=0)
    await producer.stop()
    await consumer.start(Rebalances())
    try:
        async with asyncio.timeout(60):
            while not await consumer.take(10, wait_ms=100):
                pass
        await consumer.commit({(topic, 0): 1, (topic, 1): 9})
    finally:
        await consumer.stop()
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=3)})
    await admin.close()
    (seen,) = await read_groups(settings.broker, {group: topic})
    first, second, _ = seen.partitions
    assert (first.committed, first.start, first.end, first.lag) == (1, 3, 5, 2)
    assert (second.committed, second.end, second.lag) == (9, 0, 0)
    told = troubles(settings, Seen(0.0, groups=(seen,), heads={"en": 1}))
    assert [("were deleted" in one, "beyond the end" in one) for one in told] == [(True, False), (False, True)]
