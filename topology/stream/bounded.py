"""The door to Kafka for replays: one partition after the other, from an offset to an end, without a group's members.

Progress is committed under the job's group, with the counts so far in the commit's own metadata: both or neither are
there. Which process reads which partition is decided beforehand, so nothing is ever rebalanced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.settings import Broker
from topology.stream.connection import ended, patiently, told
from topology.stream.failures import Fate, fate_of
from topology.stream.groups import read_on
from topology.stream.kafka import Consumer, Partition
from topology.stream.records import Record
from topology.stream.security import kafka_security
from topology.stream.topic_ids import topic_id

log = logging.getLogger(__name__)

CLIENT_ID = "headrace-backfill"  # what a broker's quota for clients names


class RestLost(Misconfigured):
    """The rest of a partition or file cannot be read, whoever tries again."""

    code = "rest_lost"


class Replaced(RestLost):
    """The topic was deleted and made anew, or the file was written anew, since the job began: its offsets mean other
    records now."""

    code = "replaced"


@dataclass(frozen=True)
class When:
    """A bound: the earliest or the latest record there is now, a time, or offsets by partition."""

    latest: bool = False
    at_ms: int | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Bounds:
    """Offsets `start` to `end` (exclusive). `lost`: records asked for by offset that were deleted before."""

    start: int
    end: int
    lost: int = 0


@dataclass(frozen=True)
class Taken:
    """What was read. `position`: every offset below it was read, or is no record (a marker, a compacted hole, lost).
    `lost`: offsets (first, one past the last) that retention took before they were read."""

    records: Sequence[Record]
    position: int
    lost: tuple[tuple[int, int], ...] = ()


class BoundedReader(Consumer):
    """Reads partitions by `seek` and `take`, and keeps progress in the commits of `group`."""

    def __init__(self, broker: Broker, group: str | None) -> None:
        """`group`: None where nothing is committed."""
        super().__init__(broker, "", group, "none", client_id=CLIENT_ID)
        self._group = group
        self._place = TopicPartition("", 0)
        self._lost: list[tuple[int, int]] = []

    async def start(self) -> None:
        """Connect. Raises: Unavailable after 30 s, Misconfigured."""
        await patiently(self._consumer.start, "consumer", self._broker)

    async def topic_id(self, topic: str) -> str:
        """What changes where the topic is made anew; empty where the broker does not tell."""
        with _telling(f"the broker told no id of {topic!r}"):
            return await topic_id(self._consumer._client, topic)

    async def bounds(self, topic: str, start: When, end: When) -> dict[int, Bounds]:
        """The bounds of every partition of `topic` as they are now. A time later than the newest record is the end:
        nothing to do there, and never the first offset (as in Flink's bounded source). With offsets, partitions that
        are not named are left out.

        Raises: Misconfigured where there is no such topic or partition; Unavailable.
        """
        with _telling(f"the broker told no offsets of {topic!r}"):
            async with asyncio.timeout(PACING.away_s):
                cluster = await self._consumer._client.fetch_all_metadata()
                places = [TopicPartition(topic, n) for n in sorted(cluster.partitions_for_topic(topic) or ())]
                if not places:
                    raise Misconfigured(f"there is no topic {topic!r}: create it with `headrace topics apply`")
                numbers = {place.partition for place in places}
                if unknown := sorted({*start.offsets, *end.offsets} - numbers):
                    raise Misconfigured(f"{topic} has no partition {unknown[0]}; it has 0 to {max(numbers)}")
                firsts = await self._consumer.beginning_offsets(places)
                ends = await self._ends(places)
                starts_asked = await self._asked(start, places, firsts, ends)
                ends_asked = await self._asked(end, places, firsts, ends)
        found = {}
        for place in places:
            first, last = firsts[place], min(ends[place], ends_asked[place])
            asked = min(starts_asked[place], last)
            begin = max(asked, first)
            found[place.partition] = Bounds(begin, max(last, begin), max(0, min(first, last) - asked))
        named = set(start.offsets or end.offsets or numbers)
        return {number: bounds for number, bounds in found.items() if number in named}

    async def _ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Of committed records: an open transaction and what comes after it is not there yet."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(places)
        if self._broker.kind == "embedded":  # it tells the end of the last batch's first record
            ends, *_ = await read_on(self._consumer, ends)
        return ends

    async def _asked(
        self, when: When, places: Iterable[TopicPartition], firsts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        if when.at_ms is not None:
            found = await self._consumer.offsets_for_times(dict.fromkeys(places, when.at_ms))
            # The embedded broker gives offset 0 without a time where no record is that late.
            return {p: ends[p] if found.get(p) is None or found[p].timestamp < 0 else found[p].offset for p in places}
        if when.offsets:
            return {p: when.offsets.get(p.partition, ends[p]) for p in places}
        return dict(ends if when.latest else firsts)

    async def seek(self, topic: str, partition: int, position: int) -> None:
        """Read this partition next, from `position`. Raises: Unavailable, Misconfigured."""
        self._place, self._topic, self._lost = TopicPartition(topic, partition), topic, []
        with _telling(f"the broker told no coordinator of {self._group!r}"):
            async with asyncio.timeout(PACING.away_s):
                if self._group is not None:  # aiokafka looks it up beside, and fails where partitions come meanwhile
                    await self._consumer._coordinator.ensure_coordinator_known()
        self._consumer.assign([self._place])
        self._consumer.seek(self._place, position)

    async def take(self, most: int, wait_ms: int = 500) -> Taken:
        """What comes next, at most `most` records; after `wait_ms` perhaps none, though the position may have moved.

        Raises: Replaced, Unavailable, Misconfigured.
        """
        records = await self._taken(wait_ms, most)
        lost, self._lost = tuple(self._lost), []
        try:
            async with asyncio.timeout(PACING.away_s):  # aiokafka waits for a position as long as it takes
                return Taken(records, await self._consumer.position(self._place), lost)
        except TimeoutError as error:
            raise Unavailable(f"no position of {self._place} within {PACING.away_s:.0f} s") from error

    async def see_that_it_goes_on(self, position: int) -> None:
        """To be asked where nothing has come at `position` for a while. Raises: RestLost where the log ends there: it
        was longer, and a replica that lacked its tail became the leader; Unavailable, Misconfigured."""
        with _telling(f"the broker told no end of {self._place}"):
            async with asyncio.timeout(PACING.away_s):
                end = (await self._consumer.end_offsets([self._place]))[self._place]
        if end <= position:
            where = f"{self._place.topic}[{self._place.partition}]"
            raise RestLost(f"{where} ends at {end} now and was longer: the records from there on are gone")

    async def _jumped(self, partition: TopicPartition, offset: int) -> None:
        """A broker has no record at `offset`: retention took it, the topic was made anew, or a replica is behind."""
        try:
            start = (await self._consumer.beginning_offsets([partition]))[partition]
            if start <= offset <= (await self._consumer.end_offsets([partition]))[partition]:
                return  # the leader has it, and is asked next
            if start > offset:
                self._consumer.seek(partition, start)
        except (IllegalStateError, KafkaError) as error:
            log.info("%s has no position yet: %s", partition, error)
            return
        where = f"{partition.topic}[{partition.partition}]"
        if start <= offset:
            raise Replaced(f"{where} has no offset {offset} any more: the topic was made anew; start a new job")
        self._lost.append((offset, start))
        log.warning("%s: records %d to %d were deleted before they were read", where, offset, start - 1)

    async def commit(self, partition: Partition, offset: int, metadata: str) -> None:
        """Note that everything below `offset` is done, with what is told about it. Raises: Unavailable."""
        with _telling("the broker took no commit"):
            async with asyncio.timeout(PACING.send_s):
                while True:
                    try:
                        await self._consumer.commit({TopicPartition(*partition): (offset, metadata)})
                        return
                    except KafkaError as error:
                        if fate_of(error) is not Fate.MOMENT:
                            raise
                        await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Disconnect, within `PACING.close_s`; never raises."""
        await ended(self._consumer.stop, "consumer")


class Commits:
    """Reads how far a group is, without being of it."""

    def __init__(self, broker: Broker, group: str) -> None:
        self._broker, self._group = broker, group
        self._admin: AIOKafkaAdminClient | None = None

    async def read(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, str]]:
        """Partition → (offset, metadata), where there is a commit. Raises: Unavailable, Misconfigured."""
        places = [TopicPartition(*one) for one in partitions]
        if not places:
            return {}
        with _telling("the broker told no commits"):
            if self._admin is None:
                admin = AIOKafkaAdminClient(bootstrap_servers=self._broker.bootstrap, **kafka_security(self._broker))
                await patiently(admin.start, "admin client", self._broker)
                self._admin = admin
            async with asyncio.timeout(PACING.away_s):
                found = await self._told(self._admin, places)
        return {(p.topic, p.partition): (one.offset, one.metadata or "") for p, one in found.items() if one.offset >= 0}

    async def _told(
        self, admin: AIOKafkaAdminClient, places: list[TopicPartition]
    ) -> Mapping[TopicPartition, OffsetAndMetadata]:
        while True:
            try:
                found: Mapping[TopicPartition, OffsetAndMetadata] = (
                    await admin.list_consumer_group_offsets(self._group, partitions=places)
                )
                return found
            except KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(PACING.redis_pause_s)

    async def stop(self) -> None:
        """Disconnect, within `PACING.close_s`; never raises."""
        if self._admin is not None:
            await ended(self._admin.close, "admin client")


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    """Turns errors of the broker into ours."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"{what} within {PACING.away_s:.0f} s") from error
    except KafkaError as error:
        raise told(error, what) from error
