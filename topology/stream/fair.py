"""Records that wait, a queue for each tenant, taken in turn: who sends much waits behind himself, not before others.

Round robin over the tenants that have something waiting (fair queueing, Nagle 1987).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import chain

from topology.stream.records import Record


class FairQueue:
    """First in, first out within a tenant; one record a turn between tenants."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Record]] = OrderedDict()
        self._count = 0
        self.nbytes = 0  # of the records' values

    def __len__(self) -> int:
        return self._count

    def waiting(self, tenant: str) -> int:
        """How many records of `tenant` wait."""
        return len(self._queues.get(tenant, ()))

    def push(self, tenant: str, record: Record) -> None:
        """A record at the end of its tenant's queue."""
        self._queues.setdefault(tenant, deque()).append(record)
        self._count += 1
        self.nbytes += len(record.value or b"")

    def push_first(self, tenant: str, record: Record) -> None:
        """A record that has waited already, before all others: its tenant's turn is next."""
        self._queues.setdefault(tenant, deque()).appendleft(record)
        self._count += 1
        self.nbytes += len(record.value or b"")
        self._queues.move_to_end(tenant, last=False)

    def take(self, count: int) -> list[Record]:
        """At most `count` records, a turn after the other."""
        taken: list[Record] = []
        while self._queues and len(taken) < count:
            tenant, queue = self._queues.popitem(last=False)
            taken.append(queue.popleft())
            if queue:
                self._queues[tenant] = queue
        self._count -= len(taken)
        self.nbytes -= sum(len(record.value or b"") for record in taken)
        return taken

    def __iter__(self) -> Iterator[Record]:
        """All that wait, tenant by tenant."""
        return chain.from_iterable(self._queues.values())

    def keep(self, kept: Iterable[Record]) -> None:
        """Forget all but those, which come in the given order, whoever's they are."""
        self.clear()
        for record in kept:
            self.push("", record)

    def clear(self) -> None:
        """Forget all."""
        self._queues.clear()
        self._count = self.nbytes = 0
