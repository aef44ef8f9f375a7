"""Consumer groups as an operator sees them: who is in each, and how far it has read every partition of its topic."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code

from topology.errors import Unavailable
from topology.pacing import PACING
from topology.settings import Broker
from topology.stream import fetched
from topology.stream.connection import told
from topology.stream.security import kafka_security
from topology.stream.sign_on import sign_on_or_wait
from topology.stream.topic_ids import topic_id

FETCH_BYTES = 1 << 16  # a fetch asks whether there is a record, not for all of them
fetched.install()  # a record that cannot be read stops no look


def position_of(committed: int | None, start: int, end: int) -> int:
    """Where a group reads on: at its commit; at the log's start where it has none, or one outside of the log."""
    return committed if committed is not None and start <= committed <= end else start


@dataclass(frozen=True)
class PartitionState:
    """How far a group has read one partition.

    `committed`: None where it has committed nothing yet. `start`, `end`: of the log. `read`: nothing but transaction
    markers lies between the commit and the end. `owned`: a member of the group reads it; None where the broker does not
    tell (the embedded one). `oldest_ms`: the time of the first record that waits (of the epoch); None where none does,
    or where it did not come in time. `note`: what was committed with the offset.
    """

    number: int
    committed: int | None
    start: int
    end: int
    read: bool = False
    owned: bool | None = None
    oldest_ms: int | None = None
    note: str = ""

    @property
    def lag(self) -> int:
        """Records that wait to be read. A commit beyond the end is of a former topic: the start counts."""
        return 0 if self.read else self.end - self.position

    @property
    def position(self) -> int:
        """Where a member reads on."""
        return position_of(self.committed, self.start, self.end)


@dataclass(frozen=True)
class GroupState:
    """A consumer group on its topic. `state`: Kafka's word (Stable, Empty, PreparingRebalance, …). `topic_id`: another
    one where the topic was made anew; empty where the broker tells none."""

    name: str
    topic: str
    state: str
    members: int
    partitions: tuple[PartitionState, ...]
    topic_id: str = ""

    @property
    def lag(self) -> int:
        """Records of all partitions that wait to be read."""
        return sum(one.lag for one in self.partitions)


Groups = Mapping[str, str] | Sequence[tuple[str, str]]  # groups and topics that they read: one each, or pairs


async def read_groups(broker: Broker, groups: Groups) -> list[GroupState]:
    """The state of each group of `groups` on its topic; a topic that is not there has no partitions.

    Raises: Unavailable where the broker does not answer within `pacing.status_s`.
    """
    reader = GroupReader(broker)
    async with asking(broker):
        try:
            await reader.start()
            return await reader.read(groups)
        finally:
            await reader.stop()


class GroupReader:
    """Reads the state of groups, look after look, over one connection. To be called within `asking`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._clients: tuple[AIOKafkaAdminClient, AIOKafkaConsumer] | None = None

    async def start(self) -> None:
        """Connect; nothing where it is connected."""
        if self._clients is None:
            at = self._broker.bootstrap
            admin = AIOKafkaAdminClient(bootstrap_servers=at, **kafka_security(self._broker))
            self._clients = admin, AIOKafkaConsumer(
                bootstrap_servers=at, enable_auto_commit=False, isolation_level="read_committed",
                fetch_max_wait_ms=PACING.status_fetch_ms, max_partition_fetch_bytes=FETCH_BYTES,
                **kafka_security(self._broker),
            )
            for client in self._clients:
                await client.start()

    async def read(self, groups: Groups) -> list[GroupState]:
        """The state of each group of `groups`, as `read_groups` tells it."""
        assert self._clients, "not started"
        admin, consumer = self._clients
        there = {t["topic"]: sorted(p["partition"] for p in t["partitions"]) for t in await admin.describe_topics()}
        pairs = list(groups.items() if isinstance(groups, Mapping) else groups)
        places = [[TopicPartition(topic, n) for n in there.get(topic, ())] for _, topic in pairs]
        members = await asyncio.gather(*(_patiently(_members, admin, name) for name, _ in pairs))
        # Commits before ends: in between records come, and a commit never lies beyond an end that was read later.
        commits = await asyncio.gather(
            *(_patiently(_commits, admin, name, some) for (name, _), some in zip(pairs, places, strict=True))
        )
        logs = await _logs(consumer, {p: o for some in commits for p, (o, _) in some.items()}, places)
        ids = await asyncio.gather(*(_patiently(topic_id, admin._client, topic) for _, topic in pairs))
        return [
            GroupState(name, topic, state, count, tuple(
                PartitionState(
                    p.partition, commit.get(p, (None, ""))[0], *logs[p][:3], None if owned is None else p in owned,
                    logs[p][3], commit.get(p, (None, ""))[1],
                ) for p in some
            ), an_id)
            for (name, topic), some, (state, count, owned), commit, an_id
            in zip(pairs, places, members, commits, ids, strict=True)
        ]

    async def stop(self) -> None:
        """Disconnect, whatever state it is in; `start` connects anew."""
        clients, self._clients = self._clients, None
        if clients is not None:
            await close(clients[0].close(), clients[1].stop())


@contextlib.asynccontextmanager
async def asking(broker: Broker) -> AsyncIterator[None]:
    """What the broker does not answer within `pacing.status_s`, or refuses, is raised as Unavailable."""
    try:
        async with asyncio.timeout(PACING.status_s):
            yield
    except TimeoutError as error:
        raise Unavailable(f"the broker at {broker.bootstrap} did not answer in {PACING.status_s:g} s") from error
    except KafkaError as error:
        what = f"the broker at {broker.bootstrap} does not answer"
        if why := await sign_on_or_wait(broker):
            raise Unavailable(f"{what}: {why}") from error
        raise told(error, what) from error


async def reachable(broker: Broker) -> None:
    """Until a broker answers. Raises: as `asking`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap, **kafka_security(broker))
    try:
        async with asking(broker):
            while True:
                try:
                    await admin.start()
                    return
                except KafkaConnectionError:  # it is starting, or gone, or does not let this process in
                    await sign_on_or_wait(broker)
                await asyncio.sleep(0.2)
    finally:
        await close(admin.close())


async def close(*closing: Awaitable[object]) -> None:
    """Close clients in whatever state they are: what they were asked is known, or its error is on its way."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PACING.status_close_s):
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


async def _commits(
    admin: AIOKafkaAdminClient, name: str, places: Sequence[TopicPartition]
) -> dict[Any, tuple[int, str]]:
    """Committed offsets, with their notes. Partitions are named: the embedded broker answers for a whole group in an
    unreadable form."""
    if not places:
        return {}
    found = await admin.list_consumer_group_offsets(name, partitions=list(places))
    return {place: (one.offset, one.metadata or "") for place, one in found.items() if one.offset >= 0}


async def _logs(
    consumer: AIOKafkaConsumer, commits: Mapping[TopicPartition, int], places: Iterable[Sequence[TopicPartition]]
) -> dict[TopicPartition, tuple[int, int, bool, int | None]]:
    """(start, end, whether nothing is left to read between the commit and the end, the first unread record's time) of
    each partition's log."""
    every = [place for some in places for place in some]
    if not every:
        return {}
    starts = await consumer.beginning_offsets(every)
    positions = {place: max(commits.get(place, 0), starts[place]) for place in every}
    ends, read, oldest = await read_on(consumer, positions)
    if anew := {place: starts[place] for place in every if positions[place] > ends[place]}:
        of_anew = await read_on(consumer, anew)
        ends, read, oldest = ends | of_anew[0], read - anew.keys() | of_anew[1], oldest | of_anew[2]
    return {place: (starts[place], ends[place], place in read, oldest.get(place)) for place in every}


async def read_on(
    consumer: AIOKafkaConsumer, positions: Mapping[TopicPartition, int]
) -> tuple[dict[TopicPartition, int], set[TopicPartition], dict[TopicPartition, int]]:
    """(where each log ends, where nothing is left to read, else the time of the first unread record), by reading on
    from `positions` until a record comes.

    Offsets alone do not tell: transaction markers and aborted records count and are never handed out (KEDA's issue
    5675), and the embedded broker gives the end of the last batch's first record. What takes longer than
    `pacing.status_read_s` counts as unread.
    """
    ends = await consumer.end_offsets(list(positions))
    if consumer.assignment() != positions.keys():
        consumer.assign(list(positions))
    for place, position in positions.items():
        consumer.seek(place, min(position, ends[place]))
    consumer.resume(*positions)
    left, read, oldest = set(positions), set[TopicPartition](), dict[TopicPartition, int]()
    until_s = asyncio.get_running_loop().time() + PACING.status_read_s
    while left and asyncio.get_running_loop().time() < until_s:
        found = await consumer.getmany(*left, timeout_ms=PACING.status_fetch_ms)
        unread = {p: one for p, some in found.items() if (one := _first(some, positions[p]))}
        oldest |= {p: one.timestamp for p, one in unread.items() if (one.timestamp or -1) >= 0}
        ended = {p: consumer.highwater(p) for p in left - unread.keys()}
        done = {p for p, end in ended.items() if end is not None and await consumer.position(p) >= end}
        read, left = read | done, left - unread.keys() - done
    ends = {place: max(end, consumer.highwater(place) or 0) for place, end in ends.items()}
    consumer.pause(*positions)  # nothing more is fetched until the next look
    return ends, read, oldest


def _first(some: Sequence[Any], position: int) -> Any:
    """The first of these records that is not below `position`; None where none is."""
    return next((one for one in some if one.offset >= position), None)
