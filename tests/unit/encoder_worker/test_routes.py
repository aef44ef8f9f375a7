"""What is sent on when: conversations in order, and to a new cell only after the former one has finished."""

import asyncio
from dataclasses import replace

from encoder_worker.routes import Routes
from topology.pacing import PACING
from topology.placement import PinRecord, Placement
from topology.settings import Cell, Ring
from topology.stream.fences import Fences, InFlight
from topology.stream.positions import Finished
from topology.stream.producer import partition_of
from topology.stream.records import Record

RING = Ring("en", cells={name: Cell(name, pins=("acme",) if name == "a" else ()) for name in "ab"})
PARTITIONS = 4


def record(offset, key=b"talk"):
    return Record("utterances", 0, offset, key, b"")


class Broker:
    """Where the topics of cells end and how far they are finished, as a test sets it."""

    def __init__(self):
        self.end = dict.fromkeys(range(PARTITIONS), 0)
        self.done = dict.fromkeys(range(PARTITIONS), 0)
        self.asked = 0

    async def ends(self, topic):
        self.asked += 1
        return dict(self.end)

    async def finished(self, group, topic):
        return {number: Finished(position) for number, position in self.done.items()}

    async def stop(self):
        pass


class Sender:
    """Routes over a broker, and what was sent on so far: (offset, cell)."""

    def __init__(self, broker=None):
        self.in_flight, self.placement = InFlight(), Placement(RING)
        fences = Fences(broker, self.in_flight, lambda cell: (cell, cell)) if broker else None
        self.routes, self.sent, self.tasks = Routes(self.placement, self.in_flight, fences), [], []

    def read(self, *records):
        for one in records:
            self.routes.enter(one, "acme")

    def compute(self, *records):
        """A batch was computed: send on what may go, and let the others wait."""
        ready = []
        for one in records:
            if self.routes.goes(one, "acme", ready):
                ready.append(one)
            else:
                self.tasks.append(asyncio.ensure_future(self._later(one)))
        for one in ready:
            self._send(one)

    async def _later(self, one):
        await self.routes.turn_of(one, "acme")
        self._send(one)

    def _send(self, one):
        self.sent.append((one.offset, self.routes.cell_of(one, "acme")))
        self.routes.leaves(one)

    async def settle(self):
        async with asyncio.timeout(30):
            await asyncio.gather(*self.tasks)


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_records_of_a_conversation_leave_as_they_were_read_whatever_is_computed_first():
    one = Sender()
    records = [record(n) for n in range(4)]
    one.read(*records)
    one.compute(records[3], records[1])
    await turns()
    assert one.sent == []
    one.compute(records[0], records[2])
    await one.settle()
    assert [offset for offset, _ in one.sent] == [0, 1, 2, 3]


async def test_who_has_no_key_or_another_one_waits_for_nobody():
    one = Sender()
    one.read(record(0), record(1, b"other"), record(2, None), record(3, b""))
    one.compute(record(3, b""), record(2, None), record(1, b"other"))
    assert [offset for offset, _ in one.sent] == [3, 2, 1]


async def test_a_refused_record_keeps_nobody_waiting_and_a_second_try_keeps_its_place():
    one = Sender()
    one.read(record(0), record(1), record(2))
    one.compute(record(2))
    one.read(record(1))  # the batch failed and is tried by halves
    one.routes.leaves(record(0))  # refused
    one.compute(record(1))
    await one.settle()
    assert [offset for offset, _ in one.sent] == [1, 2]


async def test_after_a_move_a_conversation_waits_until_the_former_cell_has_finished_what_it_was_sent():
    broker = Broker()
    one = Sender(broker)
    number = partition_of(b"acme", PARTITIONS)
    one.read(record(0))
    one.compute(record(0))
    broker.end[number] = 7
    one.placement.apply(PinRecord("en", "acme", "b", ("a",)))
    one.read(record(1), record(2))
    one.compute(record(2), record(1))
    await turns()
    assert one.sent == [(0, "a")] and not broker.asked  # what was sent to a is not acknowledged: a's end is not known
    one.routes.delivered([record(0)])
    broker.done[number] = 6
    await asyncio.sleep(3 * PACING.move_look_s)
    assert one.sent == [(0, "a")] and broker.asked
    broker.done[number] = 7
    await one.settle()
    assert one.sent == [(0, "a"), (1, "b"), (2, "b")]
    one.read(record(3))
    one.compute(record(3))
    assert one.sent[-1] == (3, "b")


async def test_a_backlog_of_other_tenants_in_other_partitions_holds_nobody_back():
    broker = Broker()
    one = Sender(broker)
    broker.end = {n: 0 if n == partition_of(b"acme", PARTITIONS) else 1_000 for n in range(PARTITIONS)}
    one.placement.apply(PinRecord("en", "acme", "b", ("a",)))
    one.read(record(0))
    one.compute(record(0))
    await one.settle()
    assert one.sent == [(0, "b")]


async def test_records_without_a_key_go_to_the_new_cell_at_once():
    broker = Broker()
    one = Sender(broker)
    broker.end = dict.fromkeys(range(PARTITIONS), 9)
    one.placement.apply(PinRecord("en", "acme", "b", ("a",)))
    one.compute(record(0, None))
    assert one.sent == [(0, "b")]


async def test_partitions_that_come_from_another_worker_are_fenced_anew():
    broker = Broker()
    one = Sender(broker)
    one.placement.apply(PinRecord("en", "acme", "b", ("a",)))
    one.read(record(0))
    one.compute(record(0))
    await one.settle()
    broker.end = dict.fromkeys(range(PARTITIONS), 3)  # another worker, which had not heard of the move, sent to a
    one.routes.assigned()
    one.read(record(1))
    one.compute(record(1))
    await asyncio.sleep(3 * PACING.move_look_s)
    assert one.sent == [(0, "b")]
    broker.done = dict.fromkeys(range(PARTITIONS), 3)
    await one.settle()
    assert one.sent == [(0, "b"), (1, "b")]


async def test_a_former_cell_that_is_away_holds_records_back_for_a_bounded_time(monkeypatch):
    monkeypatch.setattr("topology.stream.fences.PACING", replace(PACING, move_hold_s=0.1))
    broker = Broker()
    one = Sender(broker)
    broker.end = dict.fromkeys(range(PARTITIONS), 3)
    one.placement.apply(PinRecord("en", "acme", "b", ("a",)))
    one.read(record(0))
    one.compute(record(0))
    await one.settle()
    assert one.sent == [(0, "b")] and one.routes.stats()["overdue"] == 1
