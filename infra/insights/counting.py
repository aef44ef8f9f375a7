"""The counts of one cell: its Faust table, and the partitions of its topic that this process has now."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from infra.insights.ledger import Bounds, Partition, position_key
from infra.insights.table import Windows
from infra.insights.totals import Totals
from infra.insights.windows import GRAINS, Grain, Key, Window
from topology.errors import Unavailable
from topology.pacing import PACING, Pacing

log = logging.getLogger(__name__)


class Counting:
    """Counts records once each and writes what changed. `topic_id` asks which topic it is now."""

    def __init__(
        self, topic: str, table: Windows, topic_id: Callable[[], Awaitable[str]], pacing: Pacing = PACING
    ) -> None:
        self.topic, self.table, self.totals, self._pacing = topic, table, Totals(), pacing
        self._topic_id_now, self._topic_id = topic_id, ""
        self.tally: Counter[str] = Counter()
        self._partitions: dict[int, Partition] = {}
        self._taken: list[Any] = []  # Faust's events, to be acknowledged once their counts are written
        self._writing = asyncio.Lock()
        self.changed: set[tuple[str, int]] = set()  # (grain, start of a file) since the last export
        self.restored = asyncio.Event()

    def restore(self, bounds: Mapping[int, Bounds], held: set[int]) -> None:
        """Begin with these partitions where the changelog ends: what was counted and not written is read again. `held`:
        of the changelog, those that the table has."""
        self._taken.clear()
        self._topic_id = next((bound.topic_id for bound in bounds.values()), "")
        self.table.drop_but(held)
        self._partitions = {
            number: Partition(number, self.table.store, bound, self.tally, self._pacing)
            for number, bound in bounds.items()
        }
        self.changed = {_file_of(key) for key in map(Key.from_bytes, self.table.store) if key.grain in GRAINS}
        self.restored.set()
        for number, one in self._partitions.items():
            log.info("%s[%d]: counted up to offset %d", self.topic, number, one.position.offset)

    def revoke(self) -> None:
        """Nothing is this process's until the next `restore`: what comes of records on their way is not counted."""
        self._partitions = {}
        self._taken.clear()

    def position(self, partition: int) -> int | None:
        """The offset up to which everything is counted; None where the partition is not this process's."""
        one = self._partitions.get(partition)
        return None if one is None else one.position.offset

    def positions(self) -> Mapping[int, int]:
        """Of every partition that this process has."""
        return {number: one.position.offset for number, one in self._partitions.items()}

    async def take(self, event: Any) -> bool:
        """Count a record. False where one before it is missing: it is to be read again from there."""
        message = event.message
        one = self._partitions.get(message.partition)
        if one is None:
            return True  # of an assignment that is over
        if message.previous is None:
            return True  # fetched before a seek: it comes again
        if message.offset <= message.previous:  # the client began anew by itself: these are no offsets that it knew
            raise self._made_anew()
        if min(message.offset, message.previous) > one.position.offset:
            self.tally["read_again"] += 1
            return False
        said = one.count(message.offset, _milliseconds(message.timestamp), message.value)
        if said is not None:
            self.totals.add(said)
        self._taken.append(event)
        if len(self._taken) >= self._pacing.insights_pending:
            await self.write()
        return True

    async def write(self) -> None:
        """Write the windows that changed, then how far they are counted, then acknowledge the records.

        A crash between two steps repeats records that windows refuse. Raises: Unavailable.
        """
        async with self._writing:
            taken, self._taken = self._taken, []
            moved = {number: one for number, one in self._partitions.items() if one.moved}
            changes = self.table.take_overtaken()
            for one in moved.values():
                changes += one.changes()
                one.moved = False
            positions = [(position_key(number), one.position.to_bytes()) for number, one in moved.items()]
            try:
                async with asyncio.timeout(self._pacing.insights_write_s):
                    if changes and await self._topic_id_now() != self._topic_id:
                        raise self._made_anew()  # what was counted last may be of either
                    await self.table.write(changes)
                    self.table.store.update((key.to_bytes(), value) for key, value in positions)
                    await self.table.write(positions)
            except Unavailable:
                raise
            except Exception as error:  # whatever a producer raises: nothing is acknowledged, and all is read again
                raise Unavailable(f"counts of {self.topic} were not written: {error!r}") from error
            self.changed |= {_file_of(key) for key, _ in changes if key.grain in GRAINS}
            for event in taken:
                event.ack()

    def _made_anew(self) -> Unavailable:
        return Unavailable(f"topic {self.topic} was made anew: it is counted from its beginning")

    def windows(self, grain: Grain | None = None) -> Iterator[tuple[Key, Window]]:
        """Every window of this process's partitions as it is now, of one grain or of all."""
        fresh = {key: window for one in self._partitions.values() for key, window in one.windows()}
        yield from ((key, window) for key, window in fresh.items() if grain is None or key.grain == grain.name)
        for data, value in list(self.table.store.items()):
            key = Key.from_bytes(data)
            if key.grain in GRAINS and (grain is None or key.grain == grain.name) and key not in fresh:
                yield key, Window.from_bytes(value)

    async def drop_over(self) -> None:
        """Forget windows that are not kept any more, here and in the changelog. Raises: Unavailable."""
        keys = [Key.from_bytes(data) for data in self.table.store]
        over = [key for one in self._partitions.values() for key in one.over(keys)]
        for key in over:
            self.table.store.pop(key.to_bytes(), None)
        try:
            async with asyncio.timeout(self._pacing.insights_write_s):
                await self.table.write([(key, None) for key in over])
        except Exception as error:
            raise Unavailable(f"windows of {self.topic} were not dropped: {error!r}") from error


def _file_of(key: Key) -> tuple[str, int]:
    grain = GRAINS[key.grain]
    return key.grain, key.start_s // grain.file_s * grain.file_s


def _milliseconds(timestamp_s: float | None) -> int:
    return 0 if timestamp_s is None else round(timestamp_s * 1e3)
