"""How many tenants with heads live in this worker's cell, and for how many there is room."""

from __future__ import annotations

import time
from collections.abc import Callable

from topology.pacing import PACING
from topology.placement import Placement
from topology.registry import HeadRecord


class Room:
    """Hears of every registry record on its way to `apply`. Counts anew only where the placement has changed, and then
    in pieces: a million tenants and 100 cells take 90 s of a core, which would stop the event loop's thread."""

    def __init__(self, placement: Placement, cell: str, apply: Callable[[str, str, HeadRecord | None], None]) -> None:
        self._placement, self._cell, self._apply = placement, cell, apply
        self._tenants: set[str] = set()  # of the ring, wherever they live
        self._here: set[str] = set()  # of them, those counted as living here
        self._uncounted: list[str] = []
        self._version = -1  # of the placement that `_here` is counted by

    def apply(self, ring: str, tenant: str, record: HeadRecord | None) -> None:
        """A registry record; `None`: the tenant has no head any more."""
        if ring == self._placement.ring.name:
            if record is None:  # out of `_tenants` first: see `_count`
                self._tenants.discard(tenant)
                self._here.discard(tenant)
            elif tenant not in self._tenants:
                self._tenants.add(tenant)
                if self._version == self._placement.version and self._lives_here(tenant):
                    self._here.add(tenant)
        self._apply(ring, tenant, record)

    def stats(self) -> dict[str, float]:
        """For Prometheus, when it asks; from another thread. Of tenants not counted yet it takes the cell's share."""
        if self._version != (version := self._placement.version):
            # In this order: a tenant that `apply` adds meanwhile is in the new list, or in the new set.
            self._here, self._version = set(), version
            self._uncounted = list(self._tenants)
        self._count()
        share = self._placement.shares.share(self._cell)
        of = self._placement.ring.cells.get(self._cell)
        return {"cell_heads": len(self._here) + round(share * len(self._uncounted)),
                "cell_max_heads": of.max_heads if of else 0}

    def _count(self) -> None:
        until_s = time.monotonic() + PACING.room_s
        while self._uncounted and time.monotonic() < until_s:
            tenant = self._uncounted.pop()
            if self._lives_here(tenant):
                self._here.add(tenant)
                if tenant not in self._tenants:  # `apply` has removed it, maybe before it was added here
                    self._here.discard(tenant)

    def _lives_here(self, tenant: str) -> bool:
        # Not `Placement.cell_of`: a million tenants would push those out that it remembers.
        return self._placement.shares.cell_of(tenant, self._placement.pin(tenant)) == self._cell
