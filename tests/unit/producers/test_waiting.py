"""What a client remembers of requests: those that nobody asks for, and those that were never published."""

import asyncio
from dataclasses import replace

import pytest

from producers import ClientClosed, Headrace, IdReused, InvalidUtterance, SyncHeadrace
from producers.calls import Calls
from topology import keys, wire
from topology.errors import DeadlineExceeded, MalformedRecord, Misconfigured, Unavailable
from topology.pacing import PACING
from topology.settings import Limits, Redis, Ring, Settings


class Taken:
    """An outbox that acknowledges nothing by itself."""

    def __init__(self):
        self.posted = asyncio.Queue()

    def post(self, output):
        acknowledged = asyncio.get_running_loop().create_future()
        self.posted.put_nowait((output, acknowledged))
        return acknowledged


def settings_of():
    ring = Ring(name="en", languages=("en",), encoder="none")
    return Settings(redis=Redis(url="redis://127.0.0.1:1/0"), rings={"en": ring})


def client_of(outbox):
    client = Headrace(settings_of())
    client._outbox = outbox
    return client


def answer_to(asked, **changed):
    fields = {"id": asked.id, "tenant": asked.tenant, "ring": "en", "lang": "en", "text": asked.text, "intent": "off"}
    return b"+" + wire.encode(wire.Prediction(**{**fields, **changed}))


async def asked_of(outbox):
    output, acknowledged = await asyncio.wait_for(outbox.posted.get(), 5)
    return wire.decode(wire.Utterance, output.value), acknowledged


async def test_replies_that_nobody_asks_for_are_forgotten():
    calls = Calls(replace(PACING, max_at_once=2, reply_kept_s=0.0, swept_every_s=0.0))
    for number in range(3):
        calls.begin(("acme", f"old-{number}"), "d", -1.0)
    kept, _ = calls.begin(("acme", "waited for"), "d", -1.0)
    kept.waiting += 1
    calls.begin(("acme", "new"), "d", 60.0)
    assert calls.ids() == [("acme", "waited for"), ("acme", "new")]
    calls.release(kept)
    assert calls.ids() == [("acme", "new")]


@pytest.mark.parametrize("way", ["predict", "submit"])
async def test_what_the_broker_does_not_take_is_told_at_once_and_forgotten(way):
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(getattr(client, way)("acme", "lights off", lang="en", deadline=60))
    _, acknowledged = await asked_of(outbox)
    acknowledged.set_exception(Unavailable("the broker took no write"))
    with pytest.raises(Unavailable, match="took no write"):
        await asyncio.wait_for(asking, 5)
    assert not client.in_flight


@pytest.mark.parametrize("way", ["predict", "submit"])
async def test_a_broker_that_never_acknowledges_is_named_when_the_time_is_over(way):
    client = client_of(outbox := Taken())
    with pytest.raises(Unavailable, match="Kafka at"):
        await asyncio.wait_for(getattr(client, way)("acme", "lights off", lang="en", deadline=0.01), 5)
    _, acknowledged = await asked_of(outbox)
    assert acknowledged.cancelled(), "it is not sent after its caller was told"
    assert not client.in_flight


async def test_a_submit_that_runs_out_of_time_ends_no_other_call_under_its_id():
    client = client_of(outbox := Taken())
    call, _ = client._calls.begin(("acme", "x"), keys.request_digest("lights off", "en"), 60)
    call.publish(outbox.post(None))  # on its way already
    patient = asyncio.create_task(client.submit("acme", "lights off", lang="en", id="x", deadline=60))
    await asyncio.sleep(0)  # it waits now
    with pytest.raises(Unavailable, match="Kafka at"):
        await client.submit("acme", "lights off", lang="en", id="x", deadline=0.01)
    _, acknowledged = outbox.posted.get_nowait()
    acknowledged.set_result(None)
    assert await asyncio.wait_for(patient, 5) == "x"


async def test_closing_tells_who_waits_for_the_broker():
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(client.submit("acme", "lights off", lang="en", deadline=60))
    await asked_of(outbox)
    await asyncio.wait_for(client.__aexit__(None, None, None), 20)
    with pytest.raises(ClientClosed):
        await asyncio.wait_for(asking, 5)


async def test_a_reply_before_the_acknowledgement_is_the_answer():
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(client.predict("acme", "lights off", lang="en", deadline=60))
    asked, acknowledged = await asked_of(outbox)
    client._hear(("acme", asked.id), answer_to(asked))
    assert (await asyncio.wait_for(asking, 5)).intent == "off"
    acknowledged.set_exception(Unavailable("too late to matter"))
    await asyncio.sleep(0)
    assert not client.in_flight


async def test_who_stops_waiting_takes_the_reply_from_nobody_else():
    client = client_of(outbox := Taken())
    id = asyncio.create_task(client.submit("acme", "lights off", lang="en", deadline=60))
    asked, acknowledged = await asked_of(outbox)
    acknowledged.set_result(None)
    id = await asyncio.wait_for(id, 5)
    gone, patient = (asyncio.create_task(client.result("acme", id, deadline=60)) for _ in range(2))
    await asyncio.sleep(0)  # both wait now
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    client._hear(("acme", id), answer_to(asked))
    assert (await asyncio.wait_for(patient, 5)).intent == "off"
    assert not client.in_flight


async def test_a_reply_to_another_tenant_or_id_is_never_given_out():
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(client.predict("acme", "lights off", lang="en", deadline=60))
    asked, _ = await asked_of(outbox)
    client._hear(("bank", asked.id), answer_to(asked, tenant="bank"))
    assert client.in_flight == 1
    client._hear(("acme", asked.id), answer_to(asked, tenant="bank", text="my password"))
    with pytest.raises(MalformedRecord, match="another request") as told:
        await asyncio.wait_for(asking, 5)
    assert "password" not in str(told.value)


@pytest.mark.parametrize("value", [b"", b"+", b"+junk", b"\xff" * 9, b"+\xc0", b"-" + b"\x93\x01\x02\x03"])
async def test_a_reply_that_cannot_be_read_is_told_and_the_client_goes_on(value):
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(client.predict("acme", "lights off", lang="en", deadline=60))
    asked, _ = await asked_of(outbox)
    client._hear(("acme", asked.id), value)
    with pytest.raises(MalformedRecord):
        await asyncio.wait_for(asking, 5)


@pytest.mark.parametrize("entity", [{}, {"start": "x", "end": 1, "label": "a", "text": "b", "confidence": 1.0}, 7])
async def test_entities_that_are_none_are_a_malformed_reply(entity):
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(client.predict("acme", "lights off", lang="en", deadline=60))
    asked, _ = await asked_of(outbox)
    client._hear(("acme", asked.id), answer_to(asked, entities=[entity]))
    with pytest.raises(MalformedRecord, match="entities"):
        await asyncio.wait_for(asking, 5)


async def test_an_id_in_flight_for_another_text_is_refused_and_another_tenants_is_not():
    calls = Calls(PACING)
    first, new = calls.begin(("shop", "req-1"), "one text", 60)
    assert new and calls.begin(("shop", "req-1"), "one text", 90) == (first, False)
    with pytest.raises(IdReused, match="req-1"):
        calls.begin(("shop", "req-1"), "another text", 60)
    assert calls.begin(("bank", "req-1"), "another text", 60)[1]


async def test_an_id_that_somebody_only_waits_for_is_published_by_who_asks():
    calls = Calls(PACING)
    waits, _ = calls.begin(("shop", "req-1"), "", 60)
    assert calls.begin(("shop", "req-1"), "text", 60) == (waits, True)
    assert calls.begin(("shop", "req-1"), "text", 60) == (waits, False)


async def test_an_expired_first_attempt_does_not_end_one_that_has_time():
    calls = Calls(PACING)
    call, _ = calls.begin(("shop", "req-1"), "text", 60)
    call.answer(DeadlineExceeded("the first attempt"))
    assert not call.arrived.done()


async def test_a_client_that_is_not_open_says_so_at_once():
    client = Headrace(settings_of())
    for asking in (
        client.predict("acme", "lights off"), client.submit("acme", "lights off", id="x"), client.result("acme", "x")
    ):
        with pytest.raises(ClientClosed, match="async with"):
            await asyncio.wait_for(asking, 5)
    with pytest.raises(ClientClosed):
        client.expect("acme", "id", 1.0)
    assert [type(one) for one in await client.predict_many("acme", ["on", "off"])] == [ClientClosed] * 2


@pytest.mark.parametrize("texts", ["hello", b"hello", bytearray(b"hi"), None, 7])
async def test_one_text_where_many_are_wanted_is_refused_and_not_asked_for_letter_by_letter(texts):
    outbox = Taken()
    with pytest.raises(InvalidUtterance, match="a list of texts is wanted, this is "):
        await client_of(outbox).predict_many("acme", texts)
    assert outbox.posted.empty()


def test_the_synchronous_client_that_is_not_open_says_so_too():
    with pytest.raises(ClientClosed, match="with SyncHeadrace"):
        SyncHeadrace(settings_of()).predict("acme", "lights off")


async def test_a_client_that_is_opened_twice_at_once_says_so_and_one_that_did_not_open_may_be_opened_again():
    client = Headrace(replace(settings_of(), limits=Limits(deadline_s=0.5)))
    first = asyncio.create_task(client.__aenter__())
    await asyncio.sleep(0)  # it waits for Redis now
    with pytest.raises(Misconfigured, match="open already"):
        await asyncio.wait_for(client.__aenter__(), 5)
    for opening in (first, client.__aenter__()):
        with pytest.raises(Unavailable, match="Redis"):
            await asyncio.wait_for(opening, 20)


def test_a_client_of_another_event_loop_says_so_at_once():
    async def opened():
        client = client_of(Taken())
        client._place.begin()
        return client

    async def ask(client):
        for asking in (client.predict("acme", "on"), client.result("acme", "x"), client.__aexit__(None, None, None)):
            with pytest.raises(Misconfigured, match="another event loop"):
                await asyncio.wait_for(asking, 5)

    asyncio.run(ask(asyncio.run(opened())))


async def test_closing_tells_who_waits():
    client = client_of(outbox := Taken())
    asking = asyncio.create_task(client.predict("acme", "lights off", lang="en", deadline=60))
    await asked_of(outbox)
    await asyncio.wait_for(client.__aexit__(None, None, None), 20)
    with pytest.raises(ClientClosed):
        await asyncio.wait_for(asking, 5)


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "x" * 257, 7, None, "\ud800"])
async def test_a_result_is_asked_for_by_a_tenant_and_an_id_that_can_be(name):
    client = client_of(Taken())
    with pytest.raises(InvalidUtterance):
        await client.result(name, "id")
    with pytest.raises(InvalidUtterance):
        await client.result("acme", name)


def test_a_client_that_was_never_opened_may_be_closed():
    client = SyncHeadrace(settings_of())
    for _ in range(2):
        client.__exit__(None, None, None)
