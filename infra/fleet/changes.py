"""Changes of the placements: written by one command, followed by every worker, settled when nothing waits behind them.

A change is two records. The first tells where tenants live from now on, and where they lived before (`former`). When
every encoder worker has heard of it, and the former cells have finished what they hold, the second says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from infra.kept import keep
from topology import topics
from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.placement import PinRecord, Placement, RingRecord, Shares
from topology.settings import Ring, Settings
from topology.stream.groups import read_groups
from topology.stream.placement import placements_of
from topology.stream.positions import Positions
from topology.stream.producer import Producer, partition_of
from topology.stream.records import Output
from topology.stream.work import Work

Say = Callable[[str], None]
HOLDS = "The change holds; the same command waits on"


@dataclass
class Changes:
    """Changes the placements of one ring. `say` hears of progress, line by line."""

    settings: Settings
    ring: Ring
    placement: Placement
    positions: Positions
    say: Say

    async def write(self, record: RingRecord | PinRecord) -> None:
        """Put a record on the topic, and read the placements anew. Raises: Unavailable, also where encoder workers of
        an older release would not follow it, or another command wrote one for the same key at the same time."""
        for lane in topics.LANES:
            await self._heard(0, lane, PACING.placement_s, "Nothing has moved")
        await self.put(record)

    async def put(self, record: RingRecord | PinRecord) -> None:
        """As `write`, of what moves nobody: no encoder worker is asked."""
        producer = Producer(self.settings.broker)
        await producer.start()
        try:
            output = Output(topics.placement(self.settings.prefix), record.key, record.to_bytes())
            if refused := await producer.send([output]):
                raise refused[0].error
            keep(self.settings, [output])
        finally:
            await producer.stop()
        await self._read()
        if not self._is_in_force(record):
            raise Unavailable(f"another command changed {record.key.decode()!r} at the same time: look at `headrace "
                              "cell list`, then run this one again")

    async def _read(self) -> None:
        self.placement = (await placements_of(self.settings))[self.ring.name]

    def _is_in_force(self, record: RingRecord | PinRecord) -> bool:
        placement = self.placement
        if isinstance(record, RingRecord):
            return (placement.shares, placement.former_shares) == (record.now, record.former)
        return placement.pins.get(record.tenant, PinRecord(self.ring.name, record.tenant, "")) == record

    async def share(self, now: Shares) -> None:
        """These are the ring's shares from now on."""
        former = (*self.placement.former_shares, self.placement.shares)
        await self.write(RingRecord(self.ring.name, now, tuple(one for one in former if one != now)))

    async def pin(self, tenant: str, cell: str) -> None:
        """A tenant lives in that cell from now on; empty: where the shares put it."""
        before, old = self.placement.cell_of(tenant), self.placement.pins.get(tenant)
        unpinned = self.placement.shares.cell_of(tenant, self.placement.file_pin(tenant))
        former = {before, *(old.former if old else ())} - {cell or unpinned}
        await self.write(PinRecord(self.ring.name, tenant, cell, tuple(sorted(former))))

    async def settle_shares(self) -> None:
        """Wait until nothing waits where tenants were before the last changes of shares, and say so on the topic.

        Raises: Unavailable where a cell does not finish; the change holds, and the same command goes on.
        """
        now = self.placement.shares
        left: set[str] = set()
        for former in self.placement.former_shares:
            left |= former.left_for(now)
        await self._finished(sorted(left))
        await self._read()
        if self.placement.shares == now and self.placement.former_shares:  # else another command settles its own
            await self.write(RingRecord(self.ring.name, now))

    async def settle_pin(self, tenant: str) -> None:
        """As `settle_shares`, of a tenant's pin."""
        if (record := self.placement.pins.get(tenant)) is not None and record.former:
            await self._finished(record.former, tenant)
            await self._read()
            if self.placement.pins.get(tenant) == record:
                await self.write(replace(record, former=()))

    async def _finished(self, cells: list[str] | tuple[str, ...], tenant: str = "") -> None:
        """Until encoders have heard of the placements of now, and cells have finished what they hold then."""
        if not cells:
            return
        end = sum((await self.positions.ends(topics.placement(self.settings.prefix))).values())
        for lane in topics.LANES:
            await self._heard(end, lane, PACING.move_wait_s)
            for cell in cells:
                await self._drained(cell, lane, tenant)

    async def _heard(self, end: int, lane: topics.Lane, patience_s: float, so: str = HOLDS) -> None:
        """Until the encoder workers of a lane have heard of the placements below `end`, and finished what they had
        taken before: their commits say so."""
        prefix, ring = self.settings.prefix, self.ring.name
        group, topic = topics.encoder_group(prefix, ring, lane), topics.utterances(prefix, ring, lane)
        (state,) = await read_groups(self.settings.broker, {group: topic})
        if not state.members:
            return
        if self.settings.broker.kind == "embedded":  # which keeps no notes
            await asyncio.sleep(PACING.move_settle_s if end else 0.0)
            return

        async def behind() -> int:
            found = await self.positions.finished(group, topic)
            notes = [Work.from_note(one.note) for one in found.values()]
            return sum(note is None or note.placed < end for note in notes)

        what = (f"partitions of {topic} are read by encoder workers that have not heard of the placements of now: are "
                "they of this release, and do they run? `headrace status` tells")
        await self._until_none(behind, what, patience_s, so)

    async def _drained(self, cell: str, lane: topics.Lane, tenant: str) -> None:
        prefix, ring = self.settings.prefix, self.ring.name
        topic, group = topics.embeddings(prefix, ring, cell, lane), topics.head_group(prefix, ring, cell, lane)
        ends = await self.positions.ends(topic)
        if tenant and ends:
            number = partition_of(tenant.encode(), len(ends))
            ends = {number: ends[number]}

        async def waiting() -> int:
            found = await self.positions.finished(group, topic)
            return sum(max(0, end - found[n].position) for n, end in ends.items() if n in found)

        what = (f"records wait in {topic}: do head workers of cell {cell} run? `headrace status` tells; `python -m "
                f"head_worker --ring {ring} --cell {cell}` starts one")
        await self._until_none(waiting, what, PACING.move_wait_s)

    async def _until_none(
        self, left: Callable[[], Awaitable[int]], what: str, patience_s: float, so: str = HOLDS
    ) -> None:
        """Until `left()` is 0, saying how it gets less. Raises: Unavailable after so long without; `so` ends it."""
        least, moved_s, said_s = float("inf"), time.monotonic(), 0.0
        while count := await left():
            now_s = time.monotonic()
            if count < least:
                least, moved_s = count, now_s
            elif now_s - moved_s > patience_s:
                raise Unavailable(f"{count} {what}. {so}")
            if now_s - said_s > 1.0:
                said_s = now_s
                self.say(f"waiting: {count} {what.partition(':')[0]}")
            await asyncio.sleep(PACING.move_commit_s)


@asynccontextmanager
async def changes(settings: Settings, ring: Ring, say: Say = print) -> AsyncIterator[Changes]:
    """What changes the placements of a ring. Raises: Unavailable."""
    positions = Positions(settings.broker)
    try:
        placement = (await placements_of(settings))[ring.name]
        yield Changes(settings, ring, placement, positions, say)
    finally:
        await positions.stop()


async def begin(settings: Settings) -> dict[str, list[str]]:
    """Say on the topic that the cells of headrace.toml take tenants, for each ring of which nothing is said yet: a cell
    that comes into the file later takes none until `headrace cell add`. Returns ring → such cells."""
    found: Mapping[str, Placement] = await placements_of(settings)
    for name, placement in found.items():
        if not placement.is_told:
            async with changes(settings, settings.rings[name]) as one:
                await one.put(RingRecord(name, placement.shares))
    return {name: [cell for cell in settings.rings[name].cells if one.is_told and cell not in one.shares.weights]
            for name, one in found.items()}


def cell_in(ring: Ring, cell: str, path: str) -> None:
    """Raises: Misconfigured where headrace.toml does not describe the cell."""
    if cell not in ring.cells:
        raise Misconfigured(f"{path}: ring {ring.name!r} has no cell {cell!r}; known: {', '.join(ring.cells)}. Add the "
                            f"table [rings.{ring.name}.cells.{cell}] with its partitions first")
