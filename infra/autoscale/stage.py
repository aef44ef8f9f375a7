"""A simulated tier: partitions, workers that start, compute in batches and stop, and a group that stands still."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from infra.autoscale.tiers import PartitionLoad, Role, Tier, tier_name
from infra.autoscale.traces import Parcel
from topology.pacing import PACING

Schedule = Callable[[float, Callable[[float], None]], None]  # (when, what is called with that time)


@dataclass(frozen=True)
class Speed:
    """What one worker does: `work_per_s` tokens or records, `batch_s` once a batch of up to `batch` utterances."""

    work_per_s: float
    batch_s: float = 0.0
    batch: int = 16

    def takes(self, parcel: Parcel, work: float) -> float:
        """Seconds for one parcel."""
        return work / self.work_per_s + self.batch_s * -(-parcel.utterances // self.batch)


@dataclass(eq=False)
class Worker:
    """One of a tier's. `mine`: its partitions. It computes one parcel at a time."""

    mine: list[int] = field(default_factory=list)
    ready: bool = False
    gone: bool = False
    busy: bool = False


@dataclass
class Counted:
    """What a tier did since the last look."""

    arrived: list[int]
    done: int = 0
    work: float = 0.0
    busy_s: float = 0.0
    had_s: float = 0.0


class Stage:
    """One tier in series. `out` is called with every parcel that is done, and when."""

    def __init__(self, role: Role, partitions: int, speed: Speed, tokens: float, schedule: Schedule,
                 out: Callable[[Parcel, float], None], start_s: float, rebalance_s: float) -> None:
        self.role, self.speed, self.tokens = role, speed, tokens
        self.schedule, self.out = schedule, out
        self.start_s, self.rebalance_s = start_s, rebalance_s
        self.side = 0 if role == "encoder" else 1
        self.queues: list[deque[tuple[float, Parcel]]] = [deque() for _ in range(partitions)]
        self.computed: dict[int, tuple[float, Parcel]] = {}  # partition → since when it waited, what is computed
        self.owners: list[Worker | None] = [None] * partitions
        self.workers: list[Worker] = []
        self.still_until, self.stuck, self.away = 0.0, -1, False
        self.counted = Counted([0] * partitions)
        self.looks: deque[tuple[float, Counted]] = deque()
        self.rate: float | None = None
        self.looked_s = 0.0
        self.orders: list[tuple[float, int]] = []

    @property
    def ordered(self) -> int:
        """Workers that run or start."""
        return len(self.workers)

    def order(self, count: int, at_s: float, at_once: bool = False) -> None:
        """Have so many workers: new ones begin after `start_s`, the newest go first."""
        if count == self.ordered and self.orders:
            return
        self.orders.append((at_s, count))
        leaves = False
        while self.ordered > count:
            gone = self.workers.pop()
            gone.gone, leaves = True, leaves or gone.ready
        for _ in range(count - self.ordered):
            worker = Worker()
            self.workers.append(worker)
            self.schedule(at_s + (0.0 if at_once else self.start_s), partial(self._begin, worker))
        if leaves:
            self.rebalance(at_s, self.rebalance_s)

    def _begin(self, worker: Worker, at_s: float) -> None:
        if not worker.gone:
            worker.ready = True
            self.rebalance(at_s, self.rebalance_s if at_s else 0.0)

    def rebalance(self, at_s: float, pause_s: float) -> None:
        """The group stands still so long, then its partitions are spread anew over who is ready."""
        self.still_until = max(self.still_until, at_s + pause_s)
        self.schedule(self.still_until, self._assign)

    def _assign(self, at_s: float) -> None:
        if at_s < self.still_until:
            return
        ready = [one for one in self.workers if one.ready]
        for one in ready:
            one.mine = []
        for number in range(len(self.queues)):
            self.owners[number] = ready[number * len(ready) // len(self.queues)] if ready else None
            if ready:
                self.owners[number].mine.append(number)  # type: ignore[union-attr]
        self.wake(at_s)

    def wake(self, at_s: float) -> None:
        """Let every worker that can go on do so."""
        for one in self.workers:
            self._next(one, at_s)

    def put(self, parcel: Parcel, at_s: float) -> None:
        """A parcel has come to its partition."""
        number = parcel.partitions[self.side]
        self.queues[number].append((at_s, parcel))
        self.counted.arrived[number] += parcel.utterances
        owner = self.owners[number]
        if owner is not None and not owner.busy:
            self._next(owner, at_s)

    def _next(self, worker: Worker, at_s: float) -> None:
        if worker.busy or worker.gone or self.away or at_s < self.still_until:
            return
        waits = [n for n in worker.mine if self.queues[n] and n != self.stuck]
        if not waits:
            return
        number = min(waits, key=lambda n: self.queues[n][0][0])
        self.computed[number] = taken = self.queues[number].popleft()
        parcel = taken[1]
        worker.busy = True
        work = parcel.tokens if self.role == "encoder" else float(parcel.utterances)
        takes = self.speed.takes(parcel, work)
        self.schedule(at_s + takes, partial(self._done, worker, number, parcel, work, takes))

    def _done(self, worker: Worker, number: int, parcel: Parcel, work: float, takes: float, at_s: float) -> None:
        worker.busy = False
        if number in self.computed and self.computed[number][1] is parcel:
            del self.computed[number]
        self.counted.done += parcel.utterances
        self.counted.work += work
        self.counted.busy_s += takes
        self.out(parcel, at_s)
        self._next(worker, at_s)

    def look(self, at_s: float) -> Tier:
        """What signals would see: what came and how busy workers were, over as long a time as theirs; the true rate, as
        last known."""
        span = at_s - self.looked_s
        self.counted.had_s = span * sum(one.ready for one in self.workers)
        self.looks.append((span, self.counted))
        self.counted, self.looked_s = Counted([0] * len(self.queues)), at_s
        while sum(seconds for seconds, _ in self.looks) - self.looks[0][0] >= PACING.lag_window_s:
            self.looks.popleft()
        whole = sum(seconds for seconds, _ in self.looks) or 1.0
        work, busy = sum(c.work for _, c in self.looks), sum(c.busy_s for _, c in self.looks)
        done, had = sum(c.done for _, c in self.looks), sum(c.had_s for _, c in self.looks)
        if busy > 0:
            self.rate = work / busy
            self.tokens = work / done
        arrived = [sum(c.arrived[n] for _, c in self.looks) / whole for n in range(len(self.queues))]
        return Tier(
            tier_name(self.role, "sim", "a" if self.side else ""), self.role, "sim", "a" if self.side else "", at_s,
            self.ordered, tuple(self._load(n, at_s, arrived[n]) for n in range(len(self.queues))),
            sum(arrived), self.rate, self.tokens if self.role == "encoder" else 1.0,
            min(1.0, busy / had) if had else None, start_s=self.start_s, rebalance_s=self.rebalance_s,
            missing="the brokers do not answer" if self.away else "",
        )

    def _load(self, number: int, at_s: float, arrives: float) -> PartitionLoad:
        queue, computed = self.queues[number], self.computed.get(number)
        waits = sum(one.utterances for _, one in queue) + (computed[1].utterances if computed else 0)
        oldest = computed or (queue[0] if queue else None)
        return PartitionLoad(number, waits, at_s - oldest[0] if oldest else 0.0, arrives,
                             number == self.stuck and waits > 0)
