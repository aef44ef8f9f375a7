"""What `headrace cell` does: a cell takes its share, gives it up, and tells how full it is."""

from __future__ import annotations

import asyncio
import time
from copy import copy
from dataclasses import dataclass, replace

from infra.counted import counted
from infra.fleet.census import alarm, by_cell, moves, tenants_with_heads
from infra.fleet.changes import Changes, Say, cell_in, changes
from topology import topics
from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.placement import Placement, RingRecord, Shares
from topology.settings import Ring, Settings
from topology.stream.admin import apply_topics, grow_topics
from topology.stream.groups import GroupState, read_groups
from topology.stream.placement import placements_of


@dataclass(frozen=True)
class CellState:
    """One cell. `state`: active, draining, or waiting (headrace.toml describes it, and it takes no tenants yet).
    `share`: 0..1 of the ring's tenants. `heads`: tenants that live in it and have heads. `lag`: records that wait;
    None where the topic is missing. `settled`: nothing of a former cell is waited for. `alarm`: empty where all is
    well."""

    ring: str
    cell: str
    state: str
    weight: float
    share: float
    heads: int
    max_heads: int
    partitions: int
    lag: int | None
    members: int
    settled: bool
    alarm: str


async def list_cells(settings: Settings) -> list[CellState]:
    """Every cell of headrace.toml and of the placements. Raises: Unavailable."""
    placements, heads = await placements_of(settings), await tenants_with_heads(settings)
    names = {(ring, cell): topics.head_group(settings.prefix, ring, cell)
             for ring, one in placements.items() for cell in {**settings.rings[ring].cells, **one.shares.weights}}
    groups = {group: topics.embeddings(settings.prefix, *name) for name, group in names.items()}
    states = {one.name: one for one in await read_groups(settings.broker, groups)}
    found = []
    for ring, placement in placements.items():
        counts = by_cell(placement, heads[ring])
        cells = [cell for of, cell in names if of == ring]
        found += [_state(settings.rings[ring], cell, placement, counts, states[names[ring, cell]]) for cell in cells]
    return found


def _state(ring: Ring, cell: str, placement: Placement, counts: dict[str, int], group: GroupState) -> CellState:
    shares, heads, of = placement.shares, counts.get(cell, 0), ring.cells.get(cell)
    state = "draining" if cell in shares.draining else "active" if cell in shares.weights else "waiting"
    told = alarm(ring, cell, heads)
    if of is None and state == "active":
        told = (f"cell {ring.name}/{cell} takes tenants and is not in headrace.toml: add it to the file, or `headrace "
                f"cell drain {cell}`")
    return CellState(
        ring.name, cell, state, shares.weights.get(cell, of.weight if of else 0.0), shares.share(cell), heads,
        of.max_heads if of else 0, len(group.partitions), group.lag if group.partitions else None, group.members,
        not placement.former_shares, told,
    )


async def add_cell(settings: Settings, ring: Ring, cell: str, wait_s: float, path: str, say: Say) -> None:
    """Make a cell of headrace.toml ready, and let it take its share. Under way already, it goes on.

    Raises: Misconfigured, Unavailable.
    """
    cell_in(ring, cell, path)
    async with changes(settings, ring, say) as one:
        await _topics(one, cell)
        await _member(settings, ring, cell, wait_s, say)
        weight, before = ring.cells[cell].weight, one.placement.shares
        if not one.placement.is_told:  # encoder workers go by their headrace.toml, in which it may stand already
            weights = {name: of for name, of in before.weights.items() if name != cell}
            before = Shares(weights) if weights else before
        now = Shares({**before.weights, cell: weight}, before.draining - {cell})
        if now != before or not one.placement.is_told:
            await _say_moves(settings, ring, one.placement, before, now, say)
            former = tuple(f for f in (*one.placement.former_shares, before) if f != now)
            await one.write(RingRecord(ring.name, now, former))
        await _settled(one, say)
    say(f"cell {cell} of ring {ring.name} takes {now.share(cell):.1%} of its tenants")


async def drain_cell(settings: Settings, ring: Ring, cell: str, path: str, say: Say) -> None:
    """Give a cell's tenants, pinned ones too, to the other cells, and wait until nothing waits in it.

    Raises: Misconfigured, Unavailable.
    """
    async with changes(settings, ring, say) as one:
        before = one.placement.shares
        if cell not in before.weights:
            raise Misconfigured(f"{path}: cell {cell!r} of ring {ring.name!r} takes no tenants; those that do: "
                                f"{', '.join(before.taking)}")
        now = replace(before, draining=before.draining | {cell})
        if not now.taking:
            raise Misconfigured(f"{path}: {cell!r} is the last cell of ring {ring.name!r}: its tenants would have "
                                "none. `headrace cell add` another first")
        for other in now.taking:
            await _member(settings, ring, other, PACING.status_s, say)
        if now != before:
            await _say_moves(settings, ring, one.placement, before, now, say)
            await one.share(now)
        await _settled(one, say)
    say(f"cell {cell} of ring {ring.name} is drained: nothing waits in it, and nothing comes. Its head workers may be "
        f"stopped, and [rings.{ring.name}.cells.{cell}] removed from headrace.toml; its topics may be deleted when "
        "their results were read")


async def _settled(one: Changes, say: Say) -> None:
    begun_s = time.monotonic()
    await one.settle_shares()
    say(f"settled after {time.monotonic() - begun_s:.1f} s: former cells have finished what they held")


async def _topics(of: Changes, cell: str) -> None:
    """Create what a cell needs. Topics with fewer partitions than wanted grow where the cell takes no tenants and
    nothing waits in it: then no record of a key is overtaken."""
    settings, ring, shares = of.settings, of.ring, of.placement.shares
    prefix = f"{settings.prefix}.{ring.name}.{cell}."
    specs = [spec for spec in topics.wanted(settings) if spec.name.startswith(prefix)]
    reports = await apply_topics(settings, specs)
    of.say(f"topics: {sum(one.created for one in reports)} created, {sum(not one.created for one in reports)} there")
    takes_none = of.placement.is_told and cell not in shares.taking and not of.placement.former_shares
    if takes_none and any(one.differences for one in reports if not one.created) and await _is_empty(of, cell):
        grown = await grow_topics(settings, specs)
        for name in grown:
            of.say(f"  {name}: grown")
        if grown:  # a producer that has not heard of it would send a key to its former partition
            of.say(f"waiting {PACING.metadata_max_age_s:.0f} s, until all workers know of the new partitions")
            await asyncio.sleep(PACING.metadata_max_age_s)
        reports = await apply_topics(settings, specs, create=False)
    for one in reports:
        for difference in one.differences:
            of.say(f"  {one.name}: {difference}")


async def _is_empty(of: Changes, cell: str) -> bool:
    prefix, ring = of.settings.prefix, of.ring.name
    groups = {topics.head_group(prefix, ring, cell, lane): topics.embeddings(prefix, ring, cell, lane)
              for lane in topics.LANES}
    return not any(one.lag for one in await read_groups(of.settings.broker, groups))


async def _member(settings: Settings, ring: Ring, cell: str, wait_s: float, say: Say) -> None:
    """Until a head worker reads the cell's topic. Raises: Unavailable."""
    group = topics.head_group(settings.prefix, ring.name, cell)
    topic, until_s, said = topics.embeddings(settings.prefix, ring.name, cell), time.monotonic() + wait_s, False
    start = f"python -m head_worker --ring {ring.name} --cell {cell}"
    while True:
        (state,) = await read_groups(settings.broker, {group: topic})
        owned = [one for one in state.partitions if one.owned or one.owned is None]
        if state.members and state.state == "Stable" and len(owned) == len(state.partitions):
            return
        if time.monotonic() >= until_s:
            raise Unavailable(f"no head worker reads all of {topic} ({state.state}, {state.members} members): nothing "
                              f"has moved. Start one with `{start}`, or `headrace up`, and run this again")
        if not said:
            say(f"waiting up to {wait_s:.0f} s for a head worker of cell {cell}: `{start}`")
            said = True
        await asyncio.sleep(PACING.sign_on_pause_s)


async def _say_moves(
    settings: Settings, ring: Ring, placement: Placement, before: Shares, now: Shares, say: Say
) -> None:
    tenants = (await tenants_with_heads(settings))[ring.name]
    was, after = copy(placement), copy(placement)
    for one, shares in ((was, before), (after, now)):
        one.reckon(shares)
    found = moves(was, after, tenants)
    say(f"{sum(found.values())} of {counted(len(tenants), 'tenant')} with heads to move" + "".join(
        f"; {count} from {source} to {target}" for (source, target), count in sorted(found.items())
    ))
