"""A rebalance while records wait that stand before finished ones: tenants are taken in turn, commits in order."""

import asyncio
from dataclasses import replace

import pytest

from tests.unit.topology.test_loop import DEADLINE_S, Worker, records, running
from topology.pacing import PACING
from topology.stream.fair import FairQueue
from topology.stream.gaps import keep_gaps
from topology.stream.watermarks import Watermarks

BY_FOUR = replace(PACING, max_poll_records=4, gaps_s=DEADLINE_S, parked_s=DEADLINE_S)


class Tenants(Worker):
    """Offsets below 10 are of one tenant, the rest of another."""

    def tenant(self, record):
        return "first" if record.offset < 10 else "second"


class Full(Tenants):
    """Takes no more than a first batch."""

    def takes_more(self):
        return not self.seen


async def begun(worker, consumer, offsets):
    """The first batch is computing, the rest waits."""
    worker.gate.clear()
    consumer.comes.put_nowait(records(*offsets))
    await asyncio.wait_for(worker.begun.wait(), DEADLINE_S)
    consumer.waits.clear()


@pytest.mark.parametrize("ends", ["rebalance", "stop"])
async def test_nothing_that_was_computed_is_computed_again_by_the_next_owner_of_its_partition(ends):
    worker = Tenants()
    async with running(worker, pacing=BY_FOUR) as (loop, consumer, task):
        await begun(worker, consumer, range(20))  # 0, 10, 1, 11
        if ends == "stop":
            consumer.end.set()
            ending = task
        else:
            ending = asyncio.create_task(loop.revoked())
        await asyncio.wait_for(consumer.waits.wait(), DEADLINE_S)
        worker.gate.set()
        await asyncio.wait_for(asyncio.shield(ending), DEADLINE_S)
        assert worker.seen == [0, 10, 1, 11, 2, 3, 4, 5, 6, 7, 8, 9]
        assert consumer.committed == {("topic", 0): 12}  # where the next owner begins


async def test_what_is_parked_before_finished_records_is_finished_where_it_comes_in_time():
    worker = Worker(parks=(0, 1))
    async with running(worker, pacing=BY_FOUR) as (loop, consumer, _):
        consumer.comes.put_nowait(records(0, 1, 2, 3))
        await worker.has_seen(2)
        consumer.waits.clear()
        going = asyncio.create_task(loop.revoked())
        await asyncio.wait_for(consumer.waits.wait(), DEADLINE_S)
        worker.let.set()
        await asyncio.wait_for(going, DEADLINE_S)
        assert sorted(worker.seen) == [0, 1, 2, 3] and consumer.committed == {("topic", 0): 4}


async def test_a_rebalance_waits_for_queued_records_only_so_long():
    worker = Full()
    async with running(worker, pacing=replace(BY_FOUR, gaps_s=0.01, parked_s=0.01)) as (loop, consumer, _):
        consumer.comes.put_nowait(records(*range(20)))
        await worker.has_seen(4)
        await asyncio.wait_for(loop.revoked(), DEADLINE_S)
        assert worker.seen == [0, 10, 1, 11] and consumer.committed == {("topic", 0): 2}


async def test_a_rebalance_waits_for_parked_records_only_so_long():
    worker = Worker(parks=(0,))
    async with running(worker, pacing=replace(BY_FOUR, parked_s=0.01)) as (loop, consumer, _):
        consumer.comes.put_nowait(records(0, 1))
        await worker.has_seen(1)
        await asyncio.wait_for(loop.revoked(), DEADLINE_S)
        assert worker.seen == [1] and consumer.committed == {}


def test_of_what_waits_only_records_before_begun_ones_are_kept_in_the_order_of_their_partition():
    queue, marks = FairQueue(), Watermarks()
    for partition, offset, waits in [(0, 4, True), (0, 5, False), (0, 6, True), (1, 1, True), (2, 7, True),
                                     (2, 8, True), (2, 9, False)]:
        marks.start(("topic", partition), offset)
        if waits:
            record = replace(records(offset)[0], partition=partition)
            queue.push("early" if offset == 8 else "late", record)
    marks.finish(("topic", 2), 9)
    keep_gaps(queue, marks)
    assert [(one.partition, one.offset) for one in queue] == [(0, 4), (2, 7), (2, 8)]
