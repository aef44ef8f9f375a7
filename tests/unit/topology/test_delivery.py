"""What came out goes to Kafka and to Redis each in its own time, and is done when both have it."""

import asyncio

from topology.stream import delivery
from topology.stream.delivery import Company, Delivery, Progress
from topology.stream.records import Outcome, OutgoingReply, Output, Record


class Written:
    """Notes what it is given; `open` lets it return."""

    def __init__(self, seen):
        self.calls, self.open, self.seen = [], asyncio.Event(), seen
        self.open.set()

    async def send(self, outputs):
        self.calls.append([o.value for o in outputs])
        self.seen.made()
        await self.open.wait()

    async def write(self, replies):
        self.calls.append([r.request_id for r in replies])
        self.seen.made()
        await self.open.wait()


class Bench:
    def __init__(self, outputs_s=60.0, answers_s=60.0, full=16, hurried=True):
        self.seen, self.done, self.busy, self.progress = Progress(), [], True, Progress()
        self.kafka, self.redis = Written(self.seen), Written(self.seen)
        self.delivery = Delivery(
            self.kafka, self.redis, Company(outputs_s, full, hurried), Company(answers_s), self.progress,
            lambda: self.busy, lambda: 0.0, self.on_done,
        )

    def on_done(self, outcome):
        self.done.append(outcome.done[0].offset)
        self.seen.made()

    async def __aenter__(self):
        works = (self.delivery.send_often(), self.delivery.answer_often())
        self.tasks = [asyncio.create_task(work) for work in works]
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def comes_out(self, offset, outputs=1, replies=1, hurried=True):
        record = Record("t", 0, offset, None, b"")
        self.delivery.add(Outcome(
            [record], [Output("o", None, b"%d" % offset)] * outputs,
            [OutgoingReply("", "acme", str(offset), b"", True)] * replies, hurried=hurried,
        ))

    async def until(self, state):
        await asyncio.wait_for(self.seen.reaches(state), 5)


async def test_a_caller_is_answered_while_outputs_wait_for_company():
    async with Bench(answers_s=0.001) as it:
        it.comes_out(1)
        await it.until(lambda: it.redis.calls == [["1"]])
        assert it.kafka.calls == [] and it.done == [] and it.delivery.undelivered == 1
        it.busy = False
        it.progress.made()
        await it.until(lambda: it.done == [1])
        assert it.kafka.calls == [[b"1"]] and it.delivery.undelivered == 0


async def test_a_record_is_done_only_when_both_have_it():
    async with Bench() as it:
        it.busy = False
        it.redis.open.clear()
        it.comes_out(1)
        await it.until(lambda: it.kafka.calls == [[b"1"]] and it.redis.calls == [["1"]])
        assert it.done == []
        it.redis.open.set()
        await it.until(lambda: it.done == [1])


async def test_what_comes_out_while_a_request_is_on_its_way_shares_the_next():
    async with Bench() as it:
        it.busy = False
        it.kafka.open.clear()
        it.comes_out(1, replies=0)
        await it.until(lambda: it.kafka.calls == [[b"1"]])
        for offset in (2, 3, 4):
            it.comes_out(offset, replies=0)
        it.kafka.open.set()
        await it.until(lambda: it.done == [1, 2, 3, 4])
        assert it.kafka.calls == [[b"1"], [b"2", b"3", b"4"]]


async def test_a_full_request_waits_no_longer_and_company_ends_with_its_time():
    async with Bench(full=2, answers_s=0.001) as it:
        it.comes_out(1)
        it.comes_out(2)
        await it.until(lambda: it.kafka.calls == [[b"1", b"2"]])
        await it.until(lambda: it.done == [1, 2])
        it.comes_out(3, outputs=0)
        await it.until(lambda: it.done == [1, 2, 3])
        assert it.redis.calls == [["1", "2"], ["3"]]
        assert it.kafka.calls == [[b"1", b"2"]] and it.busy


async def test_what_has_nothing_to_deliver_is_done_at_once():
    async with Bench() as it:
        it.comes_out(1, outputs=0, replies=0)
        assert it.done == [1]


async def test_what_nobody_hurries_for_waits_for_something_that_is(monkeypatch):
    monkeypatch.setattr(delivery, "UNHURRIED_S", 60.0)
    async with Bench() as it:
        it.busy = False
        it.comes_out(1, hurried=False)
        it.comes_out(2, hurried=False)
        it.comes_out(3)
        await it.until(lambda: it.done == [1, 2, 3])
        assert it.kafka.calls == [[b"1", b"2", b"3"]] and it.redis.calls == [["1", "2", "3"]]


async def test_what_nobody_hurries_for_goes_alone_in_the_end(monkeypatch):
    monkeypatch.setattr(delivery, "UNHURRIED_S", 0.001)
    async with Bench() as it:
        it.busy = False
        it.comes_out(1, hurried=False)
        await it.until(lambda: it.done == [1])
        assert it.kafka.calls == [[b"1"]] and it.redis.calls == [["1"]]


async def test_results_wait_where_callers_have_them_as_replies(monkeypatch):
    monkeypatch.setattr(delivery, "UNHURRIED_S", 60.0)
    async with Bench(hurried=False, full=2) as it:
        it.busy = False
        it.comes_out(1)
        await it.until(lambda: it.redis.calls == [["1"]])
        assert it.kafka.calls == []
        it.comes_out(2)
        await it.until(lambda: it.done == [1, 2])
        assert it.kafka.calls == [[b"1", b"2"]]


async def test_a_timer_that_is_early_ends_the_wait_all_the_same(monkeypatch):
    loop = asyncio.get_running_loop()
    in_time = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda delay_s, *what: in_time(delay_s - 0.03, *what))
    progress, asked = Progress(), []
    await progress.reaches(lambda: bool(asked.append(1)), within_s=0.03)
    assert asked, "the state was looked at, and nobody waited for the next progress"
