"""The loop of a worker that follows the placements of its ring.

It takes partitions only by the newest placement, so that the owners of a partition, one after the other, never go back
to an older one. While tenants move it commits often, so that a cell is soon known to have finished. And its commits say
how far it has read the placements, once everything that it took by older ones is finished: whoever moves a tenant reads
there when no worker sends to the old cell any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from topology.pacing import PACING, Pacing
from topology.stream.kafka import GroupConsumer, Partition, Producer
from topology.stream.loop import Loop
from topology.stream.outcomes import Outcome, Worker
from topology.stream.placement import PlacementFollower
from topology.stream.replies import ReplyWriter


class PlacedConsumer(GroupConsumer):
    """Also tells where it reads each of its partitions."""

    async def positions(self) -> dict[Partition, int]:
        """Partition → the offset that it reads next; what is not known soon is left out."""
        found: dict[Partition, int] = {}
        for place in self._consumer.assignment():
            with contextlib.suppress(Exception):  # given up meanwhile
                async with asyncio.timeout(PACING.move_commit_s):
                    found[place.topic, place.partition] = await self._consumer.position(place)
        return found


class PlacedLoop(Loop):
    """`on_placed`: partitions came, and the newest placement is known. `on_delivered`: as of each finished outcome."""

    def __init__(
        self, worker: Worker, consumer: PlacedConsumer, producer: Producer, replies: ReplyWriter,
        follower: PlacementFollower, pacing: Pacing = PACING, linger_s: float = 0.0,
    ) -> None:
        super().__init__(worker, consumer, producer, replies, pacing, linger_s)
        self._placed_consumer, self._follower = consumer, follower
        self._heard_at, self._read_before = -1, dict[Partition, int]()
        self.placed = -1  # offset of the placements up to which this worker's commits answer
        self._news = asyncio.Event()
        self.on_placed: Callable[[], None] = lambda: None
        self.on_delivered: Callable[[Outcome], None] = lambda outcome: None
        follower.placement.on_change = self._news.set

    async def run(self, stop: asyncio.Event) -> None:
        """As `Loop.run`, with the placements followed beside it."""
        following = asyncio.create_task(self._follower.follow())
        following.add_done_callback(self.note_failure)
        try:
            await super().run(stop)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await self._follower.stop()

    async def assigned(self, count: int) -> None:
        """As `Loop.assigned`, by the newest placement."""
        await self._follower.reaches_end()
        self._heard_at = -1
        self.on_placed()
        await super().assigned(count)

    def _delivered(self, outcome: Outcome) -> None:
        self.on_delivered(outcome)
        super()._delivered(outcome)

    async def _commit_often(self) -> None:
        while True:
            await self._due()
            await self._answer()
            await self._commit()

    async def _due(self) -> None:
        soon = self._follower.placement.changed_lately or self.placed != self._follower.position
        pause_s = PACING.move_commit_s if soon else self._pacing.commit_interval_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._news.wait()
                self._news.clear()

    async def _answer(self) -> None:
        """Have the next commits say how far the placements are read, once what was taken before that is finished. A
        partition without records has its position committed, for its note."""
        if self._heard_at != self._follower.position:
            self._heard_at, self._read_before = self._follower.position, self._marks.read()
        reached: dict[Any, int] = self._marks.committable()
        if self.placed == self._heard_at or any(reached.get(p, 0) < end for p, end in self._read_before.items()):
            return
        self.placed = self._heard_at
        self._committed.clear()
        positions = await self._placed_consumer.positions()
        read = self._marks.read()
        if idle := {place: offset for place, offset in positions.items() if place not in read}:
            await self._consumer.commit(idle, self.note())
