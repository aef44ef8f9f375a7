"""The Faust application of a ring: an agent and a table for each cell, and what keeps them honest.

Faust fetches, shares out partitions among processes, keeps tables and recovers them from their changelogs. Three things
it cannot be trusted with are done here. Reading goes on where the table's counts end, not at the committed offset. A
record that was left out on its way is read again. An error ends the process: nothing that failed is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from infra.insights.counting import Counting
from infra.insights.driver import Door
from infra.insights.ledger import Bounds
from infra.insights.table import Windows
from topology import topics
from topology.errors import Unavailable
from topology.pacing import PACING, Pacing
from topology.settings import Ring, Settings

log = logging.getLogger(__name__)


class Insights:
    """Counts the predictions of a ring until stopped. Several processes share the partitions."""

    def __init__(self, settings: Settings, ring: Ring, pacing: Pacing = PACING) -> None:
        """Call it in the event loop that it will run in. Raises: Misconfigured."""
        self.ring, self._pacing = ring, pacing
        self._settled_s = time.monotonic()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._app = _faust_app(settings, ring)
        self._app.transport = Door(self._app, settings.broker, self._positions)
        self._app.producer_transport = self._app.transport
        self.cells: dict[str, Counting] = {}
        for cell in ring.cells.values():
            self.cells[cell.name] = self._add(settings, cell.name, cell.partitions)
        self._of_topic = {one.topic: one for one in self.cells.values()}
        self._app.on_partitions_revoked.connect(self._revoked)

    def _add(self, settings: Settings, cell: str, partitions: int) -> Counting:
        source = topics.predictions(settings.prefix, self.ring.name, cell)
        table = Windows(self._app, topics.insights(settings.prefix, self.ring.name, cell), partitions)
        counting = Counting(source, table, lambda: self._app.consumer.topic_id(source), self._pacing)
        table.on_recover(self._guarded(lambda: self._restore(counting)))
        topic = self._app.topic(
            source, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True,
        )

        async def count(stream: Any) -> None:
            async for event in stream.noack().events():
                if not await counting.take(event):
                    await self._read_again(counting, event.message.partition)

        self._app.agent(topic, name=f"count.{cell}")(self._guarded_agent(count))
        return counting

    async def start(self) -> None:
        """Connect, join the group and begin. What goes wrong later is in `failed`."""
        await self._app.start()

    async def stop(self) -> None:
        """Write what is counted and leave the group; what cannot be written is read again by the next."""
        if not self.failed.done():
            await self.write()
        await self._app.stop()

    async def write(self) -> None:
        """Write what was counted since the last time. Raises: Unavailable."""
        for one in self.cells.values():
            await one.write()

    async def run(self, stop: asyncio.Event) -> None:
        """Write the counts each second until `stop`. Raises: what ended it."""
        stopping = asyncio.ensure_future(stop.wait())
        crashed = asyncio.ensure_future(self._app._crashed.wait())
        seen: Mapping[TP, int] = {}
        try:
            while not stopping.done():
                await asyncio.wait(
                    {stopping, crashed, self.failed}, timeout=self._pacing.insights_flush_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self.failed.done():
                    self.failed.result()
                if crashed.done():
                    raise Unavailable(f"Faust gave up: {self._app.crash_reason!r}")
                self._watch()
                await self.write()
                seen = await self._look_for_left_out(seen)
        finally:
            stopping.cancel()
            crashed.cancel()

    def _watch(self) -> None:
        """Raises: Unavailable where a rebalance, with the recovery of tables, does not come to its end."""
        now_s = time.monotonic()
        if not self._app.rebalancing and all(one.restored.is_set() for one in self.cells.values()):
            self._settled_s = now_s
        if now_s - self._settled_s > self._pacing.insights_recover_s:
            raise Unavailable(f"no rebalance came to its end within {self._pacing.insights_recover_s:.0f} s")

    async def _look_for_left_out(self, before: Mapping[TP, int]) -> Mapping[TP, int]:
        """Read again what was fetched and, a look later, is not counted. Returns what was counted until now."""
        counted = {TP(topic, number): offset for topic, one in self._of_topic.items()
                   for number, offset in one.positions().items()}
        for tp, offset in counted.items():
            if before.get(tp) == offset < self._app.consumer.fetched(tp):
                await self._read_again(self._of_topic[tp.topic], tp.partition)
        return counted

    async def _read_again(self, counting: Counting, partition: int) -> None:
        offset, tp = counting.position(partition), TP(counting.topic, partition)
        if offset is not None and tp in self._app.consumer.assignment():
            log.info("%s[%d] is read again from offset %d", counting.topic, partition, offset + 1)
            await self._app.consumer.read_again(tp, offset + 1)

    def _positions(self, assigned: set[TP]) -> Mapping[TP, int]:
        """Where reading goes on."""
        found = {tp: self._of_topic[tp.topic].position(tp.partition) for tp in assigned if tp.topic in self._of_topic}
        return {tp: offset + 1 for tp, offset in found.items() if offset is not None}

    async def _revoked(self, sender: Any, revoked: set[TP], **_: Any) -> None:
        """Hand over with everything written; what was not is read again by the next owner."""
        for one in self.cells.values():
            try:
                await one.write()
            except Unavailable as error:
                self._fail(error)
            one.revoke()
        self._app.consumer.forget(revoked)

    async def _restore(self, counting: Counting) -> None:
        """The table has what its changelog has: count on from there."""
        consumer = self._app.consumer
        assigned = consumer.assignment()
        # Where a topic is deleted its changelog stays assigned, and Faust does not read it again: the table keeps it.
        held = {tp.partition for tp in assigned if tp.topic == counting.table.changelog_topic_name}
        numbers = sorted(held & {tp.partition for tp in assigned if tp.topic == counting.topic})
        sources = [TP(counting.topic, number) for number in numbers]
        logs = [TP(counting.table.changelog_topic_name, number) for number in numbers]
        starts = await consumer.earliest_offsets(*sources, *logs) if numbers else {}
        ends = await consumer.highwaters(*sources) if numbers else {}
        topic_id = await consumer.topic_id(counting.topic) if numbers else ""
        counting.restore({
            source.partition: Bounds(starts[log_] or 0, starts[source] or 0, ends[source] or 0, topic_id)
            for source, log_ in zip(sources, logs, strict=True)
        }, held)

    def _guarded(self, run: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Faust logs what such a call raises and goes on; here it ends the process."""

        async def guarded() -> None:
            try:
                await run()
            except Exception as error:
                self._fail(error)

        return guarded

    def _guarded_agent(self, run: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """Faust starts an agent again that raised, its record acknowledged; here it ends the process."""

        async def guarded(stream: Any) -> None:
            try:
                await run(stream)
            except Exception as error:
                self._fail(error)
                await asyncio.Event().wait()  # nothing is counted any more; the process ends

        return guarded

    def _fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)


def _faust_app(settings: Settings, ring: Ring) -> faust.App:
    """Settings that make Faust safe: docs/decisions/0023-insights.md."""
    broker = settings.broker
    session_s = broker.session_timeout_ms / 1e3
    return faust.App(
        topics.insights_group(settings.prefix, ring.name),
        broker=[f"aiokafka://{one.strip()}" for one in broker.bootstrap.split(",")],
        loop=asyncio.get_running_loop(),
        datadir=str(Path(settings.state_dir) / f"insights-{ring.name}"),
        store="memory://", autodiscover=False, web_enabled=False,
        topic_allow_declare=False, topic_disable_leader=True, reply_create_topic=False,
        broker_max_poll_records=None, broker_session_timeout=session_s,
        broker_heartbeat_interval=max(0.5, session_s / 10), broker_request_timeout=max(40.0, 2 * session_s),
        producer_request_timeout=PACING.insights_write_s, table_standby_replicas=0, stream_wait_empty=False,
        stream_recovery_delay=0.0,
    )
