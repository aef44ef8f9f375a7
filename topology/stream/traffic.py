"""How much goes over topics: bytes a record from a sample of the newest, records a second from offsets by time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from topology.pacing import PACING
from topology.settings import Broker
from topology.stream.groups import asking, close
from topology.stream.newest import NewestReader
from topology.stream.records import Record
from topology.stream.security import kafka_security

BATCH_HEADER = 61  # bytes of a batch in Kafka's format 2
RECORD_FIELDS = 3  # attributes, and a time and an offset against the batch's


@dataclass(frozen=True)
class Traffic:
    """Of one topic. `records`: between the log's start and end. `sampled`: of which sizes were taken. `bytes_each`:
    their mean. `per_s`: over the last hour, or since the oldest record; None where the broker keeps no times."""

    records: int = 0
    sampled: int = 0
    bytes_each: float = 0.0
    per_s: float | None = 0.0


async def read_traffic(broker: Broker, topics: Sequence[str]) -> dict[str, Traffic]:
    """Of each of `topics`; one that is not there has no records. Raises: Unavailable, Misconfigured."""
    sample = NewestReader(broker, topics, from_end=False)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, enable_auto_commit=False, isolation_level="read_committed",
        **kafka_security(broker),
    )
    sizes: dict[str, list[int]] = defaultdict(list)
    async with asking(broker):
        try:
            await consumer.start()
            await sample.start()
            counts = await _counts(consumer, broker, topics)
            for record in await sample.read(PACING.sampled_records):
                sizes[record.topic].append(size_of(record))
        finally:
            await close(sample.stop(), consumer.stop())
    return {
        topic: Traffic(records, len(sizes[topic]), sum(sizes[topic]) / max(1, len(sizes[topic])), per_s)
        for topic, (records, per_s) in counts.items()
    }


def size_of(record: Record) -> int:
    """Bytes of a record on disk, in a batch of its own and uncompressed: at most what it takes, by the 61 bytes that
    records share a batch for."""
    parts = [record.key or b"", record.value or b""]
    for name, value in record.headers:
        parts += [name.encode("utf-8", "backslashreplace"), value or b""]
    body = RECORD_FIELDS + _varint(len(record.headers)) + sum(_varint(len(part)) + len(part) for part in parts)
    return BATCH_HEADER + _varint(body) + body


def _varint(number: int) -> int:
    """Bytes of a length: zigzag, seven bits a byte."""
    return max(1, -(-(2 * number).bit_length() // 7))


async def _counts(
    consumer: AIOKafkaConsumer, broker: Broker, topics: Sequence[str]
) -> dict[str, tuple[int, float | None]]:
    """Topic → (records in the log, records a second of the last hour)."""
    there = await consumer._client.fetch_all_metadata()
    places = {t: [TopicPartition(t, n) for n in sorted(there.partitions_for_topic(t) or ())] for t in topics}
    every = [place for some in places.values() for place in some]
    if not every:
        return dict.fromkeys(topics, (0, 0.0))
    starts, ends = await consumer.beginning_offsets(every), await consumer.end_offsets(every)
    records = {topic: sum(ends[p] - starts[p] for p in some) for topic, some in places.items()}
    if broker.kind == "embedded":
        return {topic: (count, None) for topic, count in records.items()}
    now_ms = int(time.time() * 1e3)
    since_ms = now_ms - int(PACING.rate_window_s * 1e3)
    oldest = await consumer.offsets_for_times(dict.fromkeys(every, 0))
    since = await consumer.offsets_for_times(dict.fromkeys(every, since_ms))
    found: dict[str, tuple[int, float | None]] = {}
    for topic, some in places.items():
        begin_ms = max(since_ms, min((oldest[p].timestamp for p in some if oldest[p]), default=since_ms))
        count = sum(ends[p] - since[p].offset for p in some if since[p])
        found[topic] = records[topic], count / max(1.0, (now_ms - begin_ms) / 1e3)
    return found
