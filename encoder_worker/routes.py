"""Where each embedding goes, and when: after those before it of its conversation, and to its tenant's cell of now.

A record with a key belongs to a conversation (a caller's own id counts as one). It is sent on after the records before
it under that key, whatever was computed first; and while its tenant moves, after the former cells have finished theirs.
Records without a key wait for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from topology import topics
from topology.pacing import PACING
from topology.placement import Placement
from topology.settings import Ring, Settings
from topology.stream.fences import Fences, InFlight, Place
from topology.stream.positions import Positions
from topology.stream.records import Record
from topology.topics import Lane


@dataclass
class _Turn:
    """A record's place in its conversation. `left`: its embedding, or its refusal, is on its way."""

    conversation: tuple[str, bytes]
    before: _Turn | None
    left: asyncio.Event = field(default_factory=asyncio.Event)


class Routes:
    """The routes of one encoder worker. Without `fences` nothing waits for a former cell."""

    def __init__(
        self, placement: Placement, in_flight: InFlight, fences: Fences | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.placement, self._in_flight, self._fences, self._clock = placement, in_flight, fences, clock
        self._turns: dict[Place, _Turn] = {}
        self._last: dict[tuple[str, bytes], _Turn] = {}
        self._assigned_s = clock()
        self.waiting = 0  # records that wait for those before them

    def assigned(self) -> None:
        """Partitions came. Who had them before may have sent records to cells that this process never used."""
        self._assigned_s = self._clock()

    def enter(self, record: Record, tenant: str) -> None:
        """A record was read; in a conversation's order. A second time changes nothing."""
        place = (record.partition, record.offset)
        if record.key and place not in self._turns:
            conversation = (tenant, record.key)
            turn = _Turn(conversation, self._last.get(conversation))
            self._turns[place] = self._last[conversation] = turn

    def goes(self, record: Record, tenant: str, with_them: Iterable[Record]) -> bool:
        """Whether it may be sent on now, together with `with_them`. Then its cell is decided."""
        turn = self._turns.get((record.partition, record.offset))
        if turn is None:
            return True
        if turn.before is not None and not turn.before.left.is_set():
            together = (self._turns.get((r.partition, r.offset)) for r in with_them)
            if all(one is not turn.before for one in together):
                return False
        if self._held(tenant):
            return False
        self._in_flight.add((record.partition, record.offset), self.placement.cell_of(tenant))
        return True

    async def turn_of(self, record: Record, tenant: str) -> None:
        """Until it may be sent on. Then its cell is decided."""
        turn = self._turns.get((record.partition, record.offset))
        self.waiting += 1
        try:
            if turn is not None and turn.before is not None:
                await turn.before.left.wait()
            async with asyncio.timeout(2 * PACING.move_hold_s):
                while self._fences is not None and (held := self._held(tenant)):
                    await self._fences.passed(tenant, held, self._since_s(tenant))
        except TimeoutError:  # tenants move without an end: this record has waited long enough
            pass
        finally:
            self.waiting -= 1
        self._in_flight.add((record.partition, record.offset), self.placement.cell_of(tenant))

    def leaves(self, record: Record) -> None:
        """Its embedding, or its refusal, is on its way: who waits for it goes on."""
        turn = self._turns.pop((record.partition, record.offset), None)
        if turn is not None:
            turn.left.set()
            turn.before = None
            if self._last.get(turn.conversation) is turn:
                del self._last[turn.conversation]

    def delivered(self, records: Iterable[Record]) -> None:
        """What became of these records is acknowledged."""
        for record in records:
            if record.key:
                self._in_flight.discard((record.partition, record.offset))

    def cell_of(self, record: Record, tenant: str) -> str:
        """Where its output goes: as decided, else by the placement of now."""
        return self._in_flight.cell_of((record.partition, record.offset)) or self.placement.cell_of(tenant)

    async def stop(self) -> None:
        """Disconnect."""
        if self._fences is not None:
            await self._fences.stop()

    def stats(self) -> dict[str, float]:
        """Records held back now, and fences that were given up."""
        return {"held": self.waiting, "overdue": self._fences.overdue if self._fences else 0}

    def _held(self, tenant: str) -> str:
        """A former cell that has not finished yet what it was sent of the tenant; empty where there is none."""
        if self._fences is None:
            return ""
        former = self.placement.former(tenant)
        if not former:
            if not self.placement.moving:
                self._fences.forget()
            return ""
        since_s = self._since_s(tenant)
        return next((cell for cell in sorted(former) if not self._fences.is_passed(tenant, cell, since_s)), "")

    def _since_s(self, tenant: str) -> float:
        return max(self._assigned_s, self.placement.changed_s(tenant))


def routes_of(settings: Settings, ring: Ring, lane: Lane) -> Routes:
    """The routes of a ring's encoder worker. Of a replay no order is promised, so nothing waits."""
    in_flight, prefix = InFlight(), settings.prefix

    def places(cell: str) -> tuple[str, str]:
        return topics.embeddings(prefix, ring.name, cell, lane), topics.head_group(prefix, ring.name, cell, lane)

    fences = Fences(Positions(settings.broker), in_flight, places) if lane == "live" else None
    return Routes(Placement(ring), in_flight, fences)
