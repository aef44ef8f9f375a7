"""A window of one tenant: what is counted of its predictions in a minute, an hour or a day. Pure arithmetic.

A window belongs to one partition of one topic. It knows the highest offset that it holds: a record at or below it is a
repeat. So a window is the same whenever the same records are read, however often and from wherever reading begins.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgpack

from topology.errors import MalformedRecord
from topology.pacing import PACING
from topology.wire import Prediction

STAGES = ("received", "encoded", "predicted", "all")  # each since the one before it; `all` since submitted
LIMITS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)  # the last bucket has no limit
OTHERS = "(others)"  # names above `PACING.insights_names` in a window, and made-up tenants
UNREADABLE = "(unreadable)"  # whose record cannot be told
MICRO = 1_000_000  # confidences are summed as whole millionths: the same sum in any order


@dataclass(frozen=True)
class Grain:
    """A size of windows. `file_s`: the time that one exported file covers, and that windows are dropped by; `kept_s`:
    how long after its end they are kept."""

    name: str
    seconds: int
    file_s: int
    kept_s: float

    def start_of(self, time_us: int) -> int:
        """When the window of a time begins, in seconds of the epoch."""
        return time_us // MICRO // self.seconds * self.seconds

    def is_over(self, start_s: int, now_s: float) -> bool:
        """Whether the window is not kept any more."""
        return start_s // self.file_s * self.file_s + self.file_s + self.kept_s <= now_s


GRAINS = {grain.name: grain for grain in (
    Grain("minute", 60, 3_600, PACING.insights_minutes_s),
    Grain("hour", 3_600, 86_400, PACING.insights_hours_s),
    Grain("day", 86_400, 86_400, PACING.insights_days_s),
)}


@dataclass(frozen=True, slots=True)
class Key:
    """Which window. `log`: counts how often the topic was made anew, its offsets beginning at 0 again."""

    partition: int
    log: int
    grain: str
    start_s: int
    tenant: str

    def to_bytes(self) -> bytes:
        """As the changelog has it."""
        packed: bytes = msgpack.packb([self.partition, self.log, self.grain, self.start_s, self.tenant])
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Key:
        """What `to_bytes` gave."""
        return cls(*msgpack.unpackb(data))

    @classmethod
    def is_known(cls, data: bytes) -> bool:
        """Whether it is a key of this release's form. One with more parts is another window."""
        return len(msgpack.unpackb(data)) == len(cls.__slots__)


@dataclass(frozen=True, slots=True)
class Said:
    """What a record says: a prediction, or an error (`code` is not empty)."""

    tenant: str
    time_us: int
    code: str = ""
    intent: str = ""
    version: str = ""
    confidence: float = 0.0
    out_of_scope: bool = False
    stages: Mapping[str, int] = field(default_factory=dict)


def said_by(prediction: Prediction, written_ms: int) -> Said:
    """What is counted of a prediction. Its time is when it was submitted; where that is unknown or in the future, when
    its record was written."""
    written_us = max(0, written_ms) * 1_000
    time_us = prediction.stages.get("submitted", 0) or prediction.submitted_us
    if not 0 < time_us <= written_us + PACING.insights_ahead_s * MICRO:
        time_us = written_us
    return Said(
        prediction.tenant, time_us, prediction.error, prediction.intent, prediction.head_version,
        prediction.confidence, prediction.out_of_scope, prediction.stages,
    )


def unreadable(written_ms: int) -> Said:
    """What is counted of a record that is no prediction."""
    return Said(UNREADABLE, max(0, written_ms) * 1_000, MalformedRecord.code)


@dataclass(slots=True)
class Window:
    """The counts. `intents` say nothing in minutes; `sure`: version → [predictions, their confidence in millionths].

    `partial`: records of its time were gone from the topic before they were counted.
    """

    offset: int = -1
    predictions: int = 0
    out_of_scope: int = 0
    partial: bool = False
    errors: dict[str, int] = field(default_factory=dict)
    intents: dict[str, int] = field(default_factory=dict)
    sure: dict[str, list[int]] = field(default_factory=dict)
    latency: dict[str, list[int]] = field(default_factory=dict)

    @property
    def utterances(self) -> int:
        """Predictions and errors."""
        return self.predictions + sum(self.errors.values())

    def add(self, said: Said, offset: int, with_intents: bool = True) -> bool:
        """Count one record; False where it is counted already."""
        if offset <= self.offset:
            return False
        self.offset = offset
        if said.code:
            code = _name(self.errors, said.code)
            self.errors[code] = self.errors.get(code, 0) + 1
            return True
        self.predictions += 1
        self.out_of_scope += said.out_of_scope
        if with_intents:
            intent = _name(self.intents, said.intent)
            self.intents[intent] = self.intents.get(intent, 0) + 1
        of_version = self.sure.setdefault(_name(self.sure, said.version), [0, 0])
        of_version[0] += 1
        of_version[1] += round(said.confidence * MICRO)
        for stage, ms in durations_ms(said.stages):
            self.latency.setdefault(stage, [0] * (len(LIMITS_MS) + 1))[bisect_left(LIMITS_MS, ms)] += 1
        return True

    def to_bytes(self) -> bytes:
        """As the changelog has it: the same bytes for the same records."""
        packed: bytes = msgpack.packb({
            "o": self.offset, "n": self.predictions, "x": self.out_of_scope, "p": self.partial, "e": self.errors,
            "i": self.intents, "s": self.sure, "l": self.latency,
        })
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Window:
        """What `to_bytes` gave: fields of later releases are left out, those that an earlier one lacks are empty."""
        body: dict[str, Any] = msgpack.unpackb(data)
        sure = {version: counts[:2] for version, counts in body.get("s", {}).items()}
        return cls(
            body["o"], body.get("n", 0), body.get("x", 0), body.get("p", False), body.get("e", {}), body.get("i", {}),
            sure, body.get("l", {}),
        )


def rank_of(value: bytes) -> tuple[int, int, int]:
    """Of two values of one window, or of one partition's position, the right one has the higher rank: it counts more
    records. A position of a topic made anew, or of counting anew, comes after those before it."""
    body = msgpack.unpackb(value)
    return body.get("g", 0), body.get("c", 0), body["o"]


def durations_ms(stages: Mapping[str, int]) -> Iterable[tuple[str, float]]:
    """(stage, how long it took) of the stages that were passed. Clocks of two machines may disagree: never below 0."""
    passed = [name for name in ("submitted", *STAGES[:-1]) if name in stages]
    for before, after in pairwise(passed):
        yield after, max(0, stages[after] - stages[before]) / 1_000
    if "submitted" in stages and "predicted" in stages:
        yield "all", max(0, stages["predicted"] - stages["submitted"]) / 1_000


def summed(windows: Iterable[Window]) -> Window:
    """All of them as one; its offset says nothing."""
    total = Window()
    for one in windows:
        total.predictions += one.predictions
        total.out_of_scope += one.out_of_scope
        total.partial |= one.partial
        for mine, others in ((total.errors, one.errors), (total.intents, one.intents)):
            for name, count in others.items():
                mine[name] = mine.get(name, 0) + count
        for lists, more in ((total.sure, one.sure), (total.latency, one.latency)):
            for name, counts in more.items():
                lists[name] = [a + b for a, b in zip(lists.get(name, [0] * len(counts)), counts, strict=True)]
    return total


def _name(known: Mapping[str, Any], name: str) -> str:
    return name if name in known or len(known) < PACING.insights_names else OTHERS
