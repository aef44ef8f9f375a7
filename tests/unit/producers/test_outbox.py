"""Records share requests to Kafka, and each caller hears of its own."""

import asyncio
from dataclasses import replace

import pytest

from producers.outbox import Outbox
from topology.errors import OutputRefused, Unavailable
from topology.pacing import PACING
from topology.stream.records import Output, Refused

AT_ONCE = replace(PACING, request_linger_s=0.0)


class Broker:
    """A producer that notes what it is sent, and returns when `open`."""

    def __init__(self, open=True):
        self.requests, self.began, self.open, self.error = [], asyncio.Event(), asyncio.Event(), None
        if open:
            self.open.set()

    async def send(self, outputs):
        self.requests.append([output.value for output in outputs])
        self.began.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return [Refused(one, OutputRefused("too large")) for one in outputs if one.value == b"13"]


def record(number):
    return Output("t", None, b"%d" % number)


async def within(awaitable):
    return await asyncio.wait_for(awaitable, 5)


async def test_a_lone_record_goes_at_once():
    outbox = Outbox(broker := Broker(), pacing=AT_ONCE)
    await within(outbox.post(record(1)))
    assert broker.requests == [[b"1"]]


async def test_what_is_posted_while_a_request_is_in_flight_shares_the_next_in_order():
    outbox = Outbox(broker := Broker(open=False), pacing=AT_ONCE)
    first = outbox.post(record(1))
    await within(broker.began.wait())
    others = [outbox.post(record(number)) for number in range(2, 6)]
    broker.open.set()
    await within(asyncio.gather(first, *others))
    assert broker.requests == [[b"1"], [b"2", b"3", b"4", b"5"]]


async def test_a_request_that_fails_fails_for_its_own_records_and_the_next_goes():
    outbox = Outbox(broker := Broker(open=False), pacing=AT_ONCE)
    broker.error = Unavailable("the broker took no write")
    first = outbox.post(record(1))
    await within(broker.began.wait())
    second = outbox.post(record(2))
    broker.open.set()
    for one in (first, second):
        with pytest.raises(Unavailable):
            await within(one)
    broker.error = None
    await within(outbox.post(record(3)))
    assert broker.requests == [[b"1"], [b"2"], [b"3"]]


async def test_a_record_that_the_broker_refuses_fails_alone():
    outbox = Outbox(Broker(), pacing=replace(AT_ONCE, request_linger_s=0.001))
    fine, refused, neighbor = [outbox.post(record(number)) for number in (12, 13, 14)]
    await within(fine)
    await within(neighbor)
    with pytest.raises(OutputRefused):
        await within(refused)


async def test_a_record_whose_caller_gave_up_is_not_sent():
    outbox = Outbox(broker := Broker(open=False), pacing=AT_ONCE)
    first = outbox.post(record(1))
    await within(broker.began.wait())
    gone, stays = outbox.post(record(2)), outbox.post(record(3))
    gone.cancel()
    first.cancel()  # in flight: nobody is told, nothing breaks
    broker.open.set()
    await within(stays)
    assert broker.requests == [[b"1"], [b"3"]]


async def test_more_awaited_replies_make_a_longer_linger_up_to_its_most(monkeypatch):
    lingered, sleep = [], asyncio.sleep
    pacing = replace(PACING, request_linger_s=10.0, max_request_linger_s=25.0)
    for awaited in (1, 2, 100):
        outbox = Outbox(broker := Broker(), lambda awaited=awaited: awaited, pacing)
        await within(outbox.post(record(1)))  # nothing was sent before: no linger
        assert broker.requests == [[b"1"]]
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "sleep", lambda s: lingered.append(s) or sleep(0))
            await within(outbox.post(record(2)))
    assert [round(s) for s in lingered] == [10, 20, 25]


async def test_closing_gives_up_what_is_not_acknowledged():
    outbox = Outbox(broker := Broker(open=False), pacing=AT_ONCE)
    acknowledged = outbox.post(record(1))
    await within(broker.began.wait())
    await within(outbox.close())
    assert not acknowledged.done() or acknowledged.cancelled()
