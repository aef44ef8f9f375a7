"""Traffic over time, and what breaks meanwhile: made up by name, or read from a CSV."""

from __future__ import annotations

import csv
import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from topology.errors import Misconfigured

MINUTE, HOUR = 60.0, 3_600.0
MAX_LENGTH_S = 7 * 24 * HOUR


@dataclass(frozen=True)
class Fault:
    """What is wrong from `from_s` until `until_s`. broker: nothing is read, written or measured. pause: the groups
    rebalance all the time. poison: encoder partition 0 stands still. hot: half of the utterances have one tenant."""

    kind: Literal["broker", "pause", "poison", "hot"]
    from_s: float
    until_s: float


@dataclass(frozen=True)
class Trace:
    """`points`: (second, utterances a second), straight between them. `backlog`: utterances that wait at the start.
    `start_s`: how long a worker takes to start, where it is not the usual."""

    name: str
    about: str
    points: tuple[tuple[float, float], ...]
    faults: tuple[Fault, ...] = ()
    backlog: int = 0
    start_s: float | None = None

    @property
    def length_s(self) -> float:
        """From second 0 to the last point."""
        return self.points[-1][0]

    def rate(self, second: float) -> float:
        """Utterances a second at that second."""
        after = bisect_right(self.points, second, key=lambda point: point[0])
        if after == 0 or after == len(self.points):
            return self.points[min(after, len(self.points) - 1)][1]
        (left, low), (right, high) = self.points[after - 1], self.points[after]
        return low + (high - low) * (second - left) / (right - left)

    @property
    def mean(self) -> float:
        """Utterances a second over the whole of it, the backlog at its start included."""
        area = sum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(self.points))
        return (area + self.backlog) / self.length_s

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max(rate for _, rate in self.points)


def _steps(*parts: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """(seconds, rate) one after another, each constant."""
    points, now = [], 0.0
    for length, rate in parts:
        points += [(now, rate), (now + length - 1e-3, rate)]
        now += length
    return (*points[:-1], (now, parts[-1][1]))


def synthetic(rate: float, length_s: float = HOUR) -> tuple[Trace, ...]:
    """The traces that are made up, each of `length_s`, around `rate` utterances a second."""
    part = length_s / 12
    steady = _steps((length_s, 2 * rate))
    day = tuple((length_s * n / 96, rate * (1 + 1.5 * math.sin(math.pi * max(0.0, (n % 96 - 28) / 68)) ** 2))
                for n in range(97))
    return (
        Trace("step", "a step to 4 x and back", _steps((3 * part, rate), (5 * part, 4 * rate), (4 * part, rate))),
        Trace("ramp", "a slow rise to 4 x and a fall",
              ((0, rate), (2 * part, rate), (6 * part, 4 * rate), (8 * part, 4 * rate), (10 * part, rate),
               (length_s, rate))),
        Trace("day", "a day's curve, in the length given", day),
        Trace("flash crowd", "10 x within 10 s, for ten minutes",
              ((0, rate), (3 * part, rate), (3 * part + 10, 10 * rate), (5 * part, 10 * rate),
               (5 * part + 60, rate), (length_s, rate))),
        Trace("cold start", "one worker, a backlog, full traffic; starts take a minute", steady,
              backlog=int(60 * rate), start_s=60.0),
        Trace("broker lost", "the brokers are away for 3 minutes", steady,
              (Fault("broker", 4 * part, 4 * part + 180),)),
        Trace("poison", "a partition stands still for a third of the time", steady,
              (Fault("poison", 4 * part, 8 * part),)),
        Trace("rebalance pause", "a rebalance takes 40 s", steady, (Fault("pause", 4 * part, 4 * part + 40),)),
        Trace("hot tenant", "one tenant has half of the traffic for a third of the time", steady,
              (Fault("hot", 4 * part, 8 * part),)),
    )


def read_csv(place: Path) -> Trace:
    """A trace of one's own: lines of `seconds,utterances a second`, a heading if wanted. Times count from the first.

    Raises: Misconfigured, naming the line.
    """
    points: list[tuple[float, float]] = []
    try:
        lines = place.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{place}: cannot be read ({error})") from error
    for number, row in enumerate(csv.reader(lines), 1):
        if not row or not "".join(row).strip() or row[0].lstrip().startswith("#"):
            continue
        point = _point(row)
        if point is None:
            if not points and number == 1:  # a heading
                continue
            raise Misconfigured(f"{place}:{number}: two numbers of 0 or more are wanted: seconds, utterances a second")
        if points and point[0] <= points[-1][0]:
            raise Misconfigured(f"{place}:{number}: {point[0]:g} s is not after {points[-1][0]:g} s")
        points.append(point)
    if len(points) < 2 or not 0 < points[-1][0] - points[0][0] <= MAX_LENGTH_S:
        raise Misconfigured(f"{place}: two lines or more of seconds,utterances a second are wanted, 7 days at most")
    begin = points[0][0]
    return Trace(place.stem, f"from {place.name}", tuple((second - begin, rate) for second, rate in points))


def _point(row: Sequence[str]) -> tuple[float, float] | None:
    try:
        second, rate = float(row[0]), float(row[1])
    except (ValueError, IndexError):
        return None
    return (second, rate) if 0 <= second < math.inf and 0 <= rate < math.inf else None


@dataclass(frozen=True, slots=True)
class Parcel:
    """Utterances that arrive together and stay together: what the simulator moves. `tokens`: of all of them."""

    born_s: float
    utterances: int
    tokens: float
    partitions: tuple[int, int]  # of the encoders' topic, of the heads'


def arrivals(trace: Trace, seed: int, partitions: int, tokens: float, most: int) -> list[Parcel]:
    """What arrives, by time: bursty (a tenth up and down each second), tenants of unequal size, at most about `most`
    parcels. The same for every rival."""
    dice = random.Random(f"{trace.name} {seed}")
    size = max(1, math.ceil(trace.mean * trace.length_s / most))
    tenants = [dice.randrange(partitions) for _ in range(300)]
    weights = [1 / (rank + 10) for rank in range(len(tenants))]  # the largest has 3 %
    heads = iter(dice.choices(tenants, weights, k=2 * most + trace.backlog // size + 1_000))
    found = [_parcel(dice, 0.0, size, tokens, partitions, next(heads)) for _ in range(trace.backlog // size)]
    owed = 0.0
    for second in range(int(trace.length_s)):
        owed += trace.rate(second + 0.5) * max(0.0, dice.gauss(1.0, 0.1))
        hot = any(one.kind == "hot" and one.from_s <= second < one.until_s for one in trace.faults)
        count, owed = int(owed // size), owed % size
        for offset in sorted(dice.random() for _ in range(count)):
            tenant = next(heads)
            found.append(_parcel(dice, second + offset, size, tokens, partitions,
                                 0 if hot and dice.random() < 0.5 else tenant))
    return found


def _parcel(dice: random.Random, at_s: float, size: int, tokens: float, partitions: int, head: int) -> Parcel:
    spread = max(0.2, dice.gauss(1.0, 0.5 / math.sqrt(size)))  # lengths differ; a mean over many differs less
    return Parcel(at_s, size, size * tokens * spread, (dice.randrange(partitions), head))
