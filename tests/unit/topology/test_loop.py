"""The loop around a rebalance and with records that wait, without a broker: what it asks of its consumer, and when."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.stream.delivery import Progress
from topology.stream.loop import Loop
from topology.stream.outcomes import Computing, Outcome, Parked
from topology.stream.records import Output, Record

DEADLINE_S = 10


class Consumer:
    """Gives what `comes`; an error is raised. Whoever asks waits for it."""

    def __init__(self):
        self.comes, self.asked, self.end = asyncio.Queue(), asyncio.Event(), asyncio.Event()
        self.committed, self.waits, self.records_lost, self.within_s = {}, asyncio.Event(), 0, DEADLINE_S
        self.open = asyncio.Event()  # closed it commits nothing
        self.open.set()

    @property
    def rebalance_s(self):
        self.waits.set()  # who asks begins to wait for what is computing
        return self.within_s

    async def start(self, rebalances):
        await rebalances.revoked()  # as aiokafka does before it first joins
        await rebalances.assigned(1)

    async def take(self, max_records, wait_ms):
        self.asked.set()
        found = await self.comes.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def commit(self, offsets, note=""):
        await self.open.wait()
        self.committed.update(offsets)
        return True

    async def stop(self):
        pass


class Taken:
    """A producer and a writer of replies that take everything."""

    lost = 0

    def __init__(self):
        self.open, self.asked = asyncio.Event(), asyncio.Event()  # closed it acknowledges nothing
        self.open.set()

    async def start(self):
        pass

    async def send(self, outputs):
        self.asked.set()
        await self.open.wait()
        return []

    async def write(self, replies):
        return []

    async def stop(self):
        pass


class Worker:
    """Finishes what it is given, once `gate` is open. Offsets in `parks` are held back, once, until `let`."""

    def __init__(self, parks=()):
        self.parks, self.seen, self.begun, self.progress = set(parks), [], asyncio.Event(), Progress()
        self.room = 1_000  # records that its memory holds at once
        self.admitted = 0
        self.gate, self.let = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def process(self, records):
        self.begun.set()
        await self.gate.wait()
        if len(records) > self.room:
            raise MemoryError
        held = [r for r in records if r.offset in self.parks]
        self.parks -= {r.offset for r in held}
        if held:
            yield Parked(held, asyncio.ensure_future(self.let.wait()))
        rest = [r for r in records if r not in held]
        self.seen += [r.offset for r in rest]
        self.progress.made()
        yield Outcome(rest)

    async def has_seen(self, count):
        await asyncio.wait_for(self.progress.reaches(lambda: len(self.seen) >= count), DEADLINE_S)

    def takes_more(self):
        return True

    def tenant(self, record):
        return "acme"

    def admit(self, tenant, queued):
        self.admitted += 1

    def refuse(self, record, error):
        return Outcome([record], [Output("dead", None, b"")])


class Beside(Worker):
    """Computes one batch at a time beside the loop, until `let`."""

    computing = 0

    async def process(self, records):
        self.seen += [r.offset for r in records]
        yield Computing(records, self.computed(records))

    async def computed(self, records):
        self.computing += 1
        self.begun.set()
        try:
            await self.let.wait()
            return Outcome(records)
        finally:
            self.computing -= 1

    def takes_more(self):
        return not self.computing


@contextlib.asynccontextmanager
async def running(worker, producer=None, pacing=PACING):
    """(its loop, the loop's consumer, its task), until the consumer's `end`"""
    consumer = Consumer()
    loop = Loop(worker, consumer, producer or Taken(), Taken(), pacing)
    task = asyncio.create_task(loop.run(consumer.end))
    try:
        yield loop, consumer, task
    finally:
        consumer.end.set()
        await asyncio.wait([task], timeout=DEADLINE_S)


def records(*offsets):
    return [Record("topic", 0, offset, None, b"") for offset in offsets]


async def test_parked_records_come_again_in_their_order():
    worker = Worker(parks=(0, 1, 2))
    async with running(worker) as (_, consumer, _):
        consumer.comes.put_nowait(records(0, 1, 2, 3))
        await worker.has_seen(1)
        worker.let.set()
        await worker.has_seen(4)
        assert worker.seen == [3, 0, 1, 2]


async def test_what_is_parked_while_partitions_go_is_left_to_their_next_owner():
    worker = Worker(parks=(0,))
    worker.gate.clear()
    async with running(worker) as (loop, consumer, _):
        consumer.comes.put_nowait(records(0, 1))
        await asyncio.wait_for(worker.begun.wait(), DEADLINE_S)
        consumer.waits.clear()
        going = asyncio.create_task(loop.revoked())
        await asyncio.wait_for(consumer.waits.wait(), DEADLINE_S)
        worker.gate.set()
        await asyncio.wait_for(going, DEADLINE_S)
        assert consumer.committed == {} and worker.seen == [1]
        worker.let.set()
        await asyncio.gather(*loop._parked, return_exceptions=True)
        await loop.assigned(1)
        consumer.comes.put_nowait(records(7))
        await worker.has_seen(2)
        assert worker.seen == [1, 7]


async def test_a_broker_that_takes_no_commit_holds_no_rebalance():
    worker = Worker()
    async with running(worker) as (loop, consumer, _):
        consumer.comes.put_nowait(records(0))
        await worker.has_seen(1)
        consumer.open.clear()
        consumer.within_s = 0.01
        await asyncio.wait_for(loop.revoked(), DEADLINE_S)
        assert consumer.committed == {}


async def test_an_error_of_the_group_is_heard_between_a_revocation_and_the_next_assignment():
    async with running(Worker()) as (loop, consumer, task):
        await asyncio.wait_for(consumer.asked.wait(), DEADLINE_S)
        await asyncio.wait_for(loop.revoked(), DEADLINE_S)
        consumer.comes.put_nowait(Misconfigured("the group lets nobody in"))
        with pytest.raises(Misconfigured, match="lets nobody in"):
            await asyncio.wait_for(asyncio.shield(task), DEADLINE_S)


async def test_reading_pauses_while_what_was_refused_is_not_delivered():
    producer = Taken()
    producer.open.clear()
    garbage = [replace(one, unreadable="garbage", value=bytes(100)) for one in records(0, 1, 2)]
    worker = Worker()
    async with running(worker, producer, replace(PACING, max_queued_bytes=250)) as (_, consumer, _):
        consumer.comes.put_nowait(garbage)
        consumer.comes.put_nowait(records(3))
        await asyncio.wait_for(producer.asked.wait(), DEADLINE_S)
        assert consumer.comes.qsize() == 1
        producer.open.set()
        await asyncio.wait_for(worker.has_seen(1), DEADLINE_S)


async def test_nothing_queued_is_begun_while_a_run_that_failed_ends():
    worker = Beside()
    async with running(worker) as (_, consumer, task):
        consumer.comes.put_nowait(records(0))
        await asyncio.wait_for(worker.begun.wait(), DEADLINE_S)
        consumer.comes.put_nowait(records(1))
        consumer.comes.put_nowait(Misconfigured("the group lets nobody in"))
        with pytest.raises(Misconfigured):
            await asyncio.wait_for(asyncio.shield(task), DEADLINE_S)
        await asyncio.sleep(0)
        assert worker.seen == [0]


async def test_a_rebalance_while_a_worker_stops_gives_it_nothing_more_to_do():
    worker = Worker()
    worker.gate.clear()
    async with running(worker) as (loop, consumer, task):
        consumer.comes.put_nowait(records(0))
        await asyncio.wait_for(worker.begun.wait(), DEADLINE_S)
        consumer.waits.clear()
        consumer.end.set()
        await asyncio.wait_for(consumer.waits.wait(), DEADLINE_S)
        await loop.assigned(1)
        consumer.comes.put_nowait(records(7))
        await asyncio.sleep(0)
        worker.gate.set()
        await asyncio.wait_for(asyncio.shield(task), DEADLINE_S)
        assert consumer.committed == {("topic", 0): 1} and worker.seen == [0]


async def test_a_batch_that_finds_no_memory_is_halved_and_a_record_that_finds_none_is_kept():
    worker = Worker()
    worker.room = 1
    async with running(worker) as (_, consumer, task):
        consumer.comes.put_nowait(records(0, 1, 2))
        await worker.has_seen(3)
        assert worker.seen == [0, 1, 2] and worker.admitted == 3  # a quota is charged once, however often it is tried
        worker.room = 0
        consumer.comes.put_nowait(records(3))
        with pytest.raises(Unavailable, match="memory"):
            await asyncio.wait_for(asyncio.shield(task), DEADLINE_S)
