"""The door to Faust's driver: its consumer and producer of aiokafka, signed on as every client of ours is.

Faust seeks to committed offsets after each rebalance; here it seeks to where the table's counts end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import aiokafka
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from topology.pacing import PACING
from topology.settings import Broker
from topology.stream.kafka import fetch_wait_ms, rebalance_ms
from topology.stream.security import kafka_security
from topology.stream.topic_ids import topic_id

Positions = Callable[[set[TP]], Mapping[TP, int]]


def consumer_options(broker: Broker, group: str, assignor: Any) -> dict[str, Any]:
    """What the consumer is made with. Raises: Misconfigured, naming the setting."""
    return {
        "bootstrap_servers": broker.bootstrap,
        **kafka_security(broker),
        "group_id": group,
        "partition_assignment_strategy": [assignor],
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "fetch_max_wait_ms": fetch_wait_ms(broker),  # Faust's own is 1,500 ms
        "max_partition_fetch_bytes": PACING.fetch_bytes,
        "metadata_max_age_ms": int(PACING.metadata_max_age_s * 1_000),
        "session_timeout_ms": broker.session_timeout_ms,
        "heartbeat_interval_ms": max(500, broker.session_timeout_ms // 10),
        "rebalance_timeout_ms": rebalance_ms(broker),
        "client_rack": broker.rack or None,
    }


def producer_options(broker: Broker) -> dict[str, Any]:
    """What the producer is made with. Raises: Misconfigured, naming the setting."""
    return {
        "bootstrap_servers": broker.bootstrap,
        **kafka_security(broker),
        "acks": "all",
        "enable_idempotence": broker.idempotence and broker.kind != "embedded",
        "max_batch_size": PACING.batch_bytes,
        "metadata_max_age_ms": int(PACING.metadata_max_age_s * 1_000),
        "request_timeout_ms": int(PACING.insights_write_s * 1_000),
    }


class _Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Knows of each record which one was fetched before it.

    Faust may drop what it has fetched, for instance where a recovery ends while records are on their way to agents.
    The client's position is behind them then, and nobody would read them again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fetched: dict[TP, int] = {}  # the last record's offset; from a seek until partitions are taken away
        self.seeks: Counter[TP] = Counter()

    def _create_worker_consumer(self, transport: Door) -> aiokafka.AIOKafkaConsumer:
        self._assignor = self.app.assignor
        return aiokafka.AIOKafkaConsumer(**consumer_options(transport.broker, self.app.conf.id, self._assignor))

    # Both of these run in the client's own loop. Between a client's step and its note nothing is awaited.

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> Any:
        found = await super()._fetch_records(*args, **kwargs)
        return {tp: [self._noted(tp, record) for record in records] for tp, records in found.items()}

    async def _seek_wait(self, consumer: aiokafka.AIOKafkaConsumer, partitions: Mapping[TP, int]) -> None:
        for tp, offset in partitions.items():
            self.seeks[tp] += 1
            self.fetched[tp] = offset - 1
        await super()._seek_wait(consumer, partitions)

    def _noted(self, tp: TP, record: Any) -> tuple[Any, int | None, int]:
        previous = self.fetched.get(tp)
        if previous is not None:
            self.fetched[tp] = record.offset
        return record, previous, self.seeks[tp]


class _Consumer(driver.Consumer):  # type: ignore[misc]
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, noted: Any) -> Any:
        record, previous, seeks = noted
        message = super()._to_message(tp, record)
        message.previous = previous if seeks == self._thread.seeks[tp] else None  # None: fetched before a seek
        return message

    def fetched(self, tp: TP) -> int:
        """The offset of the last record that the client gave out, whatever became of it; -1 where none is known."""
        found: int = self._thread.fetched.get(tp, -1)
        return found

    def forget(self, revoked: set[TP]) -> None:
        """What comes of these until the next seek is none of ours."""
        for tp in revoked:
            self._thread.fetched.pop(tp, None)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        wanted: Mapping[TP, int] = self.transport.positions(self.assignment())
        await self.seek_wait(wanted)
        return wanted

    async def topic_id(self, topic: str) -> str:
        """As `topic_ids.topic_id`. Raises: KafkaError."""
        found: str = await self._thread.call_thread(topic_id, self._thread._consumer._client, topic)
        return found

    async def read_again(self, tp: TP, offset: int) -> None:
        """Deliver from `offset` on once more."""
        await self.seek_wait({tp: offset})


class _Producer(driver.Producer):  # type: ignore[misc]
    def _new_producer(self, transactional_id: str | None = None) -> aiokafka.AIOKafkaProducer:
        return aiokafka.AIOKafkaProducer(**producer_options(self.transport.broker))


class Door(driver.Transport):  # type: ignore[misc]
    """Faust's transport. `positions`: for those of some partitions that are known, where reading goes on."""

    Consumer = _Consumer
    Producer = _Producer

    def __init__(self, app: Any, broker: Broker, positions: Positions) -> None:
        super().__init__(app.conf.broker, app, asyncio.get_running_loop())
        self.broker, self.positions = broker, positions
