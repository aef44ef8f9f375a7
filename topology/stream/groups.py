"""Consumer groups as an operator sees them: who is in each, and how far it has read every partition of its topic."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, for_code

from topology.errors import Unavailable
from topology.pacing import PACING
from topology.settings import Broker
from topology.stream.kafka import fetch_wait_ms
from topology.stream.security import kafka_security
from topology.stream.sign_on import sign_on_or_wait

CLOSING_S = 1.0


@dataclass(frozen=True)
class PartitionState:
    """How far a group has read one partition.

    `committed`: None where it has committed nothing yet. `start`, `end`: of the log. `read`: nothing but transaction
    markers lies between the commit and the end. `owned`: a member of the group reads it; None where the broker does not
    tell (the embedded one).
    """

    number: int
    committed: int | None
    start: int
    end: int
    read: bool = False
    owned: bool | None = None

    @property
    def lag(self) -> int:
        """Records that wait to be read."""
        return 0 if self.read else max(0, self.end - max(self.committed or 0, self.start))


@dataclass(frozen=True)
class GroupState:
    """A consumer group on its topic. `state`: Kafka's word (Stable, Empty, PreparingRebalance, …)."""

    name: str
    topic: str
    state: str
    members: int
    partitions: tuple[PartitionState, ...]

    @property
    def lag(self) -> int:
        """Records of all partitions that wait to be read."""
        return sum(one.lag for one in self.partitions)


async def read_groups(broker: Broker, groups: Mapping[str, str]) -> list[GroupState]:
    """The state of each group of `groups` (group → its topic; where there is no such topic it has no partitions).

    Raises: Unavailable where the broker does not answer within `pacing.status_s`.
    """
    async with asking(broker):
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap, **kafka_security(broker))
        consumer = AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap, enable_auto_commit=False, **kafka_security(broker)
        )
        try:
            await admin.start()
            await consumer.start()
            there = {t["topic"]: sorted(p["partition"] for p in t["partitions"]) for t in await admin.describe_topics()}
            places = {name: [TopicPartition(topic, n) for n in there.get(topic, ())] for name, topic in groups.items()}
            members = {name: await _patiently(_members, admin, name) for name in groups}
            # Commits before ends: in between records come, and a commit never lies beyond an end that was read later.
            commits = {name: await _patiently(_commits, admin, name, places[name]) for name in groups}
            logs = await _logs(consumer, sorted({place for some in places.values() for place in some}))
        finally:
            await close(admin.close(), consumer.stop())
        found = [_state(name, groups[name], places[name], members[name], commits[name], logs) for name in groups]
        read = await _past_markers(broker, found)
    return [_marked(group, read) for group in found]


@contextlib.asynccontextmanager
async def asking(broker: Broker) -> AsyncIterator[None]:
    """What the broker does not answer within `pacing.status_s`, or refuses, is raised as Unavailable; as
    Misconfigured where this process is not let in."""
    try:
        async with asyncio.timeout(PACING.status_s):
            yield
    except TimeoutError as error:
        raise Unavailable(f"the broker at {broker.bootstrap} did not answer in {PACING.status_s:g} s") from error
    except (KafkaError, OSError) as error:
        why = await sign_on_or_wait(broker) or error
        raise Unavailable(f"the broker at {broker.bootstrap} does not answer: {why}") from error


async def close(*closing: Awaitable[object]) -> None:
    """Close clients in whatever state they are: what they were asked is known, or its error is on its way."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSING_S):
            await asyncio.gather(*closing, return_exceptions=True)


async def _patiently(ask: Callable[..., Awaitable[Any]], *given: Any) -> Any:
    """`ask` until the coordinator is found, which a fresh broker needs a moment for; `asking` bounds it."""
    while True:
        try:
            return await ask(*given)
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(0.1)


async def _members(admin: AIOKafkaAdminClient, name: str) -> tuple[str, int, set[TopicPartition] | None]:
    """(state, how many members, the partitions that they read; None where that is not told)."""
    (answer,) = await admin.describe_consumer_groups([name])
    group = answer.to_object()["groups"][0]
    if group["error_code"]:
        raise for_code(group["error_code"])(name)
    assigned = [m["member_assignment"] for m in group["members"] if m["member_assignment"]]
    owned = {place for one in assigned for place in ConsumerProtocolMemberAssignment.decode(one).partitions()}
    return group["state"], len(group["members"]), owned if assigned or not group["members"] else None


async def _commits(admin: AIOKafkaAdminClient, name: str, places: Sequence[TopicPartition]) -> dict[Any, int]:
    """Committed offsets. Partitions are named: the embedded broker answers for a whole group in an unreadable form."""
    if not places:
        return {}
    found = await admin.list_consumer_group_offsets(name, partitions=list(places))
    return {place: one.offset for place, one in found.items() if one.offset >= 0}


async def _logs(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> dict[Any, tuple[int, int]]:
    """(start, end) of each log; the end is the high watermark."""
    if not places:
        return {}
    starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    return {place: (starts[place], ends[place]) for place in places}


def _state(
    name: str, topic: str, places: Sequence[TopicPartition], told: tuple[str, int, set[TopicPartition] | None],
    commits: dict[Any, int], logs: dict[Any, tuple[int, int]],
) -> GroupState:
    state, members, owned = told
    return GroupState(name, topic, state, members, tuple(
        PartitionState(
            place.partition, commits.get(place), *logs[place], owned=None if owned is None else place in owned
        ) for place in places
    ))


async def _past_markers(broker: Broker, groups: Sequence[GroupState]) -> set[tuple[str, int]]:
    """(topic, partition) of what is behind by nothing but transaction markers and aborted records.

    They count in offsets and are never handed out (KEDA's issue 5675), so they are told apart by reading on from there.
    """
    behind = {TopicPartition(g.topic, p.number): (max(p.committed or 0, p.start), p.end)
              for g in groups for p in g.partitions if p.lag}
    if not behind:
        return set()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, enable_auto_commit=False, isolation_level="read_committed",
        **kafka_security(broker),
        fetch_max_wait_ms=fetch_wait_ms(broker), max_partition_fetch_bytes=1,  # a broker sends one batch at least
    )
    try:
        await consumer.start()
        consumer.assign(list(behind))
        for place, (position, _) in behind.items():
            consumer.seek(place, position)
        return {(place.topic, place.partition) for place in await _read_on(consumer, behind)}
    finally:
        await close(consumer.stop())


async def _read_on(consumer: AIOKafkaConsumer, behind: dict[Any, tuple[int, int]]) -> set[TopicPartition]:
    """Which of `behind` (place → position, end) come to their end without a record, within `pacing.status_read_s`."""
    end_s = asyncio.get_running_loop().time() + PACING.status_read_s
    left, read = dict(behind), set()
    while left and asyncio.get_running_loop().time() < end_s:
        for place in await consumer.getmany(timeout_ms=50, max_records=len(left)):
            left.pop(place, None)
        for place in [p for p, (_, end) in left.items() if await consumer.position(p) >= end]:
            del left[place]
            read.add(place)
    return read


def _marked(group: GroupState, read: set[tuple[str, int]]) -> GroupState:
    return replace(group, partitions=tuple(
        replace(one, read=(group.topic, one.number) in read) for one in group.partitions
    ))
