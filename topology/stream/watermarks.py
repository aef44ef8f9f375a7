"""How far each partition may be committed when work finishes out of order."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Hashable
from typing import Generic, TypeVar

PartitionT = TypeVar("PartitionT", bound=Hashable)


class Watermarks(Generic[PartitionT]):
    """The committed offset of a partition is its lowest unfinished one: nothing unfinished is ever skipped."""

    def __init__(self) -> None:
        self._started: dict[PartitionT, deque[int]] = {}
        self._unfinished: dict[PartitionT, set[int]] = {}
        self._reached: dict[PartitionT, int] = {}
        self._read: dict[PartitionT, int] = {}

    def start(self, partition: PartitionT, offset: int) -> None:
        """A record was read. Offsets come in a partition's order; gaps (markers, compaction) are fine."""
        self._started.setdefault(partition, deque()).append(offset)
        self._unfinished.setdefault(partition, set()).add(offset)
        self._read[partition] = offset + 1

    def finish(self, partition: PartitionT, offset: int) -> None:
        """A record's effects are acknowledged. A partition given up meanwhile is ignored, and so is a second time: a
        record that was given up and is read again may be finished by both."""
        started = self._started.get(partition)
        if started is None:
            return
        unfinished = self._unfinished[partition]
        unfinished.discard(offset)
        while started and started[0] not in unfinished:
            self._reached[partition] = started.popleft()

    def committable(self) -> dict[PartitionT, int]:
        """Partition → the next offset to read after a crash, where any record has been finished."""
        return {partition: offset + 1 for partition, offset in self._reached.items()}

    def read(self) -> dict[PartitionT, int]:
        """Partition → the offset after the last record that was read of it."""
        return dict(self._read)

    def last_begun(self, partition: PartitionT, waiting: Container[int]) -> int:
        """The last offset that was read and is not among those `waiting`; -1 where there is none."""
        started = reversed(self._started.get(partition, ()))
        return next((offset for offset in started if offset not in waiting), self._reached.get(partition, -1))

    @property
    def unfinished(self) -> int:
        """How many records were read and are not finished."""
        return sum(map(len, self._unfinished.values()))

    def clear(self) -> None:
        """Every partition was given up."""
        self._started.clear()
        self._unfinished.clear()
        self._reached.clear()
        self._read.clear()
