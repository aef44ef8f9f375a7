"""The one loop that both workers run: consume → process → produce → commit.

At least once, with effects once. The order is the promise:

1. a record is read and its offset noted as started;
2. the worker computes, a batch at a time; a batch that fails is bisected to the record at fault;
3. outputs are acknowledged by the broker and replies written to Redis
   (a crash before this line repeats work; ids are deterministic and the first reply wins);
4. the offset is noted as finished, and the lowest unfinished one is committed.

Delivering (step 3, `delivery.py`) runs beside computing: before the worker computes its next batch, what the one before
gave has left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from topology.errors import BadRecord, MalformedRecord, Misconfigured, Overloaded, Unavailable
from topology.pacing import PACING, Pacing
from topology.stream.delivery import Delivery, Progress
from topology.stream.fair import FairQueue
from topology.stream.gaps import keep_gaps
from topology.stream.kafka import GroupConsumer, Partition, Producer, Rebalances
from topology.stream.outcomes import Computing, Outcome, Parked, Worker
from topology.stream.records import Record
from topology.stream.replies import ReplyWriter
from topology.stream.watermarks import Watermarks

log = logging.getLogger(__name__)


class Loop(Rebalances):
    """Runs one worker over one topic until it is stopped or something fatal happens."""

    def __init__(
        self, worker: Worker, consumer: GroupConsumer, producer: Producer, replies: ReplyWriter,
        pacing: Pacing = PACING, linger_s: float = 0.0,
    ) -> None:
        """`linger_s`: of the worker's outputs."""
        self._worker, self._consumer, self._producer = worker, consumer, producer
        self._pacing, self._queue = pacing, FairQueue()
        self._fetching: asyncio.Task[None] | None = None
        self._stopping = False  # a rebalance meanwhile begins nothing
        self._processing: asyncio.Task[None] | None = None  # one call of `process` at a time
        self._computing: set[asyncio.Task[None]] = set()
        self._parked: set[asyncio.Task[None]] = set()
        self._marks, self._committed = Watermarks[Partition](), dict[Partition, int]()
        self._progress = Progress()
        self._delivery = Delivery(
            producer, replies, linger_s, pacing.prediction_batch, self._progress, worker.refuse, self._delivered
        )
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last_finish_s = time.monotonic()
        self._tally: Counter[str] = Counter()
        self.on_assigned: Callable[[int], None] = lambda count: None
        self.note: Callable[[], str] = str  # goes with each commit: `work.WorkNotes`

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish what is computing, commit it and leave the group.

        Raises: whatever ended it early, after which nothing unfinished has been committed.
        """
        await self._producer.start()
        await self._consumer.start(self)
        works = (self._delivery.send_outputs(), self._delivery.send_replies(), self._commit_often(), self._watch())
        background = [self._spawn(work) for work in works]
        stopping = asyncio.ensure_future(stop.wait())
        try:
            ends: list[asyncio.Future[Any]] = [stopping, self._failure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not self._failure.done():
                self._stopping = True
                await self._give_up()
        finally:
            self._forget_waiting()  # else what is cancelled below makes room for it
            running = [*background, *self._computing, *self._parked, *filter(None, [self._processing, self._fetching])]
            for task in [stopping, *running]:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._consumer.stop()
            await self._producer.stop()
        if self._failure.done():
            self._failure.result()

    def stats(self) -> dict[str, float]:
        """Records delivered so far, requests to Kafka that carried outputs, fetches; records that were deleted before
        they were read, dead letters and error results that the broker never took, and replies that Redis never took."""
        tally = {name: float(self._tally[name]) for name in ("delivered", "fetches")}
        lost = {"records_lost": float(self._consumer.records_lost), "letters_lost": float(self._producer.lost)}
        sent = {"requests": self._delivery.requests, "replies_refused": self._delivery.replies_refused}
        return {**tally, **lost, **sent}

    async def assigned(self, count: int) -> None:
        """Partitions came: read them."""
        log.info("%d partitions assigned", count)
        if self._fetching is None and not self._stopping:
            self._fetching = self._spawn(self._fetch())
        self.on_assigned(count)

    async def revoked(self) -> None:
        """As `_give_up`. Then the consumer is asked on: an error of the group waits there until somebody asks."""
        fetched_before = self._fetching is not None
        await self._give_up()
        if fetched_before and not self._stopping:
            self._fetching = self._spawn(self._fetch())

    async def _give_up(self) -> None:
        """Stop fetching, finish what is computing within 80 % of the rebalance timeout, commit, give up the rest."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
            self._fetching = None
        begun_s, rebalance_s = asyncio.get_running_loop().time(), self._consumer.rebalance_s
        keep_gaps(self._queue, self._marks)  # else what was finished behind them is repeated
        await self._progress.reaches(lambda: not self._queue, min(self._pacing.gaps_s, 0.4 * rebalance_s))
        await self._progress.reaches(lambda: not (self._queue or self._parked), self._pacing.parked_s)
        self._forget_waiting()
        try:
            async with asyncio.timeout_at(begun_s + 0.8 * rebalance_s):
                await self._progress.reaches(self._has_finished)
        except TimeoutError:
            log.warning("%d records did not finish before the rebalance; they will be repeated", self._marks.unfinished)
        self._forget_waiting()  # what was being processed may have parked some
        try:
            async with asyncio.timeout_at(begun_s + rebalance_s):  # aiokafka tries for as long as no broker answers
                await self._commit()
        except TimeoutError:
            log.warning("no commit before the rebalance; what was finished since the last one is repeated")
        self._marks.clear()
        self._committed.clear()

    def _forget_waiting(self) -> None:
        """What never started computing is read by its next owner from the committed offset."""
        self._queue.clear()
        for task in self._parked:
            task.cancel()

    def _has_finished(self) -> bool:
        return self._processing is None and not self._computing and not self._delivery.undelivered

    async def _fetch(self) -> None:
        """Keep the fetch pipeline empty: a prefetched record that waits over 100 ms stalls its partition."""
        while True:
            for record in await self._consumer.take(self._pacing.max_poll_records * 4, wait_ms=500):
                self._marks.start((record.topic, record.partition), record.offset)
                self._enqueue(record)
            self._tally["fetches"] += 1
            self._dispatch()
            if self._queued_share() > 1:
                await self._progress.reaches(lambda: self._queued_share() <= 0.5)
            await self._progress.reaches(self._is_free, self._pacing.fetch_gather_s)

    def _queued_share(self) -> float:
        """Of what may be read ahead. What is refused unread takes memory too, until it is delivered."""
        count = len(self._queue) + self._delivery.undelivered
        nbytes = self._queue.nbytes + self._delivery.undelivered_bytes
        return max(count / self._pacing.max_queued, nbytes / self._pacing.max_queued_bytes)

    def _enqueue(self, record: Record) -> None:
        if record.unreadable:
            self._delivery.add(self._worker.refuse(record, MalformedRecord(record.unreadable)))
            return
        tenant = self._worker.tenant(record)
        try:
            self._worker.admit(tenant, self._queue.waiting(tenant))
            self._queue.push(tenant, record)
        except Overloaded as error:
            self._delivery.add(self._worker.refuse(record, error))

    def _is_free(self) -> bool:
        return self._processing is None and self._worker.takes_more()

    def _dispatch(self) -> None:
        """Give the worker whatever is queued, if it is free: no timer, no waiting for a fuller batch.

        Called wherever records come or the worker becomes free.
        """
        if self._queue.ready and self._is_free() and self._delivery.undelivered < self._pacing.max_undelivered:
            self._processing = self._spawn(self._work(self._queue.take(self._pacing.max_poll_records)))

    async def _work(self, batch: list[Record]) -> None:
        try:
            await self._process(batch)
        finally:
            self._processing = None
            self._progress.made()
        self._dispatch()

    async def _process(self, batch: Sequence[Record]) -> None:
        left = {(r.topic, r.partition, r.offset): r for r in batch}
        try:
            async for step in self._worker.process(batch):
                match step:
                    case Outcome():
                        self._delivery.add(step)
                        records = step.done
                    case Computing():
                        self._follow(self._computing, self._finish(step))
                        records = step.records
                    case Parked():
                        for record in step.records:
                            self._queue.hold(self._worker.tenant(record))
                        self._follow(self._parked, self._return(step))
                        records = step.records
                for r in records:
                    left.pop((r.topic, r.partition, r.offset), None)
                await self._delivery.left(self._pacing.left_wait_s)
            if left:
                raise RuntimeError(f"the worker left {len(left)} of {len(batch)} records without an outcome")
        except (Unavailable, Misconfigured):
            raise
        except Exception as error:
            await self._isolate(list(left.values()), error)

    async def _finish(self, step: Computing) -> None:
        """Wait for a thread's outcome."""
        try:
            self._delivery.add(await step.outcome)
        except (Unavailable, Misconfigured):
            raise
        except Exception as error:
            await self._isolate(list(step.records), error)

    async def _return(self, step: Parked) -> None:
        """Queue parked records again when what they wait for is done; until then their tenant's others wait."""
        await asyncio.gather(step.until, return_exceptions=True)  # the next attempt meets what went wrong
        for record in reversed(step.records):
            self._queue.give_back(self._worker.tenant(record), record)

    async def _isolate(self, left: list[Record], error: Exception) -> None:
        """Find the record at fault by halves, so that it alone goes to the dead letters."""
        if len(left) == 1:
            if isinstance(error, MemoryError):  # as of a full GPU: the machine's fault, or its neighbors'
                raise Unavailable("no memory is left to process a single record") from error
            record, trace = left[0], None if isinstance(error, BadRecord) else error
            log.warning(
                "record %s[%d]@%d refused: %s", record.topic, record.partition, record.offset, error, exc_info=trace
            )
            self._delivery.add(self._worker.refuse(record, error))
            return
        middle = len(left) // 2
        for half in (left[:middle], left[middle:]):
            if half:
                await self._process(half)

    def _delivered(self, outcome: Outcome) -> None:
        for record in outcome.done:
            self._marks.finish((record.topic, record.partition), record.offset)
        self._last_finish_s = time.monotonic()
        self._tally["delivered"] += len(outcome.done)
        self._dispatch()

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(self._pacing.commit_interval_s)
            await self._commit()

    async def _commit(self) -> None:
        # Commit last: a crash before this line repeats work, a crash after it loses none.
        offsets = {p: o for p, o in self._marks.committable().items() if self._committed.get(p) != o}
        if offsets and await self._consumer.commit(offsets, self.note()):
            self._committed.update(offsets)

    async def _watch(self) -> None:
        """End the process when its position stands still while it has work: its supervisor starts a fresh one."""
        while True:
            await asyncio.sleep(self._pacing.watch_interval_s)
            idle_s = time.monotonic() - self._last_finish_s
            if not self._marks.unfinished:
                self._last_finish_s = time.monotonic()
            elif idle_s > self._pacing.stuck_after_s:
                raise Unavailable(f"{self._marks.unfinished} records read and none finished for {idle_s:.0f} s")

    def _follow(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        """A task beside the loop; when it ends the worker may be free."""
        task = self._spawn(work)
        tasks.add(task)

        def end(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            self._progress.made()
            self._dispatch()

        task.add_done_callback(end)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self.note_failure)
        return task

    def note_failure(self, task: asyncio.Task[None]) -> None:
        """A done-callback: a background task that failed ends the run."""
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)
