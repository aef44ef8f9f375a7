"""Which tenants have heads, and in which cells: the registry beside the placements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from infra.counted import counted
from topology import topics
from topology.placement import Placement
from topology.registry import HeadRecord
from topology.settings import Ring, Settings
from topology.stream.registry import RegistryFollower

WARNED_AT = 0.8  # of `max_heads`: above it there is time to add a cell before it is full


async def tenants_with_heads(settings: Settings) -> dict[str, set[str]]:
    """Ring → tenants that have a head. Raises: Unavailable."""
    found: dict[str, set[str]] = {name: set() for name in settings.rings}

    def apply(ring: str, tenant: str, record: HeadRecord | None) -> None:
        tenants = found.setdefault(ring, set())
        (tenants.discard if record is None else tenants.add)(tenant)

    follower = RegistryFollower(settings.broker, topics.heads(settings.prefix), apply)
    try:
        await follower.start()
    finally:
        await follower.stop()
    return found


def by_cell(placement: Placement, tenants: Iterable[str]) -> dict[str, int]:
    """Cell → how many of `tenants` live in it."""
    return dict(Counter(placement.cell_of(tenant) for tenant in tenants))


def alarm(ring: Ring, cell: str, heads: int) -> str:
    """What is wrong with so many heads in a cell; empty where there is room."""
    of = ring.cells.get(cell)
    if of is None or heads < WARNED_AT * of.max_heads:
        return ""
    full = "is full" if heads >= of.max_heads else "is nearly full"
    return (f"cell {ring.name}/{cell} {full}: {counted(heads, 'tenant')} with heads of {of.max_heads:,} (max_heads): "
            "add a cell to headrace.toml, then `headrace cell add`")


def moves(placement: Placement, after: Placement, tenants: Iterable[str]) -> Mapping[tuple[str, str], int]:
    """(from, to) → how many of `tenants` live elsewhere after."""
    pairs = ((placement.cell_of(one), after.cell_of(one)) for one in tenants)
    return Counter(pair for pair in pairs if pair[0] != pair[1])
