"""Reads the load of every consumer group, look after look: lag, ages, arrivals, workers, replays. It decides nothing.

One connection to Kafka tells it all: offsets, the first unread record's time, and what workers wrote in their commits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from infra.autoscale import signals_rates as rates
from infra.autoscale.signals_reading import GroupLag, PartitionLag, Reading, ReplayLag
from infra.autoscale.tiers import PartitionLoad, Role, Tier, tier_name
from infra.backfill.look import looks as jobs_of
from topology import topics
from topology.errors import BadRecord, Unavailable
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.groups import GroupReader, GroupState, asking
from topology.stream.process import now_us
from topology.topics import Lane

ENDED = ("done", "incomplete", "cancelled")

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """A consumer group that headrace.toml asks for, and whose workers it has."""

    role: Role
    ring: str
    cell: str
    lane: Lane
    group: str
    topic: str


def places(settings: Settings) -> Iterator[Place]:
    """Every group, live first, in the order of an utterance's journey."""
    prefix = settings.prefix
    for lane in topics.LANES:
        for ring in settings.rings.values():
            names = topics.encoder_group(prefix, ring.name, lane), topics.utterances(prefix, ring.name, lane)
            yield Place("encoder", ring.name, "", lane, *names)
            for cell in ring.cells:
                group, topic = (name(prefix, ring.name, cell, lane) for name in (topics.head_group, topics.embeddings))
                yield Place("head", ring.name, cell, lane, group, topic)


class Signals:
    """Looks at the groups of `settings`. The first look tells no rates: those need two."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._places = settings, list(places(settings))
        self._reader = GroupReader(settings.broker)
        self._looks: dict[str, list[rates.Look]] = defaultdict(list)

    async def look(self, replays: bool = False) -> Reading:
        """What is so now; within `pacing.status_s`. What the broker does not tell stands in `Reading.away`, and then
        there are no groups: old figures are never told as new ones. `replays`: those that have not ended too."""
        try:
            async with asking(self._settings.broker):
                await self._reader.start()
                states = await self._reader.read({one.group: one.topic for one in self._places})
        except Unavailable as error:
            await self._reader.stop()  # the next look connects anew, from the bootstrap addresses
            return Reading(time.time(), away=str(error))
        at_s, clock_s = now_us() / 1e6, time.monotonic()
        groups = [self._group(place, state, at_s, clock_s) for place, state in zip(self._places, states, strict=True)]
        return Reading(at_s, tuple(groups), tuple(await self._replays()) if replays else ())

    async def stop(self) -> None:
        """Disconnect; `look` connects anew."""
        await self._reader.stop()

    def _group(self, place: Place, state: GroupState, at_s: float, clock_s: float) -> GroupLag:
        same = self._looks[place.group] = rates.comparable([*self._looks[place.group], rates.Look(clock_s, state)])
        come, done, stuck = rates.arrivals(same), rates.finished(same), rates.stuck(same)
        partitions = tuple(
            PartitionLag(
                p.number, p.start, p.end, p.committed, p.lag,
                (max(0.0, at_s - p.oldest_ms / 1e3) if p.oldest_ms is not None else None) if p.lag else 0.0,
                come.get(p.number), done.get(p.number), p.number in stuck, p.owned,
            ) for p in state.partitions
        )
        return GroupLag(
            place.group, place.topic, place.role, place.ring, place.cell, place.lane, state.state, state.members,
            partitions, tuple(rates.workers(same)),
        )

    async def _replays(self) -> list[ReplayLag]:
        """Replays that have not ended, as far as the broker tells in time."""
        found: list[ReplayLag] = []
        try:
            async with asyncio.timeout(PACING.status_s):
                for told in await jobs_of(self._settings):
                    if told["state"] not in ENDED:
                        found.append(ReplayLag(told["id"], told["state"], _remaining(told)))
        except (TimeoutError, Unavailable, BadRecord) as error:
            log.warning("replays are left out of this look: %s", error or type(error).__name__)
        return found


def _remaining(told: dict[str, object]) -> int | None:
    """Records between the positions of a replay and its ends; None where an end is not known, as of files."""
    spans = [(one["end"], one["position"]) for one in told["partitions"]]  # type: ignore[attr-defined]
    left = [
        0 if position == "end" else max(0, end - position) for end, position in spans
        if isinstance(end, int) or position == "end"
    ]
    return sum(left) if len(left) == len(spans) else None


def tiers(settings: Settings, reading: Reading) -> list[Tier]:
    """What the decision takes: one tier for each ring's live encoders and each cell's live heads. Where the broker told
    nothing, tiers with `missing`."""
    told = {one.group: one for one in reading.groups}
    return [
        _tier(settings, place, told.get(place.group), reading) for place in places(settings) if place.lane == "live"
    ]


def _share(settings: Settings, place: Place, reading: Reading) -> float:
    """Of heads, the part of what its ring's encoders put out that comes to the cell: as it came lately, since tenants
    move and differ; where nothing came, by the weights of headrace.toml."""
    came = {one.cell: one.arrivals_per_s or 0.0 for one in reading.groups
            if (one.role, one.ring, one.lane) == ("head", place.ring, place.lane)}
    parts = came if sum(came.values()) else settings.rings[place.ring].weights
    return parts.get(place.cell, 0.0) / sum(parts.values()) if place.cell else 1.0


def _tier(settings: Settings, place: Place, seen: GroupLag | None, reading: Reading) -> Tier:
    ring = settings.rings[place.ring]
    of = ring.cells[place.cell] if place.cell else ring
    name, share = tier_name(place.role, place.ring, place.cell), _share(settings, place, reading)
    missing = reading.away or ("" if seen and seen.partitions else f"topic {place.topic} is not there")
    if seen is None or missing:
        return Tier(name, place.role, place.ring, place.cell, reading.at_s, share=share, work_per_record=None,
                    max_replicas=of.max_workers, missing=missing)
    loads = tuple(
        PartitionLoad(p.partition, p.lag, p.oldest_age_s, p.arrivals_per_s, p.stuck) for p in seen.partitions
    )
    is_encoder = place.role == "encoder"
    return Tier(
        name, place.role, place.ring, place.cell, reading.at_s, seen.members, loads, seen.arrivals_per_s,
        seen.true_tokens_per_s if is_encoder else seen.true_records_per_s,
        seen.tokens_per_record if is_encoder else 1.0, seen.busy_share, share, max_replicas=of.max_workers,
    )
