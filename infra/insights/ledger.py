"""Every window of one partition, counted from its records once each, whatever is read again. Pure: no Kafka, no Faust.

What makes it exact. (1) A window holds the highest offset that it counts, in the same value: it is never ahead of or
behind its own counts. (2) The position (everything up to it is counted) is written after the windows it speaks of are
acknowledged. (3) Reading begins at the position. So after a crash between two writes some windows are ahead of the
position: their records come again, and are repeats by (1). Where windows were lost (the changelog's beginning was
deleted), the position is given up and the topic is read from its beginning: windows that are left refuse their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace

import msgpack

from infra.insights.windows import GRAINS, OTHERS, UNREADABLE, Grain, Key, Said, Window, said_by, unreadable
from topology import wire
from topology.errors import MalformedRecord
from topology.pacing import PACING, Pacing

Change = tuple[Key, bytes | None]


@dataclass(frozen=True)
class Position:
    """How far a partition is counted. `time_ms`: the newest record's. `changelog_start`: where the changelog began when
    counting began. `log`: how often the topic was made anew. `whole_from_ms`: windows that begin before it may lack
    records that the topic had no more."""

    offset: int = -1
    time_ms: int = 0
    changelog_start: int = 0
    log: int = 0
    whole_from_ms: int = 0
    topic_id: str = ""

    def to_bytes(self) -> bytes:
        """As the changelog has it."""
        packed: bytes = msgpack.packb({
            "o": self.offset, "t": self.time_ms, "c": self.changelog_start, "g": self.log, "w": self.whole_from_ms,
            "i": self.topic_id,
        })
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Position:
        """What `to_bytes` gave, also in an earlier release, which may lack the last fields, or a later one."""
        body = msgpack.unpackb(data)
        time_ms, changelog_start, log, whole_from_ms = (body.get(name, 0) for name in "tcgw")
        return cls(body["o"], time_ms, changelog_start, log, whole_from_ms, body.get("i", ""))


def position_key(partition: int) -> Key:
    """Under which the position stands among the windows."""
    return Key(partition, 0, "position", 0, "")


@dataclass(frozen=True)
class Bounds:
    """What the broker has of a partition: where its changelog begins, where its topic begins and ends, and the topic's
    id (empty where the broker tells none)."""

    changelog_start: int = 0
    start: int = 0
    end: int = 0
    topic_id: str = ""


class Partition:
    """The windows of one partition. `store`: bytes of every window, of other partitions too: a Faust table's."""

    def __init__(
        self, number: int, store: MutableMapping[bytes, bytes], bounds: Bounds, tally: Counter[str],
        pacing: Pacing = PACING,
    ) -> None:
        """Begin where the store ends. `tally`: counts repeats and what came too late."""
        self._number, self._store, self._tally, self._pacing = number, store, tally, pacing
        self._changed: dict[Key, Window] = {}
        self._admitted = _admitted(store, number)
        self._unsure = False  # whether the topic's beginning is gone, until the first record tells since when
        self.position = self._begin(bounds)
        self.moved = False

    def _begin(self, bounds: Bounds) -> Position:
        found = self._store.get(position_key(self._number).to_bytes())
        known = Position.from_bytes(found) if found else Position(log=_newest_log(self._store, self._number))
        another = known.topic_id and bounds.topic_id and known.topic_id != bounds.topic_id
        if another or known.offset >= bounds.end:  # the topic was made anew: its offsets mean other records
            self._tally["topic_made_anew"] += 1
            known = Position(log=known.log + 1, changelog_start=known.changelog_start)
        elif known.changelog_start < bounds.changelog_start:
            self._tally["rebuilt"] += 1
            known = Position(log=known.log, changelog_start=bounds.changelog_start)
        known = replace(known, topic_id=bounds.topic_id or known.topic_id)
        if known.offset + 1 < bounds.start:  # retention was faster: what is between is not counted
            self._tally["records_lost"] += bounds.start - known.offset - 1 if known.offset >= 0 else 0
            self._unsure = True
            return replace(known, offset=bounds.start - 1)
        return known

    def count(self, offset: int, written_ms: int, value: bytes | None) -> Said | None:
        """Count a record of the topic. What it says, or None where it is a repeat."""
        if offset <= self.position.offset:
            self._tally["repeats"] += 1
            return None
        if self._unsure:
            self._unsure, self.position = False, replace(self.position, whole_from_ms=written_ms)
        self.position = replace(self.position, offset=offset, time_ms=max(written_ms, self.position.time_ms))
        self.moved = True
        try:
            said = said_by(wire.decode(wire.Prediction, value), written_ms)
        except MalformedRecord:
            said = unreadable(written_ms)
        said = self._with_row(said)
        counted = [self._counted(grain, said, offset) for grain in GRAINS.values()]
        if not any(counted):
            self._tally["repeats"] += 1
            return None
        return said

    def _counted(self, grain: Grain, said: Said, offset: int) -> bool:
        key = self._key(grain, said)
        if grain.is_over(key.start_s, self.position.time_ms / 1e3):
            self._tally["late"] += 1
            return False
        window = self._window(key) or Window(partial=key.start_s * 1_000 < self.position.whole_from_ms)
        if not window.add(said, offset, with_intents=grain.name != "minute"):
            return False
        self._changed[key] = window
        return True

    def _key(self, grain: Grain, said: Said) -> Key:
        return Key(self._number, self.position.log, grain.name, grain.start_of(said.time_us), said.tenant)

    def _window(self, key: Key) -> Window | None:
        if key in self._changed:
            return self._changed[key]
        data = self._store.get(key.to_bytes())
        return Window.from_bytes(data) if data else None

    def _with_row(self, said: Said) -> Said:
        """An error names any tenant that a client made up: beyond a bound those without a row in this day share one."""
        day = GRAINS["day"]
        key = self._key(day, said)
        if not said.code or self._window(key) is not None:
            return said
        if self._admitted[key.start_s] >= self._pacing.insights_tenants:
            self._tally["without_row"] += 1
            return replace(said, tenant=OTHERS)
        self._admitted[key.start_s] += 1
        return said

    def changes(self) -> list[Change]:
        """The windows that changed since the last call, put into the store: they are to be written now."""
        found: list[Change] = [(key, window.to_bytes()) for key, window in self._changed.items()]
        self._changed.clear()
        for key, value in found:
            if value is not None:
                self._store[key.to_bytes()] = value
        return found

    def over(self, keys: Iterable[Key]) -> Iterator[Key]:
        """Those of `keys` that are this partition's and not kept any more."""
        now_s = self.position.time_ms / 1e3
        for key in keys:
            if key.partition == self._number and key.grain in GRAINS and GRAINS[key.grain].is_over(key.start_s, now_s):
                yield key

    def windows(self) -> Iterator[tuple[Key, Window]]:
        """Those that are counted and not in the store yet."""
        yield from self._changed.items()


def _admitted(store: Mapping[bytes, bytes], partition: int) -> Counter[int]:
    """Day → rows in it that tenants with errors alone have opened."""
    found: Counter[int] = Counter()
    for data, value in store.items():
        key = Key.from_bytes(data)
        if key.partition == partition and key.grain == "day" and not Window.from_bytes(value).predictions:
            found[key.start_s] += 1
    return found


def _newest_log(store: Mapping[bytes, bytes], partition: int) -> int:
    """Of the windows that are left where the position was lost."""
    return max((key.log for key in map(Key.from_bytes, store) if key.partition == partition), default=0)


def is_tenant(name: str) -> bool:
    """Whether a row is a tenant's own."""
    return name not in (OTHERS, UNREADABLE)
