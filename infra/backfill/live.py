"""Looks at the live path of a ring, for replays that pause while it is late. What is late is decided in `lateness`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from infra.backfill.lateness import Lateness, Waiting
from topology import topics, wire
from topology.errors import MalformedRecord, Unavailable
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.groups import GroupReader, GroupState, asking
from topology.stream.newest import NewestReader

SeenT = TypeVar("SeenT")


class LiveWatch:
    """Says whether the live path of one ring is in time. One look each `pacing.live_look_s`, over two connections."""

    def __init__(self, settings: Settings, ring_name: str) -> None:
        prefix, cells = settings.prefix, settings.rings[ring_name].cells
        self._broker = settings.broker
        self._topics = {topics.encoder_group(prefix, ring_name): topics.utterances(prefix, ring_name)}
        for cell in cells:
            self._topics[topics.head_group(prefix, ring_name, cell)] = topics.embeddings(prefix, ring_name, cell)
        self._groups = GroupReader(settings.broker)
        results = [topics.predictions(prefix, ring_name, cell) for cell in cells]
        self._results = NewestReader(settings.broker, results, from_end=True)
        self._lateness = Lateness(settings.backfill)
        self._answer, self._next_s = "", 0.0

    async def start(self) -> None:
        """Connect. Raises: Unavailable, Misconfigured."""
        async with asking(self._broker):
            await self._groups.start()
            await self._results.start()

    async def look(self) -> str:
        """Empty where live traffic is in time, else one sentence why not, with the figures and the line.

        Before `pacing.live_look_s` are over it gives the last answer. Where the broker answers some questions and not
        others, live counts as late. Where it answers nothing at all, live does not: the replay then meets the same
        errors, and waits or ends by them. That takes up to twice `pacing.status_s`. Raises: Misconfigured.
        """
        if time.monotonic() >= self._next_s:
            self._answer = await self._looked()
            self._next_s = time.monotonic() + PACING.live_look_s
        return self._answer

    async def stop(self) -> None:
        """Disconnect; never raises."""
        await asyncio.gather(self._groups.stop(), self._results.stop())

    async def _looked(self) -> str:
        groups, results = await asyncio.gather(self._read_groups(), self._read_results())
        # What was answered may have been so a moment before the broker froze: it is asked once more.
        if isinstance(groups, Unavailable) and not isinstance(results, Unavailable):
            results = await self._read_results()
        elif isinstance(results, Unavailable) and not isinstance(groups, Unavailable):
            groups = await self._read_groups()
        now_s = time.time()
        away = [one for one in (groups, results) if isinstance(one, Unavailable)]
        unseen = f"the live path cannot be seen: {away[0]}" if len(away) == 1 else ""
        oldest = oldest_of(groups, now_s) if isinstance(groups, list) else None
        return self._lateness.told(oldest, now_s, unseen)

    async def _read_groups(self) -> list[GroupState] | Unavailable:
        return await self._asked(self._groups, lambda: self._groups.read(self._topics))

    async def _read_results(self) -> Unavailable | None:
        """Note how long the newest results took."""
        found = await self._asked(self._results, lambda: self._results.read(PACING.live_results))
        if isinstance(found, Unavailable):
            return found
        for record in found:
            self._add(record.value)
        return None

    async def _asked(
        self, reader: GroupReader | NewestReader, ask: Callable[[], Awaitable[SeenT]]
    ) -> SeenT | Unavailable:
        try:
            async with asking(self._broker):
                await reader.start()
                return await ask()
        except Unavailable as error:
            await reader.stop()  # the next look connects anew, from the bootstrap addresses
            return error

    def _add(self, value: bytes | None) -> None:
        try:
            stages = wire.decode(wire.Prediction, value).stages
            self._lateness.add(stages["submitted"], stages["predicted"])
        except (MalformedRecord, KeyError):  # not ours, or an error, which passed no stages
            pass


def oldest_of(groups: list[GroupState], now_s: float) -> Waiting | None:
    """The oldest record that waits for one of these groups; None where none does.

    Where no group has a member or ever committed, the ring has no live workers: what lies there waits for nobody.
    """
    if not any(group.members or any(one.committed is not None for one in group.partitions) for group in groups):
        return None
    waiting = [
        Waiting(group.topic, now_s - one.oldest_ms / 1e3)
        for group in groups for one in group.partitions if one.oldest_ms is not None
    ]
    return max(waiting, key=lambda one: one.age_s, default=None)
