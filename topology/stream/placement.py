"""Follows the placements: to their end before work starts, then as they change."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from topology import topics
from topology.errors import MalformedRecord
from topology.pacing import PACING
from topology.placement import PinRecord, Placement, RingRecord, parse
from topology.settings import Broker, Settings
from topology.stream.delivery import Progress
from topology.stream.kafka import TopicReader
from topology.stream.records import Record

log = logging.getLogger(__name__)


class _Reader(TopicReader):
    """Also tells its position."""

    async def ends(self) -> dict[Any, int]:
        """Where the topic ends now."""
        ends: dict[Any, int] = await self._consumer.end_offsets(self._consumer.assignment())
        return ends

    async def position(self) -> int:
        """The offset that is read next, of the topic's one partition."""
        return int(sum([await self._consumer.position(place) for place in self._consumer.assignment()]))


class PlacementFollower:
    """Applies every record of the topic to the placement of a ring. `position`: the offset below which all is
    applied."""

    def __init__(self, broker: Broker, topic: str, placement: Placement) -> None:
        self.placement, self.position = placement, 0
        self._reader, self._progress = _Reader(broker, topic), Progress()

    async def start(self) -> None:
        """Read the placements to their end. Raises: Unavailable."""
        await self._reader.start()
        for record in await self._reader.read_to_end():
            self._note(record)
        self.position = await self._reader.position()
        self.placement.forget_before()

    async def follow(self) -> None:
        """Apply changes as they come, until cancelled."""
        while True:
            for record in await self._reader.take(wait_ms=500):
                self._note(record)
            self.position = await self._reader.position()
            self._progress.made()

    async def reaches_end(self) -> None:
        """Until what the topic holds now is applied, while `follow` runs; at most `pacing.placement_s`. Whoever had
        these partitions before may have heard of a change that this process has not: then it must not go on by the
        old one."""
        try:
            async with asyncio.timeout(PACING.placement_s):
                end = sum((await self._reader.ends()).values())
                await self._progress.reaches(lambda: self.position >= end)
        except Exception as error:
            log.warning("the newest placements were not read before partitions came: %r", error)

    def _note(self, record: Record) -> None:
        if (told := _told(record)) is not None:
            self.placement.apply(told)

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()


async def placements_of(settings: Settings) -> dict[str, Placement]:
    """Ring → where its tenants live now. Raises: Unavailable, also where the topic is missing."""
    found = {name: Placement(ring) for name, ring in settings.rings.items()}
    reader = _Reader(settings.broker, topics.placement(settings.prefix))
    await reader.start()
    try:
        for record in await reader.read_to_end():
            if (told := _told(record)) is not None and told.ring in found:
                found[told.ring].apply(told)
    finally:
        await reader.stop()
    for placement in found.values():
        placement.forget_before()
    return found


def _told(record: Record) -> RingRecord | PinRecord | None:
    """What a record says. A bad one is logged and skipped, whatever is wrong: it must not end all tenants' traffic."""
    try:
        if record.unreadable:
            raise MalformedRecord(record.unreadable)
        return parse(record.key, record.value)
    except Exception as error:
        log.error("placement record at offset %d ignored: %s", record.offset, error)
        return None
