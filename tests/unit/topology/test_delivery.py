"""Outcomes go to Kafka and to Redis, each with one request in flight, and are finished when both have them."""

import asyncio

from topology.errors import MalformedRecord
from topology.stream.delivery import Delivery, Progress
from topology.stream.outcomes import Outcome
from topology.stream.records import Output, Record, Refused, Reply

DEADLINE_S = 5


class Written:
    """Notes what it is given; `open` lets it return, `refuses` names the values that it never takes."""

    def __init__(self, seen):
        self.calls, self.open, self.seen, self.refuses = [], asyncio.Event(), seen, set()
        self.open.set()

    async def send(self, outputs):
        self.calls.append([o.value for o in outputs])
        self.seen.made()
        await self.open.wait()
        return [Refused(o, MalformedRecord("too large")) for o in outputs if o.value in self.refuses]

    async def write(self, replies):
        self.calls.append([r.request_id for r in replies])
        self.seen.made()
        await self.open.wait()
        return []


class Bench:
    def __init__(self, linger_s=0.0, batch=16):
        self.seen, self.done = Progress(), []
        self.kafka, self.redis = Written(self.seen), Written(self.seen)
        self.delivery = Delivery(self.kafka, self.redis, linger_s, batch, Progress(), self.refuse, self.on_done)

    def on_done(self, outcome):
        self.done.append(outcome.done[0].offset)
        self.seen.made()

    def refuse(self, record, error):
        return Outcome([record], [Output("dead", None, b"dead %d" % record.offset)], [reply(f"no {record.offset}")])

    async def __aenter__(self):
        works = (self.delivery.send_outputs(), self.delivery.send_replies())
        self.tasks = [asyncio.create_task(work) for work in works]
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def comes(self, offset, outputs=1, replies=1):
        record = Record("t", 0, offset, None, b"")
        output = Output("o", None, b"%d" % offset, cause=record)
        self.delivery.add(Outcome([record], [output] * outputs, [reply(str(offset))] * replies))

    async def until(self, state):
        await asyncio.wait_for(self.seen.reaches(state), DEADLINE_S)


def reply(request_id):
    return Reply("", request_id, b"", True)


async def test_a_reply_goes_while_outputs_linger():
    async with Bench(linger_s=60.0) as it:
        it.comes(1)
        await it.until(lambda: it.redis.calls == [["1"]])
        assert it.kafka.calls == [] and it.done == [] and it.delivery.undelivered == 1


async def test_outputs_linger_until_a_batch_is_full_or_their_time_is_over():
    async with Bench(linger_s=60.0, batch=2) as it:
        it.comes(1)
        it.comes(2)
        await it.until(lambda: it.done == [1, 2])
        assert it.kafka.calls == [[b"1", b"2"]]
    async with Bench(linger_s=0.001) as it:
        it.comes(1)
        await it.until(lambda: it.done == [1])


async def test_a_record_is_finished_only_when_both_have_it():
    async with Bench() as it:
        it.redis.open.clear()
        it.comes(1)
        await it.until(lambda: it.kafka.calls == [[b"1"]] and it.redis.calls == [["1"]])
        assert it.done == []
        it.redis.open.set()
        await it.until(lambda: it.done == [1])


async def test_what_comes_while_a_request_is_in_flight_goes_together_in_the_next():
    async with Bench() as it:
        it.kafka.open.clear()
        it.comes(1, replies=0)
        await it.until(lambda: it.kafka.calls == [[b"1"]])
        for offset in (2, 3, 4):
            it.comes(offset, replies=0)
        it.kafka.open.set()
        await it.until(lambda: it.done == [1, 2, 3, 4])
        assert it.kafka.calls == [[b"1"], [b"2", b"3", b"4"]]


async def test_what_has_nothing_to_deliver_is_finished_at_once():
    async with Bench() as it:
        it.comes(1, outputs=0, replies=0)
        assert it.done == [1]


async def test_a_record_whose_output_the_broker_never_takes_is_refused_alone_and_then_finished():
    async with Bench() as it:
        it.kafka.refuses.add(b"2")
        it.kafka.open.clear()
        it.comes(0, replies=0)
        await it.until(lambda: bool(it.kafka.calls))
        for offset in (1, 2, 3):
            it.comes(offset, replies=0)
        it.kafka.open.set()
        await it.until(lambda: it.done == [0, 1, 2, 3])
        assert it.kafka.calls == [[b"0"], [b"1", b"2", b"3"], [b"dead 2"]] and it.redis.calls == [["no 2"]]


async def test_a_computation_waits_until_what_came_before_is_in_its_socket():
    async with Bench() as it:
        it.kafka.open.clear()
        it.comes(1, replies=0)
        waiting = asyncio.ensure_future(it.delivery.left(DEADLINE_S))
        await it.until(lambda: it.kafka.calls == [[b"1"]])
        assert not waiting.done()
        it.kafka.on_request_left()  # as the producer says
        await asyncio.wait_for(waiting, DEADLINE_S)
        assert it.done == []  # not acknowledged yet


async def test_a_computation_waits_for_no_more_than_its_time_and_for_nothing_that_lingers():
    async with Bench() as it:
        it.kafka.open.clear()
        it.comes(1, replies=0)
        await it.delivery.left(0.001)
    async with Bench(linger_s=60.0) as it:
        it.comes(1, replies=0)
        await asyncio.wait_for(it.delivery.left(60.0), DEADLINE_S)


async def test_a_timer_that_is_early_ends_the_wait_all_the_same(monkeypatch):
    loop = asyncio.get_running_loop()
    in_time = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda delay_s, *what: in_time(delay_s - 0.03, *what))
    progress, looks = Progress(), []
    await progress.reaches(lambda: bool(looks.append(1)), within_s=0.03)
    assert looks, "the state was looked at, and nobody waited for the next progress"
