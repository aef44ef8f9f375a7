"""What a client remembers of requests: those that nobody asks for, and those that were never published."""

import asyncio

import pytest

from producers import Headrace
from producers.client import KEPT_S, MAX_AT_ONCE, _done
from producers.request import now_us
from topology import wire
from topology.errors import Unavailable
from topology.settings import Redis, Ring, Settings


class Looked(dict):
    """A dict that counts how often all of it is looked at."""

    times = 0

    def items(self):
        self.times += 1
        return super().items()


async def test_replies_that_nobody_asks_for_are_forgotten_and_what_waits_is_not_looked_through_at_every_request():
    client = Headrace(Settings(redis=Redis(url="redis://127.0.0.1:1/0")))
    client._waiting = waiting = Looked()
    future = asyncio.get_running_loop().create_future()
    old = now_us() - int((KEPT_S + 1) * 1e6)
    waiting.update({f"old-{i}": (future, old) for i in range(MAX_AT_ONCE)})
    waiting.update({f"new-{i}": (future, now_us()) for i in range(MAX_AT_ONCE + 1)})
    for _ in range(100):
        client._forget_old()
    assert len(waiting) == MAX_AT_ONCE + 1 and all(name.startswith("new") for name in waiting)
    assert waiting.times == 1


class Taken:
    """An outbox that acknowledges nothing by itself."""

    def __init__(self):
        self.posted = asyncio.Queue()

    def post(self, output):
        acknowledged = asyncio.get_running_loop().create_future()
        self.posted.put_nowait((output, acknowledged))
        return acknowledged


def client_of(outbox):
    ring = Ring(name="en", languages=("en",), encoder="none")
    client = Headrace(Settings(redis=Redis(url="redis://127.0.0.1:1/0"), rings={"en": ring}))
    client._outbox = outbox
    return client


@pytest.mark.parametrize("way", ["predict", "submit"])
async def test_what_the_broker_does_not_take_is_told_at_once_and_forgotten(way):
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(getattr(client, way)("acme", "lights off", lang="en", deadline=60))
    _, acknowledged = await asyncio.wait_for(outbox.posted.get(), 5)
    acknowledged.set_exception(Unavailable("the broker took no write"))
    with pytest.raises(Unavailable, match="took no write"):
        await asyncio.wait_for(asking, 5)
    assert not client._waiting


async def test_a_reply_before_the_acknowledgement_is_the_answer():
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(client.predict("acme", "lights off", lang="en", deadline=60))
    output, acknowledged = await asyncio.wait_for(outbox.posted.get(), 5)
    asked = wire.decode(wire.Utterance, output.value)
    answer = wire.Prediction(asked.id, "acme", "en", "en", asked.text, intent="off", confidence=0.9)
    client._resolve(asked.id, b"+" + wire.encode(answer))
    assert (await asyncio.wait_for(asking, 5)).intent == "off"
    acknowledged.set_exception(Unavailable("too late to matter"))
    await asyncio.sleep(0)
    assert not client._waiting


async def test_who_stops_waiting_takes_the_reply_from_nobody_else():
    future = asyncio.get_running_loop().create_future()
    gone, patient = asyncio.create_task(_done(future, 60)), asyncio.create_task(_done(future, 60))
    await asyncio.sleep(0)  # both wait now
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    future.set_result("off")
    assert await asyncio.wait_for(patient, 5)


async def test_waiting_ends_at_its_time_and_leaves_the_reply_to_come():
    future = asyncio.get_running_loop().create_future()
    assert not await asyncio.wait_for(_done(future, 0.001), 5)
    future.set_result("off")
    assert await _done(future, 0)
