"""Insights on Apache Kafka through faults of minutes: processes that join, leave, die and freeze, topics that are
made anew, changelogs that lose their beginning."""

import asyncio
import signal
import time
from collections import Counter

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

pytest.importorskip("faust")
pytest.importorskip("pyarrow")

from infra.stack import kafka
from infra.stack.supervise import Supervisor
from tests.counting import CELLS, SECONDS, counted_by
from topology.stream.kafka import TopicReader

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.long,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    home = tmp_path_factory.mktemp("kafka")
    supervisor = Supervisor(home)
    try:
        yield kafka.start_brokers(supervisor, home, 1)
    finally:
        supervisor.stop()


@pytest.fixture
def system(broker, tmp_path, request):
    with counted_by(broker, tmp_path, request.node.name) as it:
        yield it


async def test_a_second_process_that_joins_and_leaves_or_is_killed_changes_no_count(system):
    system.start()
    await system.send(1_500)
    await system.until_some_are_counted(500)
    second = system.start()
    await system.send(1_500)
    await system.until_ready(second)
    await system.counts_are_right()
    second.send_signal(signal.SIGTERM)
    await system.send(1_500)
    assert system.ended(second)[0] == 0
    third = system.start()
    await system.until_ready(third)
    await system.send(1_500)
    await system.until_some_are_counted(5_000)
    third.kill()
    await system.send(1_500)
    await system.counts_are_right()


async def test_a_process_that_was_frozen_while_another_counted_on_changes_no_count(system):
    frozen = system.start()
    await system.until_ready(frozen)
    await system.send(1_000)
    await system.until_some_are_counted(300)
    frozen.send_signal(signal.SIGSTOP)
    await system.send(1_000)
    other = system.start()
    await system.until_some_are_counted(2_000)
    frozen.send_signal(signal.SIGCONT)
    await system.send(1_000)
    await system.counts_are_right()
    other.kill()
    frozen.kill()
    system.start()
    await system.send(100)
    await system.counts_are_right()


async def test_a_topic_made_anew_is_counted_beside_the_one_before(system):
    process = system.start()
    await system.send(1_000)
    await system.counts_are_right()
    before = await system.counted("day")
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.broker.bootstrap)
    await admin.start()
    await admin.delete_topics([system.topic(cell) for cell in CELLS])
    await admin.close()
    await system.until_the_topics_are_made_anew()
    await system.send(1_500)
    now, end = await system.on_topics("day"), time.monotonic() + SECONDS
    wanted = {key: before.get(key, Counter()) + now.get(key, Counter()) for key in {*before, *now}}
    while (found := await system.counted("day")) != wanted:
        assert time.monotonic() < end, (found, wanted, system.logs())
        if process.poll() is not None:  # it saw the new topic before its group formed anew
            assert process.returncode == 75, system.logs()
            process = system.start()
        await asyncio.sleep(0.2)


async def test_windows_lost_with_the_changelogs_beginning_are_counted_anew(system):
    process = system.start()
    await system.send(2_000)
    await system.counts_are_right()
    process.send_signal(signal.SIGTERM)
    assert system.ended(process)[0] == 0
    await delete_half(system)
    assert await system.counted("day") != await system.on_topics("day")
    process = system.start()
    await system.send(1_000)
    await system.counts_are_right()
    process.kill()
    process.wait()
    system.start()
    await system.send(100)
    await system.counts_are_right()


async def delete_half(system):
    """Of every changelog: its beginning; of the second cell's everything."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.broker.bootstrap)
    await admin.start()
    try:
        for cell in CELLS:  # Kafka deletes no records of a topic that is compacted alone
            policy = {"cleanup.policy": "compact,delete"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, system.changelog(cell), policy)])
            reader = TopicReader(system.settings.broker, system.changelog(cell))
            await reader.start()
            ends = Counter()
            for record in await reader.read_to_end():
                ends[record.partition] = max(ends[record.partition], record.offset + 1)
            await reader.stop()
            await admin.delete_records({
                TopicPartition(system.changelog(cell), number): RecordsToDelete(end if cell == "b" else end * 2 // 3)
                for number, end in ends.items()
            })
    finally:
        await admin.close()
