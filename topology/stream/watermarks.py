"""How far each partition may be committed when work finishes out of order."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

PartitionT = TypeVar("PartitionT", bound=Hashable)


class Watermarks(Generic[PartitionT]):
    """The committed offset of a partition is its lowest unfinished one: nothing unfinished is ever skipped."""

    def __init__(self) -> None:
        self._started: dict[PartitionT, deque[int]] = {}
        self._finished: dict[PartitionT, set[int]] = {}
        self._reached: dict[PartitionT, int] = {}

    def start(self, partition: PartitionT, offset: int) -> None:
        """A record was read. Offsets come in a partition's order; gaps (markers, compaction) are fine."""
        self._started.setdefault(partition, deque()).append(offset)

    def finish(self, partition: PartitionT, offset: int) -> None:
        """A record's effects are acknowledged. A partition given up meanwhile is ignored."""
        started = self._started.get(partition)
        if started is None:
            return
        finished = self._finished.setdefault(partition, set())
        finished.add(offset)
        while started and started[0] in finished:
            self._reached[partition] = started.popleft()
            finished.discard(self._reached[partition])

    def committable(self) -> dict[PartitionT, int]:
        """Partition → the next offset to read after a crash, where any record has been finished."""
        return {partition: offset + 1 for partition, offset in self._reached.items()}

    @property
    def unfinished(self) -> int:
        """How many records were read and are not finished."""
        return sum(map(len, self._started.values())) - sum(map(len, self._finished.values()))

    def clear(self) -> None:
        """Every partition was given up."""
        self._started.clear()
        self._finished.clear()
        self._reached.clear()
