"""The newest records of a topic, for who looks at a running system."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from topology.settings import Broker
from topology.stream.groups import asking, close
from topology.stream.kafka import fetch_wait_ms
from topology.stream.records import Record
from topology.stream.security import kafka_security


async def recent(broker: Broker, topic: str, since_ms: int, most: int) -> list[Record]:
    """Records of the topic's first partition since a time (ms of the epoch), at most the last `most` of them.

    Raises: Unavailable where the broker does not answer within `pacing.status_s`.
    """
    place = TopicPartition(topic, 0)
    async with asking(broker):
        consumer = AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap, enable_auto_commit=False, isolation_level="read_committed",
            fetch_max_wait_ms=fetch_wait_ms(broker), **kafka_security(broker),
        )
        try:
            await consumer.start()
            start = (await consumer.beginning_offsets([place]))[place]
            end = (await consumer.end_offsets([place]))[place]
            consumer.assign([place])
            consumer.seek(place, max(start, end - most))
            found = []
            while await consumer.position(place) < end:
                for one in (await consumer.getmany(timeout_ms=100)).get(place, ()):
                    if one.timestamp >= since_ms:
                        found.append(Record(topic, 0, one.offset, one.key, one.value, tuple(one.headers)))
                await asyncio.sleep(0)
            return found
        finally:
            await close(consumer.stop())
