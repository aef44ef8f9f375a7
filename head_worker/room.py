"""How many tenants with heads live in this worker's cell, and for how many there is room."""

from __future__ import annotations

from collections.abc import Callable

from topology.placement import Placement
from topology.registry import HeadRecord


class Room:
    """Hears of every registry record on its way to `apply`. Counted anew only where the placement has changed."""

    def __init__(self, placement: Placement, cell: str, apply: Callable[[str, str, HeadRecord | None], None]) -> None:
        self._placement, self._cell, self._apply = placement, cell, apply
        self._tenants: set[str] = set()  # of the ring, wherever they live
        self._here = 0
        self._version = -1  # of the placement that `_here` was counted by

    def apply(self, ring: str, tenant: str, record: HeadRecord | None) -> None:
        """A registry record; `None`: the tenant has no head any more."""
        if ring == self._placement.ring.name and (record is None) == (tenant in self._tenants):
            (self._tenants.discard if record is None else self._tenants.add)(tenant)
            if self._version == self._placement.version and self._lives_here(tenant):
                self._here += 1 if record is not None else -1
        self._apply(ring, tenant, record)

    def stats(self) -> dict[str, float]:
        """For Prometheus, when it asks. It may be called from another thread."""
        version = self._placement.version
        if self._version != version:
            self._here = sum(map(self._lives_here, list(self._tenants)))
            self._version = version
        of = self._placement.ring.cells.get(self._cell)
        return {"cell_heads": self._here, "cell_max_heads": of.max_heads if of else 0}

    def _lives_here(self, tenant: str) -> bool:
        # Not `Placement.cell_of`: a million tenants would push those out that it remembers.
        return self._placement.shares.cell_of(tenant, self._placement.pin(tenant)) == self._cell
