"""The door to Kafka for writing: whole batches, acknowledged, and a record that is refused costs only itself."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.partitioner import murmur2
from aiokafka.protocol.produce import ProduceRequest

from topology.errors import HeadraceError, OutputRefused, Unavailable
from topology.pacing import PACING
from topology.settings import Broker
from topology.stream import codes
from topology.stream.answers import answer_within
from topology.stream.connection import ended, patiently, told
from topology.stream.failures import Fate, fate_of
from topology.stream.records import Output, Refused
from topology.stream.security import kafka_security

log = logging.getLogger(__name__)

# The broker has lost count of this producer, or counts another one under its id: a new one has a new count.
OUT_OF_SEQUENCE = {
    "OutOfOrderSequenceNumber", "UnknownProducerId", "InvalidProducerEpoch", "InvalidProducerIdMapping",
    "ProducerFenced", "ProducerClosed",
}

Failed = tuple[Sequence[Output], KafkaError]
codes.register()


class Producer:
    """Writes whole batches: acks=all, idempotent where the broker can, one await for the lot."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.on_request_left: Callable[[], None] = lambda: None  # a request with outputs is in its socket
        self._producer = self._new(broker.idempotence and broker.kind != "embedded")
        self._ready = False
        self._turn = random.randrange(1 << 16)
        self._batch_bytes: dict[str, int] = {}
        self._looked_for = ""  # the last topic whose partitions were asked for
        self.lost = 0  # optional outputs (dead letters, error results, comparisons) that were not taken
        self._missing: set[str] = set()  # topics of such outputs

    def _new(self, idempotent: bool) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._broker.bootstrap,
            **kafka_security(self._broker),
            acks="all",
            enable_idempotence=idempotent,
            max_batch_size=PACING.batch_bytes,
            max_request_size=PACING.batch_bytes * 4,
            metadata_max_age_ms=int(PACING.metadata_max_age_s * 1_000),
            linger_ms=0,
        )
        answer_within(producer.client)
        producer.client.send = self._noting(producer.client.send)
        return producer

    def _noting(self, send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """aiokafka's `client.send`, which also says when a request with outputs has left."""

        async def noted(node: int, request: Any, **options: Any) -> Any:
            if isinstance(request, ProduceRequest):
                # On an open connection it writes before it first waits, and what is called soon runs when it waits.
                asyncio.get_running_loop().call_soon(lambda: self.on_request_left())
            return await send(node, request, **options)

        return noted

    async def start(self) -> None:
        """Connect. Raises: Unavailable after 30 s."""
        await patiently(self._producer.start, "producer", self._broker)
        self._ready = True

    async def send(self, outputs: Sequence[Output]) -> list[Refused]:
        """Write every output and return when all are acknowledged or refused for good; those come back.

        A refused batch is written again one by one, so that a record costs only itself. After `PACING.send_s` without
        an answer the client starts anew from the bootstrap addresses.
        Raises: Unavailable, also for a clock that the broker refuses; Misconfigured, where a right is missing.
        """
        if not outputs:
            return []
        try:
            async with asyncio.timeout(PACING.send_s):
                if not self._ready:
                    await self.start()
                failed = await self._sent(outputs)
        except KafkaError as error:
            raise told(error, "the broker took no write") from error
        except TimeoutError as error:
            gone = not self._producer.client.cluster.partitions_for_topic(self._looked_for)
            mend = f"; no broker knows {self._looked_for}: `headrace topics apply` creates what is missing"
            self._anew()
            what = f"the broker acknowledged no write within {PACING.send_s:.0f} s"
            raise Unavailable(what + (mend if gone else "")) from error
        if not failed:
            return []
        # The broker has not counted what it refused, an idempotent producer has: it would be out of sequence from here.
        self._anew()
        return await self._one_by_one([output for some, _ in failed for output in some])

    async def _sent(self, outputs: Sequence[Output]) -> list[Failed]:
        while outputs := await self._with_a_topic(outputs):
            placed = await self._placed(outputs)
            writing = asyncio.gather(*[self._write(place, some) for place, some in placed.items()])
            try:
                while not (await asyncio.wait([writing], timeout=PACING.look_s))[0] and self._there(placed):
                    pass
                if writing.done():
                    return self._failed([one for some in writing.result() for one in some])
            finally:
                writing.cancel()
                writing.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody waits for it
            log.warning("a topic has fewer partitions than it had; its records are placed anew")
            self._anew()
            await self.start()
        return []

    async def _with_a_topic(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """`outputs`, without those that may be lost and have no topic: who deletes the dead letters' must not stop what
        is in order, as long as it is missing."""
        needed = {o.topic for o in outputs if not _may_be_lost(o)}
        gone = {topic for topic in {o.topic for o in outputs} - needed if await self._is_missing(topic)}
        for output in outputs:
            if output.topic in gone:
                self._leave_out(output, OutputRefused(f"topic {output.topic!r} is missing: `headrace topics apply`"))
        return [o for o in outputs if o.topic not in gone] if gone else outputs

    async def _is_missing(self, topic: str) -> bool:
        """Whether the cluster has no such topic. Where the cluster does not answer, that is not known."""
        cluster = self._producer.client.cluster
        if cluster.partitions_for_topic(topic):
            self._missing.discard(topic)
        elif topic not in self._missing:  # else the client looks for it beside, every `metadata_max_age_s`
            before_ms = cluster._last_successful_refresh_ms
            try:
                async with asyncio.timeout(PACING.topic_s):
                    await self._producer.partitions_for(topic)
            except (TimeoutError, UnknownTopicOrPartitionError):
                if cluster._last_successful_refresh_ms != before_ms:
                    self._missing.add(topic)
        return topic in self._missing

    def _leave_out(self, output: Output, error: HeadraceError) -> None:
        self.lost += 1
        log.error("not written, and left out: %s; of record %s", error, _origin(output))

    def _there(self, placed: Iterable[TopicPartition]) -> bool:
        """Whether all these partitions are. aiokafka waits for ever for one that went with its topic."""
        cluster = self._producer.client.cluster
        return all(place.partition in (cluster.partitions_for_topic(place.topic) or ()) for place in placed)

    async def _placed(self, outputs: Sequence[Output]) -> dict[TopicPartition, list[Output]]:
        placed: dict[TopicPartition, list[Output]] = {}
        for topic in {o.topic for o in outputs}:
            self._looked_for = topic
            partitions = sorted(await self._producer.partitions_for(topic))
            available = sorted(self._producer.client.cluster.available_partitions_for_topic(topic) or partitions)
            for partition, some in self._place([o for o in outputs if o.topic == topic], partitions, available):
                placed.setdefault(TopicPartition(topic, partition), []).extend(some)
        return placed

    def _failed(self, failed: list[Failed]) -> list[Failed]:
        """What to try one by one. Raises: KafkaError, where it was no fault of the records."""
        for some, error in failed:
            if fate_of(error) is not Fate.RECORD and type(error).__name__ not in OUT_OF_SEQUENCE:
                raise error
            if len(some) > 1 and fate_of(error) is Fate.RECORD:  # perhaps the topic takes smaller batches than ours
                topic = some[0].topic
                self._batch_bytes[topic] = max(1 << 14, self._batch_bytes.get(topic, PACING.batch_bytes) // 2)
        return failed

    async def _write(self, place: TopicPartition, outputs: Sequence[Output]) -> list[Failed]:
        """Whole batches for a partition: sent by itself, a record costs a sixth of a request (metadata, futures)."""
        failed: list[Failed] = []
        room = self._batch_bytes.get(place.topic, PACING.batch_bytes)
        batches: list[tuple[Any, list[Output]]] = [(self._producer.create_batch(), [outputs[0]])]
        _append(batches[0][0], outputs[0])  # an empty batch takes any record
        for o in outputs[1:]:
            batch, some = batches[-1]
            if batch.size() + len(o.value or b"") > room or not _append(batch, o):
                batches.append((self._producer.create_batch(), [o]))
                _append(batches[-1][0], o)
            else:
                some.append(o)
        for batch, some in batches:
            try:
                await (await self._producer.send_batch(batch, place.topic, partition=place.partition))
            except KafkaError as error:
                failed.append((some, error))
        return failed

    async def _one_by_one(self, outputs: Sequence[Output]) -> list[Refused]:
        """By a producer without sequence numbers: what is refused leaves no gap. An output that has a shorter form is
        tried in it; an optional one is logged and counted where it is refused."""
        single = self._new(idempotent=False)
        refused = []
        try:
            await patiently(single.start, "producer", self._broker)
            for output in outputs:
                error = await _alone(single, output)
                if error is not None and output.shorter is not None:
                    output = output.shorter
                    error = await _alone(single, output)
                if error is not None and output.optional:
                    self._leave_out(output, error)
                elif error is not None:
                    refused.append(Refused(output, error))
        finally:
            await ended(single.stop, "producer")
        return refused

    def _anew(self) -> None:
        """Another client, with sequence numbers of its own; it starts at the next call, from the bootstrap addresses.
        The old one ends on its own time: others may be waiting for its acknowledgements."""
        old, self._producer = self._producer, self._new(self._broker.idempotence and self._broker.kind != "embedded")
        self._ending, self._ready = asyncio.ensure_future(ended(old.stop, "producer")), False
        self._missing.clear()

    def _place(
        self, outputs: Sequence[Output], partitions: list[int], available: list[int]
    ) -> list[tuple[int, list[Output]]]:
        """Keyed records go where their key says, as in Java's client. The others stay together as long as they are few
        (KIP-480); more than `keyless_together` are shared out evenly, so that no consumer has a burst to itself."""
        placed = [(partitions[_hash(o.key) % len(partitions)], [o]) for o in outputs if o.key is not None]
        free = [o for o in outputs if o.key is None]
        if free and not available:
            raise Unavailable(f"the broker knows no partition of {free[0].topic}")
        parts = min(-(-len(free) // PACING.keyless_together), len(available))
        for part in range(parts):
            some = free[len(free) * part // parts : len(free) * (part + 1) // parts]
            placed.append((available[(self._turn + part) % len(available)], some))
        self._turn += parts if parts < len(available) else 1  # the next call begins elsewhere
        return placed

    async def send_tombstone(self, topic: str, key: bytes) -> None:
        """Write a deletion marker for `key` to a compacted topic. Raises: Unavailable."""
        if refused := await self.send([Output(topic, key, None)]):
            raise refused[0].error

    async def stop(self) -> None:
        """Flush and disconnect, within `PACING.close_s`; never raises."""
        await ended(self._producer.stop, "producer")


async def _alone(producer: AIOKafkaProducer, output: Output) -> HeadraceError | None:
    """Write one output; the reason if it is refused for good. Raises: Unavailable, Misconfigured."""
    batch = producer.create_batch()
    _append(batch, output)
    try:
        async with asyncio.timeout(PACING.send_s):
            partitions = sorted(await producer.partitions_for(output.topic))
            partition = partitions[_hash(output.key or b"") % len(partitions)]
            await (await producer.send_batch(batch, output.topic, partition=partition))
    except TimeoutError as error:
        raise Unavailable(f"the broker acknowledged no write within {PACING.send_s:.0f} s") from error
    except KafkaError as error:
        if fate_of(error) is not Fate.RECORD:
            raise told(error, "the broker took no write") from error
        return OutputRefused(f"{batch.size()} bytes to topic {output.topic!r}: {type(error).__name__}")
    return None


def _may_be_lost(output: Output) -> bool:
    return output.optional or (output.shorter is not None and output.shorter.optional)


def _append(batch: Any, output: Output) -> bool:
    headers = list(output.headers)
    return batch.append(timestamp=None, key=output.key, value=output.value, headers=headers) is not None


def _origin(letter: Output) -> str:
    where = {name: value.decode() for name, value in letter.headers if name.startswith("__connect.errors.")}
    return "{topic}[{partition}]@{offset}".format(
        **{name: where.get(f"__connect.errors.{name}", "?") for name in ("topic", "partition", "offset")}
    )


def partition_of(key: bytes, count: int) -> int:
    """The partition of a keyed record on a topic of `count`, as Java's client has it."""
    return _hash(key) % count


@functools.lru_cache(65_536)  # murmur2 in Python takes 2 to 5 µs for a tenant's name
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF
