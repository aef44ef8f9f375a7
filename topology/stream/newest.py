"""The newest records of topics, look after look: a sample for who watches them, never all of a busy topic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from topology.pacing import PACING
from topology.settings import Broker
from topology.stream import fetched
from topology.stream.groups import FETCH_BYTES, close
from topology.stream.kafka import fetch_wait_ms
from topology.stream.records import Record
from topology.stream.security import kafka_security

fetched.install()  # a record that cannot be read stops no look


class NewestReader:
    """Reads topics without a group, over one connection. To be called within `groups.asking`.

    `from_end`: the first look gives what came since `start`; else what is there already too.
    """

    def __init__(self, broker: Broker, topics: Sequence[str], from_end: bool) -> None:
        self._broker, self._topics, self._from_end = broker, topics, from_end
        self._consumer: AIOKafkaConsumer | None = None
        self._positions: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connect; nothing where it is connected. A topic that is not there has no records."""
        if self._consumer is not None:
            return
        self._consumer = consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker.bootstrap, enable_auto_commit=False, isolation_level="read_committed",
            auto_offset_reset="latest", fetch_max_wait_ms=fetch_wait_ms(self._broker),
            max_partition_fetch_bytes=FETCH_BYTES, **kafka_security(self._broker),
        )
        await consumer.start()
        there = await consumer._client.fetch_all_metadata()
        places = [TopicPartition(t, n) for t in self._topics for n in sorted(there.partitions_for_topic(t) or ())]
        if places:
            at = consumer.end_offsets if self._from_end else consumer.beginning_offsets
            self._positions = await at(places)
            consumer.assign(places)
            consumer.pause(*places)

    async def read(self, most: int) -> list[Record]:
        """Records that came since the look before, the newest `most` of each partition; what does not come within
        `pacing.status_read_s` is left out."""
        assert self._consumer, "not started"
        consumer, found = self._consumer, list[Record]()
        if not self._positions:
            return found
        ends = await consumer.end_offsets(list(self._positions))
        if self._broker.kind != "embedded":  # whose ends are too low; else the topic was made anew
            self._positions = {p: at if at <= ends[p] else 0 for p, at in self._positions.items()}
        begins = {place: max(position, ends[place] - most) for place, position in self._positions.items()}
        left = {place for place, begin in begins.items() if begin < ends[place]}
        self._positions = {place: max(begin, ends[place]) for place, begin in begins.items()}
        reading = list(left)
        for place in reading:
            consumer.seek(place, begins[place])
        consumer.resume(*reading)
        until_s = asyncio.get_running_loop().time() + PACING.status_read_s
        while left and asyncio.get_running_loop().time() < until_s:
            for place, some in (await consumer.getmany(*left, timeout_ms=PACING.status_fetch_ms)).items():
                found += [
                    Record(place.topic, place.partition, one.offset, one.key, one.value, tuple(one.headers))
                    for one in some if begins[place] <= one.offset
                ]
                self._positions[place] = max(self._positions[place], some[-1].offset + 1)
            left -= {place for place in left if await consumer.position(place) >= ends[place]}
        consumer.pause(*reading)  # nothing more is fetched until the next look
        return found

    async def stop(self) -> None:
        """Disconnect, whatever state it is in; `start` connects anew."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close(consumer.stop())
