"""When a tenant's records may go to its new cell: once its former cells have finished what they were sent.

A fence is put up in a former cell: where its topic ends, read after everything that this process sent there is
acknowledged. It is passed, partition by partition, when the cell's head workers have committed up to it: then every
record below it has its reply and its result.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from topology.errors import HeadraceError
from topology.pacing import PACING
from topology.stream.delivery import Progress
from topology.stream.positions import Positions
from topology.stream.producer import partition_of

log = logging.getLogger(__name__)
Place = tuple[int, int]  # partition and offset of the record that an output came of


class InFlight:
    """Outputs that are decided for a cell and not acknowledged yet."""

    def __init__(self) -> None:
        self._cells: dict[Place, str] = {}
        self._progress = Progress()

    def add(self, place: Place, cell: str) -> None:
        """An output of that record goes to that cell."""
        self._cells[place] = cell

    def cell_of(self, place: Place) -> str:
        """The cell that was decided; empty where none was."""
        return self._cells.get(place, "")

    def discard(self, place: Place) -> None:
        """It is acknowledged, or there is none."""
        if self._cells.pop(place, None) is not None:
            self._progress.made()

    async def finished(self, cell: str) -> None:
        """Until what is in flight to a cell now is acknowledged."""
        now = {place for place, one in self._cells.items() if one == cell}
        await self._progress.reaches(lambda: not any(place in self._cells for place in now))


class _Fence:
    """In one cell. `begun_s`: when it was asked for."""

    def __init__(self, begun_s: float) -> None:
        self.begun_s = begun_s
        self.task: asyncio.Task[None] | None = None
        self._ends: dict[int, int] | None = None  # of partitions that are not passed; None: not read yet
        self._count = 0
        self._over = False
        self._progress = Progress()

    def is_passed(self, tenant: str) -> bool:
        return self._over or (
            self._ends is not None and (not self._count or partition_of(tenant.encode(), self._count) not in self._ends)
        )

    async def passed(self, tenant: str) -> None:
        await self._progress.reaches(lambda: self.is_passed(tenant))

    async def pass_by(self, positions: Positions, topic: str, group: str) -> None:
        ends = await positions.ends(topic)
        self._count = len(ends)
        self._ends = {number: end for number, end in ends.items() if end}
        while self._ends:
            finished = await positions.finished(group, topic)
            self._ends = {n: end for n, end in self._ends.items() if n in finished and finished[n].position < end}
            self._progress.made()
            if self._ends:
                await asyncio.sleep(PACING.move_look_s)
        self.end()

    def end(self) -> None:
        self._over = True
        self._progress.made()


class Fences:
    """The fences of one encoder worker. `places`: the topic and the group of a cell."""

    def __init__(
        self, positions: Positions, in_flight: InFlight, places: Callable[[str], tuple[str, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._positions, self._in_flight, self._places, self._clock = positions, in_flight, places, clock
        self._newest: dict[str, _Fence] = {}
        self._passed: dict[tuple[str, str], float] = {}  # tenant and cell → when the fence that it passed was begun
        self.overdue = 0  # fences that were not passed within `pacing.move_hold_s`

    def is_passed(self, tenant: str, cell: str, since_s: float) -> bool:
        """Whether a cell has finished what it was sent of a tenant until `since_s`, at least."""
        if self._passed.get((tenant, cell), float("-inf")) >= since_s:
            return True
        fence = self._fence(cell, since_s)
        if fence.is_passed(tenant):
            self._passed[tenant, cell] = fence.begun_s
        return fence.is_passed(tenant)

    async def passed(self, tenant: str, cell: str, since_s: float) -> None:
        """Until `is_passed`; at most about `pacing.move_hold_s`."""
        fence = self._fence(cell, since_s)
        await fence.passed(tenant)
        self._passed[tenant, cell] = max(fence.begun_s, self._passed.get((tenant, cell), float("-inf")))

    def forget(self) -> None:
        """Nobody moves any more."""
        if self._passed or self._newest:
            self._passed.clear()
            self._newest.clear()

    def _fence(self, cell: str, since_s: float) -> _Fence:
        fence = self._newest.get(cell)
        if fence is None or fence.begun_s < since_s:
            fence = self._newest[cell] = _Fence(self._clock())
            fence.task = asyncio.create_task(self._watch(fence, cell))
        return fence

    async def _watch(self, fence: _Fence, cell: str) -> None:
        try:
            async with asyncio.timeout(PACING.move_hold_s):
                await self._in_flight.finished(cell)
                await fence.pass_by(self._positions, *self._places(cell))
        except (TimeoutError, HeadraceError) as error:
            self.overdue += 1
            log.warning("cell %s has not finished within %g s what it was sent: records of tenants that left it are no "
                        "longer held back, and may overtake those before them (%s)", cell, PACING.move_hold_s,
                        error or "its head workers are behind, or away")
        finally:
            fence.end()

    async def stop(self) -> None:
        """Disconnect."""
        for task in [fence.task for fence in self._newest.values() if fence.task]:
            task.cancel()
        await self._positions.stop()
