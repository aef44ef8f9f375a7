"""The door to Kafka for reading: consumers that lose nothing silently and that no record stops."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.settings import Broker
from topology.stream import codes, fetched
from topology.stream.answers import answer_within
from topology.stream.connection import ended, patiently, told
from topology.stream.failures import Fate, fate_of
from topology.stream.groups import position_of
from topology.stream.producer import Producer
from topology.stream.records import Record
from topology.stream.security import kafka_security
from topology.stream.zones import ZoneBytes

__all__ = [
    "Consumer", "GroupConsumer", "Partition", "Producer", "Rebalances", "TopicReader", "fetch_wait_ms", "rebalance_ms",
]
log = logging.getLogger(__name__)


Partition = tuple[str, int]
codes.register()
fetched.install()


class Rebalances:
    """What a group consumer calls around a rebalance. aiokafka rebalances eagerly: all goes, then all comes."""

    async def revoked(self) -> None:
        """Every partition is about to go; returns when its work is committed or given up."""

    async def assigned(self, count: int) -> None:
        """`count` partitions came, none of them read yet."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, rebalances: Rebalances, on_joined: Callable[[], None]) -> None:
        self._rebalances, self._on_joined = rebalances, on_joined

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._rebalances.revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._on_joined()
        await self._rebalances.assigned(len(assigned))


class Consumer:
    """What all kinds of consumers share: settings, and what an error while reading means."""

    def __init__(self, broker: Broker, topic: str, group: str | None, offset_reset: str, **more: Any) -> None:
        self._broker, self._topic = broker, topic
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap,
            **kafka_security(broker),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset=offset_reset,
            isolation_level="read_committed",
            fetch_max_wait_ms=fetch_wait_ms(broker),
            max_partition_fetch_bytes=PACING.fetch_bytes,
            metadata_max_age_ms=int(PACING.metadata_max_age_s * 1_000),
            client_rack=broker.rack or None,
            **more,
        )
        answer_within(self._consumer._client, rebalance_ms(broker) / 1_000, fetch_wait_ms(broker) / 1_000)
        self.zones = ZoneBytes(self._consumer, broker)
        self._heard_ms, self._looked_s, self._quiet_s = 0, 0.0, 0.0
        self._counts: tuple[int, ...] = ()
        self.records_lost = 0  # deleted by the broker before they were read

    async def _taken(self, wait_ms: int, max_records: int | None = None) -> list[Record]:
        self._listen_for_news()
        try:
            async with asyncio.timeout(2 * wait_ms / 1e3):
                found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=max_records)
        except TimeoutError:  # between two assignments it waits as long as that takes
            return []
        except NoOffsetForPartitionError as error:  # nothing was ever committed: from its beginning
            await self._at_beginning(error.args[0])
        except OffsetOutOfRangeError as error:
            for partition, offset in error.args[0].items():
                await self._jumped(partition, offset)
        except KafkaError as error:
            # Between joining and syncing; `GroupConsumer` counts how often this member was fenced.
            if fate_of(error) is not Fate.MOMENT and "FencedInstanceId" not in str(error):
                raise told(error, "reading from the broker failed") from error
            log.warning("reading goes on after %s: %s", type(error).__name__, error)
        else:
            return [fetched.record_of(message) for messages in found.values() for message in messages]
        return []

    async def _at_beginning(self, partition: TopicPartition) -> None:
        try:
            await self._consumer.seek_to_beginning(partition)
        except (IllegalStateError, KafkaError) as error:  # given up meanwhile, or the next take tries again
            log.info("%s is not at its beginning yet: %s", partition, error)

    async def _jumped(self, partition: TopicPartition, offset: int) -> None:
        """A broker has no record at `offset`: retention took it, the topic was made anew, or a replica is behind."""
        try:
            start = (await self._consumer.beginning_offsets([partition]))[partition]
            end = (await self._consumer.end_offsets([partition]))[partition]  # both are the leader's
            self._consumer.seek(partition, position_of(offset, start, end))
        except (IllegalStateError, KafkaError) as error:
            log.info("%s has no position yet: %s", partition, error)
            return
        where = f"{partition.topic}[{partition.partition}]"
        if start > offset:
            self.records_lost += start - offset
            log.warning("%s: records %d to %d were deleted before they were read", where, offset, start - 1)
        elif offset > end:
            log.warning("%s: no offset %d, the topic was made anew; it is read from %d", where, offset, start)

    def _listen_for_news(self) -> None:
        """Raises: Unavailable, where the cluster has told nothing for `PACING.away_s`.

        aiokafka asks only brokers that it knows; a process that starts anew asks the bootstrap addresses.
        """
        cluster, now = self._consumer._client.cluster, time.monotonic()
        heard = cluster._last_successful_refresh_ms != self._heard_ms
        # A second at most for each look: who computed has not listened. A process that was frozen for longer than an
        # answer may take finds its requests failed when it goes on, this one too; the next comes 10 s later.
        still_s = now - self._looked_s
        self._quiet_s = 0.0 if heard or still_s > PACING.answer_s else self._quiet_s + min(1.0, still_s)
        self._heard_ms, self._looked_s = cluster._last_successful_refresh_ms, now
        if self._quiet_s > PACING.away_s:
            raise Unavailable(f"no broker of the Kafka cluster has answered for {PACING.away_s:.0f} s")
        if heard:
            self._count_partitions(len(cluster.partitions_for_topic(self._topic) or ()))

    def _count_partitions(self, count: int) -> None:
        before, self._counts = self._counts, (*self._counts, count)[-3:]
        if len(before) == 3 and before[0] != before[1] == before[2] == count:  # one broker alone may be behind
            self._recounted(before[0], count)

    def _recounted(self, before: int, count: int) -> None:
        """Once where the topic has another number of partitions than it had: deleted, made anew, or grown."""
        log.warning("topic %s has %d partitions now, it had %d", self._topic, count, before)

    async def stop(self) -> None:
        """Leave the group if there is one, and disconnect, within `PACING.close_s`; never raises."""
        await ended(self._consumer.stop, "consumer")


class GroupConsumer(Consumer):
    """A member of a consumer group that commits only what it is told to.

    `instance`: this member's name, the same after a restart (static membership, KIP-345). Then a restart within the
    session timeout moves no partition, and nobody else stands still.
    """

    def __init__(self, broker: Broker, topic: str, group: str, instance: str = "") -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,249}", instance):
            raise Misconfigured(f"instance name {instance!r}: at most 249 letters, digits, dots, dashes, underscores")
        self._instance = "" if broker.kind == "embedded" else instance
        self._names: list[tuple[str, float]] = []  # that the group has given this member, and when
        self._most_names = random.randint(3, 8)  # of two processes under one name, not both are to end
        self._session_s = broker.session_timeout_ms / 1_000
        self.rebalance_s = rebalance_ms(broker) / 1_000
        super().__init__(
            broker, topic, group, "none",
            session_timeout_ms=broker.session_timeout_ms,
            heartbeat_interval_ms=max(500, broker.session_timeout_ms // 10),
            rebalance_timeout_ms=rebalance_ms(broker),
            group_instance_id=self._instance or None,
        )

    async def start(self, rebalances: Rebalances) -> None:
        """Connect and join the group. Raises: Unavailable after 30 s."""
        self._consumer.subscribe([self._topic], listener=_Listener(rebalances, self._note_name))
        await patiently(self._consumer.start, "consumer", self._broker)

    async def take(self, max_records: int, wait_ms: int) -> list[Record]:
        """Whatever has been fetched, at most `max_records`; after `wait_ms` perhaps nothing.

        A record that cannot be read comes with `unreadable`. Raises: Unavailable, Misconfigured.
        """
        if len(self._names) > self._most_names:
            raise Misconfigured(
                f"another process reads {self._topic} as instance {self._instance!r} too: give each its own name "
                "(--instance, $HEADRACE_INSTANCE)"
            )
        return await self._taken(wait_ms, max_records)

    def _note_name(self) -> None:
        """Another process under the same instance name: the broker fences this one, aiokafka joins again, which fences
        the other, and so on at each heartbeat, ten times within a session. Else a member has a new name once a session
        at most."""
        name, now = self._consumer._coordinator.member_id, time.monotonic()
        kept = [(old, s) for old, s in self._names if old != name and now - s < self._session_s]
        self._names = [*kept, (name, now)] if self._instance else []

    def _recounted(self, before: int, count: int) -> None:
        # A member that came back under its name has its partitions without a share-out. aiokafka then does not know
        # what its group reads, and would never ask for partitions that are new.
        super()._recounted(before, count)
        self._consumer._coordinator.request_rejoin()

    async def commit(self, offsets: Mapping[Partition, int], note: str = "") -> bool:
        """Commit, with a note; False where the group has moved on meanwhile (its new owners repeat the work)."""
        try:
            await self._consumer.commit({TopicPartition(*p): (offset, note) for p, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            log.warning("commit refused, the group has moved on: %s", error)
            return False
        except KafkaError as error:
            log.warning("commit failed, it will be tried again: %s: %s", type(error).__name__, error)
            return False
        return True


class TopicReader(Consumer):
    """Reads one topic whole, without a group: first what is there, then what comes."""

    def __init__(self, broker: Broker, topic: str) -> None:
        super().__init__(broker, topic, None, "earliest")

    async def start(self) -> None:
        """Connect and take every partition from its beginning. Raises: Unavailable after 30 s."""
        await patiently(self._consumer.start, "consumer", self._broker)
        try:
            partitions = await self._consumer._client.fetch_all_metadata()
            numbers = sorted(partitions.partitions_for_topic(self._topic) or ())
            if not numbers:
                raise Unavailable(f"there is no topic {self._topic!r}: create it with `headrace topics apply`")
            self._consumer.assign([TopicPartition(self._topic, n) for n in numbers])
            await self._consumer.seek_to_beginning()
        except KafkaError as error:
            await self.stop()
            raise told(error, "reading from the broker failed") from error
        except BaseException:
            await self.stop()
            raise

    async def read_to_end(self) -> list[Record]:
        """As `batches_to_end`, all of it in memory."""
        return [record async for some in self.batches_to_end() for record in some]

    async def batches_to_end(self) -> AsyncGenerator[list[Record], None]:
        """Everything up to the end as it is now, judged by position: markers of transactions are no records.

        Raises: Unavailable, Misconfigured.
        """
        try:
            async with asyncio.timeout(PACING.away_s):
                ends = await self._consumer.end_offsets(self._consumer.assignment())
            while await self._is_before(ends):
                yield await self.take(wait_ms=500)
        except TimeoutError as error:
            raise Unavailable(f"the broker told no offsets of {self._topic!r} within {PACING.away_s:.0f} s") from error
        except KafkaError as error:
            raise told(error, "reading from the broker failed") from error

    async def _is_before(self, ends: Mapping[TopicPartition, int]) -> bool:
        async with asyncio.timeout(PACING.away_s):  # aiokafka waits for a position as long as it takes
            return any([await self._consumer.position(p) < end for p, end in ends.items()])

    def _recounted(self, before: int, count: int) -> None:
        raise Unavailable(f"topic {self._topic!r} has {count} partitions now, it had {before}: it is read from anew")

    async def take(self, wait_ms: int, most: int | None = None) -> list[Record]:
        """What came meanwhile; after `wait_ms` perhaps nothing. Raises: Unavailable, Misconfigured."""
        return await self._taken(wait_ms, most)


def rebalance_ms(broker: Broker) -> int:
    """How long a rebalance may take. The embedded broker makes every first join wait all of it."""
    return min(broker.rebalance_timeout_ms, 2_000) if broker.kind == "embedded" else broker.rebalance_timeout_ms


def fetch_wait_ms(broker: Broker) -> int:
    """How long a fetch may wait for the next record. It wakes Apache Kafka's; the embedded broker sleeps through it."""
    return min(broker.fetch_max_wait_ms, 20) if broker.kind == "embedded" else broker.fetch_max_wait_ms
