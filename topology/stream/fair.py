"""Records that wait, a queue for each tenant, taken in turn: who sends much waits behind himself, not before others.

Round robin over the tenants that have something waiting (fair queueing, Nagle 1987).
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import chain, takewhile

from topology.stream.records import Record


class FairQueue:
    """First in, first out within a tenant; one record a turn between tenants.

    A tenant is held while records of it that were taken are to come back: the others must not overtake them.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Record]] = OrderedDict()
        self._held: Counter[str] = Counter()
        self._set_aside: dict[str, deque[Record]] = {}  # of tenants that are held
        self._count = 0
        self.nbytes = 0  # of the records' values

    def __len__(self) -> int:
        return self._count

    @property
    def ready(self) -> bool:
        """Whether any record may be taken."""
        return bool(self._queues)

    def waiting(self, tenant: str) -> int:
        """How many records of `tenant` wait."""
        return len(self._queues.get(tenant, ())) + len(self._set_aside.get(tenant, ()))

    def push(self, tenant: str, record: Record) -> None:
        """A record at the end of its tenant's queue."""
        queues = self._set_aside if tenant in self._held else self._queues
        queues.setdefault(tenant, deque()).append(record)
        self._count += 1
        self.nbytes += len(record.value or b"")

    def hold(self, tenant: str) -> None:
        """A record of `tenant` that was taken is to come back: until then none of its others is given out."""
        self._held[tenant] += 1
        if tenant in self._queues:
            self._set_aside[tenant] = self._queues.pop(tenant)

    def give_back(self, tenant: str, record: Record) -> None:
        """It comes back, before those of its partition that came after it. After the last, the tenant's turn is
        next."""
        queue = self._set_aside.setdefault(tenant, deque())
        queue.insert(sum(1 for _ in takewhile(lambda one: _precedes(one, record), queue)), record)
        self._count += 1
        self.nbytes += len(record.value or b"")
        self._held[tenant] -= 1
        if self._held[tenant] <= 0:
            del self._held[tenant]
            self._queues[tenant] = self._set_aside.pop(tenant)
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
        """All that may be taken, tenant by tenant."""
        return chain.from_iterable(self._queues.values())

    def keep(self, kept: Iterable[Record]) -> None:
        """Forget all but those, which come in the given order, whoever's they are. Who is held stays held."""
        for queues in (self._queues, self._set_aside):
            queues.clear()
        self._count = self.nbytes = 0
        for record in kept:
            self.push("", record)

    def clear(self) -> None:
        """Forget all."""
        for queues in (self._queues, self._set_aside, self._held):
            queues.clear()
        self._count = self.nbytes = 0


def _precedes(one: Record, other: Record) -> bool:
    return (one.topic, one.partition) == (other.topic, other.partition) and one.offset < other.offset
