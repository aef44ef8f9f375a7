"""Three brokers that die and come back one after another: clients find those that are there, without a restart."""

import asyncio
import contextlib
import time

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from infra.stack import kafka
from infra.stack.supervise import Supervisor
from topology.errors import Unavailable
from topology.pacing import PACING
from topology.settings import Broker
from topology.stream.kafka import GroupConsumer, Producer, Rebalances
from topology.stream.records import Output

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]


@pytest.fixture
def news_each_second():
    before = PACING.metadata_max_age_s
    object.__setattr__(PACING, "metadata_max_age_s", 1.0)
    yield
    object.__setattr__(PACING, "metadata_max_age_s", before)


async def in_sync(bootstrap, topic, wanted):
    """Until every partition has `wanted` replicas in sync."""
    async with asyncio.timeout(120):
        while True:
            admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            with contextlib.suppress(KafkaError):  # a broker that has just come back answers late
                await admin.start()
                described = await admin.describe_topics([topic])
                if all(len(p["isr"]) == wanted for p in described[0]["partitions"]):
                    return await admin.close()
            await admin.close()
            await asyncio.sleep(0.2)


async def passes(producer, consumer, topic):
    """Whether a record written now comes out."""
    value = b"%d" % time.time_ns()
    async with asyncio.timeout(90):
        while True:
            try:
                assert await producer.send([Output(topic, None, value)]) == []
                break
            except Unavailable:
                continue
        while value not in [r.value for r in await consumer.take(100, wait_ms=200)]:
            pass


async def test_brokers_that_die_and_come_back_in_turn_make_no_total_outage(tmp_path, news_each_second):
    supervisor = Supervisor(tmp_path)
    try:
        bootstrap = await asyncio.to_thread(kafka.start_brokers, supervisor, tmp_path, 3)
        broker = Broker(kind="external", bootstrap=bootstrap, session_timeout_ms=6_000)
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("t", 3, 3, topic_configs={"min.insync.replicas": "1"})])
        await admin.close()
        producer, consumer = Producer(broker), GroupConsumer(broker, "t", "g")
        await producer.start()
        await consumer.start(Rebalances())
        try:
            await passes(producer, consumer, "t")
            for number in (0, 1):
                supervisor.children[number].process.kill()
                supervisor.children[number].process.wait()
            supervisor.restart_ended()
            await in_sync(bootstrap, "t", 3)
            await passes(producer, consumer, "t")
            supervisor.children[2].process.kill()
            await passes(producer, consumer, "t")
        finally:
            await consumer.stop()
            await producer.stop()
    finally:
        await asyncio.to_thread(supervisor.stop)
