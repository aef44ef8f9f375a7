"""The one loop that both workers run: consume → process → produce → commit.

At least once, with effects once. The order is the promise:

1. a record is read and its offset noted as started;
2. the worker computes; a batch that fails is bisected to the record at fault;
3. outputs are acknowledged by the broker and replies written to Redis
   (a crash before this line repeats work; ids are deterministic and the first reply wins);
4. the offset is noted as finished, and the lowest unfinished one is committed.

Delivering (step 3, `delivery.py`) runs beside computing: whatever came out while the requests before were on their way
goes out together in the next ones. Where records queue up, requests wait to be full: then their cost counts and not
their delay.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from topology.errors import Overloaded, Unavailable
from topology.stream.delivery import Company, Delivery, Progress
from topology.stream.fair import FairQueue
from topology.stream.kafka import GroupConsumer, Partition, Producer, Rebalances
from topology.stream.records import Outcome, Record, Worker
from topology.stream.replies import ReplyWriter
from topology.stream.watermarks import Watermarks

log = logging.getLogger(__name__)


OUTPUTS = Company(wait_s=0.008)
ANSWERS = Company(wait_s=0.002)  # a caller waits for them


@dataclass(frozen=True)
class Pace:
    """How much the loop takes on at once."""

    max_records: int = 64  # one call of `process`
    outputs: Company = OUTPUTS
    answers: Company = ANSWERS
    saturated: int = 32  # records queued, from which on all company is waited for `linger_s`
    linger_s: float = 0.1
    max_undelivered: int = 512  # computed records whose outputs wait; above it nothing new is computed
    max_queued: int = 2_000  # read ahead; above it reading waits until half is worked off
    commit_every_s: float = 1.0
    stuck_after_s: float = 120.0  # nothing finished for so long with work at hand: end the process


class Loop(Rebalances):
    """Runs one worker over one topic until it is stopped or something fatal happens."""

    def __init__(
        self, worker: Worker, consumer: GroupConsumer, producer: Producer, replies: ReplyWriter, pace: Pace
    ) -> None:
        self._worker, self._consumer, self._producer = worker, consumer, producer
        self._pace = pace
        self._queue = FairQueue()
        self._parked: set[asyncio.Task[None]] = set()
        self._marks: Watermarks[Partition] = Watermarks()
        self._committed: dict[Partition, int] = {}
        self._taking: asyncio.Task[None] | None = None
        self._in_flight: set[asyncio.Task[None]] = set()
        self._progress = Progress()
        self._delivery = Delivery(
            producer, replies, pace.outputs, pace.answers, self._progress,
            lambda: bool(self._in_flight or self._queue), self._linger, self._delivered,
        )
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last_finish_s = time.monotonic()
        self._tally: Counter[str] = Counter()
        self.on_assigned: Callable[[int], None] = lambda count: None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish what is in hand, commit it and leave the group.

        Raises: whatever ended it early, after which nothing unfinished has been committed.
        """
        await self._producer.start()
        await self._consumer.start(self)
        works = (self._delivery.send_often(), self._delivery.answer_often(), self._commit_often(), self._watch())
        background = [self._spawn(work) for work in works]
        stopping = asyncio.ensure_future(stop.wait())
        try:
            ends: list[asyncio.Future[Any]] = [stopping, self._failure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not self._failure.done():
                await self.revoked()
        finally:
            for task in [stopping, *background, *self._in_flight, *self._parked]:
                task.cancel()
            await asyncio.gather(*background, *self._in_flight, return_exceptions=True)
            await self._consumer.stop()
            await self._producer.stop()
        if self._failure.done():
            self._failure.result()

    def stats(self) -> dict[str, float]:
        """Records delivered so far, the requests to Kafka that carried outputs, and the fetches that brought some."""
        tally = {name: float(self._tally[name]) for name in ("delivered", "fetches")}
        return {**tally, "requests": float(self._delivery.requests)}

    async def assigned(self, count: int) -> None:
        """Partitions came: read them."""
        log.info("%d partitions assigned", count)
        self._taking = self._spawn(self._drain())
        self.on_assigned(count)

    async def revoked(self) -> None:
        """Stop taking, finish what is computing within 80 % of the rebalance timeout, commit, give up the rest."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)
            self._taking = None
        # What never started computing is read by its next owner from the committed offset.
        self._queue.clear()
        for task in self._parked:
            task.cancel()
        try:
            async with asyncio.timeout(0.8 * self._consumer.rebalance_s):
                await self._progress.reaches(lambda: not self._in_flight and not self._delivery.undelivered)
        except TimeoutError:
            log.warning("%d records did not finish before the rebalance; they will be repeated", self._marks.unfinished)
        await self._commit()
        self._marks.clear()
        self._committed.clear()

    async def _drain(self) -> None:
        """Keep the fetch pipeline empty: a prefetched message that waits stalls its partition."""
        while True:
            for record in await self._consumer.take(self._pace.max_records * 4, wait_ms=500):
                self._marks.start((record.topic, record.partition), record.offset)
                self._enqueue(record)
            self._tally["fetches"] += 1
            self._dispatch()
            if len(self._queue) > self._pace.max_queued:
                await self._progress.reaches(lambda: len(self._queue) <= self._pace.max_queued // 2)
            # While there is enough to do, records are left to gather: a fetch costs as much for one as for fifty.
            if len(self._queue) >= self._pace.saturated:
                await self._progress.reaches(lambda: len(self._queue) < self._pace.saturated, self._pace.linger_s / 2)
            else:
                await self._progress.reaches(self._has_a_slot)

    def _enqueue(self, record: Record) -> None:
        tenant = self._worker.tenant(record)
        waiting = self._queue.waiting(tenant)
        if waiting < self._worker.most_waiting(tenant):
            self._queue.push(tenant, record)
            return
        refused = Overloaded(f"{waiting} utterances of tenant {tenant!r} wait already; try again in 1 s", 1_000)
        self._hand_over(self._worker.refuse(record, refused))

    def _dispatch(self) -> None:
        """Hand the worker whatever is queued if a slot is free: no timer, no waiting for a fuller batch.

        Called wherever records come or a slot does.
        """
        while self._queue and self._has_a_slot() and self._delivery.undelivered < self._pace.max_undelivered:
            task = self._spawn(self._work(self._queue.take(self._pace.max_records)))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    def _has_a_slot(self) -> bool:
        return len(self._in_flight) < self._worker.calls(len(self._queue))

    async def _work(self, batch: list[Record]) -> None:
        try:
            await self._process(batch)
        finally:
            self._in_flight.discard(asyncio.current_task())
            self._progress.made()
        self._dispatch()

    async def _process(self, batch: list[Record]) -> None:
        left = {(r.topic, r.partition, r.offset): r for r in batch}
        try:
            async for outcome in self._worker.process(batch):
                if outcome.later:
                    self._park(outcome)
                self._hand_over(outcome)
                if not outcome.done and not outcome.later:
                    self._progress.made()
                    self._dispatch()
                for r in (*outcome.done, *outcome.later):
                    left.pop((r.topic, r.partition, r.offset), None)
            if left:
                raise RuntimeError(f"the worker left {len(left)} of {len(batch)} records without an outcome")
        except Unavailable:
            raise
        except Exception as error:
            await self._isolate(list(left.values()), error)

    def _park(self, outcome: Outcome) -> None:
        """Give the slot back while records wait for something that is not computing, such as a head's loading."""

        async def come_again() -> None:
            if outcome.until is not None:
                await asyncio.gather(outcome.until, return_exceptions=True)  # the next attempt meets what went wrong
            for record in outcome.later:
                self._queue.push_first(self._worker.tenant(record), [record])
            self._dispatch()

        task = self._spawn(come_again())
        self._parked.add(task)
        task.add_done_callback(self._parked.discard)

    async def _isolate(self, left: list[Record], error: Exception) -> None:
        """Find the record at fault by halves, so that it alone goes to the dead letters."""
        if len(left) == 1:
            log.warning("record %s[%d]@%d refused", left[0].topic, left[0].partition, left[0].offset, exc_info=error)
            self._hand_over(self._worker.refuse(left[0], error))
            return
        middle = len(left) // 2
        for half in (left[:middle], left[middle:]):
            if half:
                await self._process(half)

    def _hand_over(self, outcome: Outcome) -> None:
        if outcome.done:
            self._delivery.add(outcome)

    def _linger(self) -> float:
        return self._pace.linger_s if len(self._queue) >= self._pace.saturated else 0.0

    def _delivered(self, outcome: Outcome) -> None:
        for record in outcome.done:
            self._marks.finish((record.topic, record.partition), record.offset)
        self._last_finish_s = time.monotonic()
        self._tally["delivered"] += len(outcome.done)
        self._dispatch()

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(self._pace.commit_every_s)
            await self._commit()

    async def _commit(self) -> None:
        # Commit last: a crash before this line repeats work, a crash after it loses none.
        offsets = {p: o for p, o in self._marks.committable().items() if self._committed.get(p) != o}
        if offsets and await self._consumer.commit(offsets):
            self._committed.update(offsets)

    async def _watch(self) -> None:
        """End the process when its position stands still while it has work: its supervisor starts a fresh one."""
        while True:
            await asyncio.sleep(5)
            idle_s = time.monotonic() - self._last_finish_s
            if not self._marks.unfinished:
                self._last_finish_s = time.monotonic()
            elif idle_s > self._pace.stuck_after_s:
                raise Unavailable(f"{self._marks.unfinished} records at hand and none finished for {idle_s:.0f} s")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self.note_failure)
        return task

    def note_failure(self, task: asyncio.Task[None]) -> None:
        """A done-callback: a background task that failed ends the run."""
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)
