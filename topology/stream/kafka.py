"""The door to Kafka: consumers and producers set up for delivery that loses nothing."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaConnectionError, KafkaError
from aiokafka.partitioner import murmur2

from topology.errors import Unavailable
from topology.settings import Broker
from topology.stream.records import Output, Record
from topology.stream.security import kafka_security
from topology.stream.sign_on import check_token, sign_on_or_wait

log = logging.getLogger(__name__)

CONNECT_S = 30.0
MAX_BATCH_BYTES = 1 << 20
FETCH_BYTES = 8 << 20
TOGETHER = 4  # records without a key that a call leaves on one partition; more are spread

Partition = tuple[str, int]


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """What a group consumer calls around a rebalance. aiokafka rebalances eagerly: all goes, then all comes."""

    async def revoked(self) -> None:
        """Every partition is about to go; returns when its work is committed or given up."""

    async def assigned(self, count: int) -> None:
        """`count` partitions came, none of them read yet."""

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """aiokafka's name for it."""
        await self.revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """aiokafka's name for it."""
        await self.assigned(len(assigned))


class Producer:
    """Writes whole batches: acks=all, idempotent where the broker can, one await for the lot."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._producer = AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap,
            **kafka_security(broker),
            acks="all",
            enable_idempotence=broker.idempotence and broker.kind != "embedded",
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_BATCH_BYTES * 4,
            linger_ms=0,
        )
        self._turn = random.randrange(1 << 16)

    async def start(self) -> None:
        """Connect. Raises: Unavailable after 30 s."""
        await _patiently(self._producer.start, "producer", self._broker)

    async def send(self, outputs: Sequence[Output]) -> None:
        """Write every output and return when all are acknowledged. Raises: Unavailable."""
        if not outputs:
            return
        try:
            placed: dict[TopicPartition, list[Output]] = {}
            for topic in {o.topic for o in outputs}:
                partitions = sorted(await self._producer.partitions_for(topic))
                available = sorted(self._producer.client.cluster.available_partitions_for_topic(topic) or partitions)
                for partition, some in self._place([o for o in outputs if o.topic == topic], partitions, available):
                    placed.setdefault(TopicPartition(topic, partition), []).extend(some)
            await asyncio.gather(*[self._write(place, some) for place, some in placed.items()])
        except KafkaError as error:
            raise Unavailable(f"the broker took no write: {type(error).__name__}: {error}") from error

    async def _write(self, place: TopicPartition, outputs: Sequence[Output]) -> None:
        """Whole batches for a partition: sent by itself, a record costs a sixth of a request (metadata, futures)."""
        batches = [self._producer.create_batch()]
        for o in outputs:
            if batches[-1].append(timestamp=None, key=o.key, value=o.value, headers=list(o.headers)) is None:
                batches.append(self._producer.create_batch())  # that one is full; an empty one takes any record
                batches[-1].append(timestamp=None, key=o.key, value=o.value, headers=list(o.headers))
        for batch in batches:
            await (await self._producer.send_batch(batch, place.topic, partition=place.partition))

    def _place(
        self, outputs: Sequence[Output], partitions: list[int], available: list[int]
    ) -> list[tuple[int, list[Output]]]:
        """Keyed records go where their key says, as in Java's client. The others stay together as long as they are few
        (KIP-480); more than TOGETHER are shared out evenly, so that no consumer has a burst to itself."""
        placed = [(partitions[_hash(o.key) % len(partitions)], [o]) for o in outputs if o.key is not None]
        free = [o for o in outputs if o.key is None]
        if free and not available:
            raise Unavailable(f"the broker knows no partition of {free[0].topic}")
        parts = min(-(-len(free) // TOGETHER), len(available))
        for part in range(parts):
            some = free[len(free) * part // parts : len(free) * (part + 1) // parts]
            placed.append((available[(self._turn + part) % len(available)], some))
        self._turn += parts if parts < len(available) else 1  # the next call begins elsewhere
        return placed

    async def send_tombstone(self, topic: str, key: bytes) -> None:
        """Write a deletion marker for `key` to a compacted topic. Raises: Unavailable."""
        try:
            await self._producer.send_and_wait(topic, value=None, key=key)
        except KafkaError as error:
            raise Unavailable(f"the broker took no write: {type(error).__name__}: {error}") from error

    async def stop(self) -> None:
        """Flush and disconnect."""
        await self._producer.stop()


class GroupConsumer:
    """A member of a consumer group that commits only what it is told to."""

    def __init__(self, broker: Broker, topic: str, group: str) -> None:
        self._broker, self._topic = broker, topic
        self.rebalance_s = rebalance_ms(broker) / 1_000
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap,
            **kafka_security(broker),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=fetch_wait_ms(broker),
            max_partition_fetch_bytes=FETCH_BYTES,
            session_timeout_ms=broker.session_timeout_ms,
            heartbeat_interval_ms=max(500, broker.session_timeout_ms // 10),
            rebalance_timeout_ms=rebalance_ms(broker),
        )

    async def start(self, rebalances: Rebalances) -> None:
        """Connect and join the group. Raises: Unavailable after 30 s."""
        self._consumer.subscribe([self._topic], listener=rebalances)
        await _patiently(self._consumer.start, "consumer", self._broker)

    async def take(self, max_records: int, wait_ms: int) -> list[Record]:
        """Whatever has been fetched, at most `max_records`; after `wait_ms` perhaps nothing."""
        found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=max_records)
        return [_record(message) for messages in found.values() for message in messages]

    async def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Commit; False where the group has moved on meanwhile (its new owners repeat the work)."""
        try:
            await self._consumer.commit({TopicPartition(*p): offset for p, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            log.warning("commit refused, the group has moved on: %s", error)
            return False
        except KafkaError as error:
            log.warning("commit failed, it will be tried again: %s: %s", type(error).__name__, error)
            return False
        return True

    async def stop(self) -> None:
        """Leave the group and disconnect."""
        await self._consumer.stop()


class TopicReader:
    """Reads one topic whole, without a group: first what is there, then what comes."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker, self._topic = broker, topic
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap,
            **kafka_security(broker),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=fetch_wait_ms(broker),
        )

    async def start(self) -> None:
        """Connect and take every partition from its beginning. Raises: Unavailable after 30 s."""
        await _patiently(self._consumer.start, "consumer", self._broker)
        try:
            partitions = await self._consumer._client.fetch_all_metadata()
            numbers = sorted(partitions.partitions_for_topic(self._topic) or ())
            if not numbers:
                raise Unavailable(f"there is no topic {self._topic!r}: create it with `headrace topics apply`")
            self._consumer.assign([TopicPartition(self._topic, n) for n in numbers])
            await self._consumer.seek_to_beginning()
        except BaseException:
            await self._consumer.stop()
            raise

    async def read_to_end(self) -> list[Record]:
        """Everything up to the end as it is now."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        found: list[Record] = []
        while [p for p, end in ends.items() if await self._consumer.position(p) < end]:
            found += await self.take(wait_ms=500)
        return found

    async def take(self, wait_ms: int) -> list[Record]:
        """What came meanwhile; after `wait_ms` perhaps nothing."""
        found = await self._consumer.getmany(timeout_ms=wait_ms)
        return [_record(message) for messages in found.values() for message in messages]

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()


@functools.lru_cache(65_536)  # murmur2 in Python takes 2 to 5 µs for a tenant's name
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def rebalance_ms(broker: Broker) -> int:
    """How long a rebalance may take. The embedded broker makes every first join wait all of it."""
    return min(broker.rebalance_timeout_ms, 2_000) if broker.kind == "embedded" else broker.rebalance_timeout_ms


def fetch_wait_ms(broker: Broker) -> int:
    """How long a fetch may wait for the next record. It wakes Apache Kafka's; the embedded broker sleeps through it."""
    return min(broker.fetch_max_wait_ms, 20) if broker.kind == "embedded" else broker.fetch_max_wait_ms


def _record(message: Any) -> Record:
    return Record(
        message.topic, message.partition, message.offset, message.key, message.value, tuple(message.headers)
    )


async def _patiently(start: Any, what: str, broker: Broker) -> None:
    """Call `start` until it connects: a broker that is starting refuses for a moment. Raises: Misconfigured where this
    process is not let in."""
    deadline = asyncio.get_running_loop().time() + CONNECT_S
    while True:
        try:
            await check_token(broker)
            return await start()  # type: ignore[no-any-return]
        except KafkaConnectionError as error:
            why = await sign_on_or_wait(broker) or error
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"no {what} could connect to the broker within {CONNECT_S:.0f} s: {why}") from error
            await asyncio.sleep(0.2)
