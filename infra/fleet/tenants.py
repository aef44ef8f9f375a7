"""What `headrace tenant` does: where a tenant lives, and having it live elsewhere."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from infra.fleet.census import tenants_with_heads
from infra.fleet.changes import Say, changes
from topology import topics
from topology.errors import Misconfigured, Unavailable
from topology.names import fault_of_name
from topology.placement import Placement
from topology.settings import Ring, Settings
from topology.stream.groups import read_groups
from topology.stream.placement import placements_of


@dataclass(frozen=True)
class Where:
    """Where a tenant lives. `why`: share, pinned (by a command), file (pinned in headrace.toml). `former`: cells where
    records of it may wait still."""

    ring: str
    tenant: str
    cell: str
    why: str
    former: tuple[str, ...] = ()
    has_head: bool = False


def where_of(placement: Placement, tenant: str, has_head: bool) -> Where:
    """Of one tenant, by what is known."""
    cell, pinned = placement.cell_of(tenant), placement.pins.get(tenant)
    why = "share" if placement.pin(tenant) != cell else "pinned" if pinned and pinned.cell else "file"
    return Where(placement.ring.name, tenant, cell, why, tuple(sorted(placement.former(tenant))), has_head)


async def find(settings: Settings, ring: Ring, tenant: str) -> Where:
    """Where a tenant lives. Raises: Misconfigured where it is no name, Unavailable."""
    check(tenant)
    placement = (await placements_of(settings))[ring.name]
    return where_of(placement, tenant, tenant in (await tenants_with_heads(settings))[ring.name])


async def list_tenants(settings: Settings, ring: Ring, cell: str = "") -> list[Where]:
    """The tenants that have heads or are pinned, of one cell or of all. Raises: Misconfigured, Unavailable."""
    placement = (await placements_of(settings))[ring.name]
    if cell and cell not in (known := {**ring.cells, **placement.shares.weights}):
        raise Misconfigured(f"ring {ring.name!r} has no cell {cell!r}; known: {', '.join(known)}")
    with_heads = (await tenants_with_heads(settings))[ring.name]
    of_file = {tenant for tenants in ring.pins.values() for tenant in tenants}
    tenants = sorted(with_heads | of_file | placement.pins.keys())
    found = [where_of(placement, one, one in with_heads) for one in tenants]
    return [one for one in found if cell in ("", one.cell)]


async def move(settings: Settings, ring: Ring, tenant: str, cell: str, wait: bool, say: Say) -> Where:
    """Pin a tenant to a cell (empty: to where it lives), and wait until its former cell has finished what it holds.

    Raises: Misconfigured, Unavailable.
    """
    check(tenant)
    async with changes(settings, ring, say) as one:
        before = one.placement.cell_of(tenant)
        cell = cell or before
        if cell not in one.placement.shares.taking:
            raise Misconfigured(f"cell {cell!r} of ring {ring.name!r} takes no tenants; those that do: "
                                f"{', '.join(one.placement.shares.taking)}. `headrace cell add {cell}` lets it")
        if cell != before:
            await _served(settings, ring, cell)
        pinned = one.placement.pins.get(tenant)
        if cell != before or pinned is None or pinned.cell != cell:
            await one.pin(tenant, cell)
            say(f"{ring.name}/{tenant}: {f'{before} -> {cell}' if cell != before else f'stays in {cell}'}")
        await _settle(one.settle_pin, tenant, wait, say)
        return where_of(one.placement, tenant, has_head=False)


async def unpin(settings: Settings, ring: Ring, tenant: str, wait: bool, say: Say) -> Where:
    """Let a tenant live where its ring's shares, or a pin in headrace.toml, put it. Raises: Misconfigured."""
    check(tenant)
    async with changes(settings, ring, say) as one:
        before, pinned = one.placement.cell_of(tenant), one.placement.pins.get(tenant)
        if pinned is None:
            raise Misconfigured(f"{ring.name}/{tenant} is pinned by no command: it lives in {before}"
                                + (" by headrace.toml" if one.placement.pin(tenant) else " by its ring's shares"))
        after = one.placement.shares.cell_of(tenant, one.placement.file_pin(tenant))
        if pinned.cell:
            if after != before:
                await _served(settings, ring, after)
            await one.pin(tenant, "")
            say(f"{ring.name}/{tenant}: {before} -> {after}")
        await _settle(one.settle_pin, tenant, wait, say)
        return where_of(one.placement, tenant, has_head=False)


async def _settle(settle: Callable[[str], Awaitable[None]], tenant: str, wait: bool, say: Say) -> None:
    if not wait:
        say("not waited for: the same command without --no-wait waits until the former cell has finished")
        return
    begun_s = time.monotonic()
    await settle(tenant)
    say(f"settled after {time.monotonic() - begun_s:.1f} s: no record of it waits elsewhere")


async def _served(settings: Settings, ring: Ring, cell: str) -> None:
    """Raises: Unavailable where no head worker reads a cell's topic."""
    group, topic = (name(settings.prefix, ring.name, cell) for name in (topics.head_group, topics.embeddings))
    (state,) = await read_groups(settings.broker, {group: topic})
    if not state.members:
        raise Unavailable(f"no head worker reads {topic}, so nothing has moved: start one with `python -m head_worker "
                          f"--ring {ring.name} --cell {cell}`")


def check(tenant: str) -> None:
    """Raises: Misconfigured where it is no name."""
    if fault := fault_of_name(tenant):
        raise Misconfigured(f"tenant: {fault}")
