"""Two tiers in series under a trace, event by event, scaled by whatever decides. Seeded: same call, same figures.

What is left out: the network, Redis, and waits below the size of a parcel. Its ages are right to about a second.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from typing import Protocol

from infra.autoscale.stage import Speed, Stage
from infra.autoscale.tiers import Tier
from infra.autoscale.traces import HOUR, MINUTE, Parcel, Trace, arrivals

LATE_SHARE = 0.01  # a minute is missed when more than so many of its utterances were late
DRAIN_S = 600.0  # after the last arrival, for what waits; then it counts as late


class Scaler(Protocol):
    """Whatever decides: `every_s`, and how many replicas each tier should have, by name."""

    name: str
    every_s: float

    def decide(self, tiers: Sequence[Tier]) -> dict[str, int]:
        """Tier → replicas."""


@dataclass(frozen=True)
class System:
    """What is simulated. Times of one deployment; a trace may have another `start_s`."""

    encoder: Speed
    head: Speed
    partitions: int = 12
    tokens: float = 15.0
    start_s: float = 20.0
    rebalance_s: float = 3.0
    objective_s: float = 5.0
    parcels: int = 20_000


@dataclass(frozen=True)
class Outcome:
    """What came of one trace under one scaler. `turns`: changes of direction, of both tiers. `ages`: (second, age of
    the oldest that waits, encoders, heads), for a plot."""

    trace: str
    scaler: str
    missed_minutes: int
    minutes: int
    replica_hours: float
    turns: int
    changes: int
    p99_s: float
    worst_s: float
    lost: int
    ages: tuple[tuple[float, float, int, int], ...] = ()


class Simulation:
    """One run."""

    def __init__(self, system: System, trace: Trace, scaler: Scaler, parcels: Sequence[Parcel]) -> None:
        self.system, self.trace, self.scaler, self.parcels = system, trace, scaler, parcels
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.numbers = count()
        self.latencies: list[tuple[Parcel, float]] = []
        self.ages: list[tuple[float, float, int, int]] = []
        start_s = trace.start_s if trace.start_s is not None else system.start_s
        self.heads = Stage("head", system.partitions, system.head, 1.0, self.at, self._reply, start_s,
                           system.rebalance_s)
        self.encoders = Stage("encoder", system.partitions, system.encoder, system.tokens, self.at, self.heads.put,
                              start_s, system.rebalance_s)
        self.stages = (self.encoders, self.heads)
        self.poisoned = [one for one in trace.faults if one.kind == "poison"]

    def at(self, second: float, what: Callable[[float], None]) -> None:
        """Call `what` at that second."""
        heapq.heappush(self.events, (second, next(self.numbers), what))

    def run(self, start: dict[str, int]) -> Outcome:
        """The whole trace, begun with so many replicas by role."""
        for stage in self.stages:
            stage.order(start[stage.role], 0.0, at_once=True)
        for fault in self.trace.faults:
            self.at(fault.from_s, partial(self._break, fault.kind, fault.until_s))
            self.at(fault.until_s, self._heal)
        self.at(self.scaler.every_s, self._decide)
        end_s, arriving = self.trace.length_s + DRAIN_S, iter(self.parcels)
        coming = next(arriving, None)
        while self.events or coming:
            if coming is not None and (not self.events or coming.born_s <= self.events[0][0]):
                self.encoders.put(coming, coming.born_s)
                coming = next(arriving, None)
                continue
            second, _, what = heapq.heappop(self.events)
            if second > end_s or (coming is None and len(self.latencies) == len(self.parcels)
                                  and second > self.trace.length_s):
                break
            what(second)
        return self._outcome()

    def _decide(self, at_s: float) -> None:
        tiers = [stage.look(at_s) for stage in self.stages]
        self.ages.append((at_s, max(one.oldest_age_s or 0.0 for one in tiers), tiers[0].replicas, tiers[1].replicas))
        wanted = self.scaler.decide(tiers)
        for stage, tier in zip(self.stages, tiers, strict=True):
            stage.order(wanted[tier.name], at_s)
        self.at(at_s + self.scaler.every_s, self._decide)

    def _break(self, kind: str, until_s: float, at_s: float) -> None:
        for stage in self.stages:
            stage.away = stage.away or kind == "broker"
            if kind == "pause":
                stage.rebalance(at_s, until_s - at_s)
        if kind == "poison":
            self.encoders.stuck = 0

    def _heal(self, at_s: float) -> None:
        self.encoders.stuck = -1
        for stage in self.stages:
            if stage.away:
                stage.away = False
                stage.rebalance(at_s, stage.rebalance_s)
            stage.wake(at_s)

    def _reply(self, parcel: Parcel, at_s: float) -> None:
        self.latencies.append((parcel, at_s - parcel.born_s))

    def _counts(self, parcel: Parcel) -> bool:
        """Nobody can help a record on a partition that stands still: those count for no rival."""
        return not any(parcel.partitions[0] == 0 and one.from_s - 5 <= parcel.born_s < one.until_s
                       for one in self.poisoned)

    def _outcome(self) -> Outcome:
        late: dict[int, int] = {}
        whole: dict[int, int] = {}
        found = sorted(seconds for parcel, seconds in self.latencies if self._counts(parcel))
        done = {id(parcel): seconds for parcel, seconds in self.latencies}
        for parcel in self.parcels:
            if self._counts(parcel):
                minute = int(parcel.born_s // MINUTE)
                whole[minute] = whole.get(minute, 0) + 1
                late[minute] = late.get(minute, 0) + (done.get(id(parcel), DRAIN_S) > self.system.objective_s)
        lines = [self._ordered(stage) for stage in self.stages]
        return Outcome(
            self.trace.name, self.scaler.name, sum(late[m] > LATE_SHARE * whole[m] for m in whole), len(whole),
            sum(hours for hours, _, _ in lines), sum(turns for _, turns, _ in lines), sum(n for _, _, n in lines),
            found[int(0.99 * (len(found) - 1))] if found else 0.0, found[-1] if found else 0.0,
            sum(one.utterances for one in self.parcels if id(one) not in done), tuple(self.ages),
        )

    def _ordered(self, stage: Stage) -> tuple[float, int, int]:
        """Replica-hours, changes of direction, changes of count, while traffic came."""
        line = [(second, n) for second, n in stage.orders if second < self.trace.length_s]
        ends = [*(second for second, _ in line[1:]), self.trace.length_s]
        hours = sum(n * (end - second) for (second, n), end in zip(line, ends, strict=True)) / HOUR
        ways = [new > old for (_, old), (_, new) in pairwise(line) if new != old]
        return hours, sum(one != other for one, other in pairwise(ways)), len(ways)


def simulate(system: System, trace: Trace, scaler: Scaler, seed: int, start: dict[str, int]) -> Outcome:
    """One trace under one scaler."""
    parcels = arrivals(trace, seed, system.partitions, system.tokens, system.parcels)
    return Simulation(system, trace, scaler, parcels).run(start)
