"""What releases keep in Redis beside each other, as 0.1.0 wrote it and as a later one may."""

import time

import msgpack
import pytest

from infra.stack.embedded import start_redis
from infra.stack.supervise import Supervisor
from tests.built import needs_redis
from tests.formats import EMBEDDING, FORMATS
from topology import keys
from topology.settings import Cache, Redis
from topology.stream.embedding_cache import CachedEmbedding, EmbeddingCache
from topology.stream.redis import connect
from topology.stream.replies import ReplyReader, ReplyWriter

pytestmark = [pytest.mark.integration, needs_redis]
DIGEST = keys.request_digest("off", "en")
SHIPPED = "13d775e4dc4ef08ca91d30ce0ccc8b4b1f980b50"


@pytest.fixture
async def redis(tmp_path):
    """(its settings, a connection)."""
    supervisor = Supervisor(tmp_path)
    settings = Redis(url=start_redis(supervisor, tmp_path, "embedded"))
    connection = connect(settings)
    yield settings, connection
    await connection.aclose()
    supervisor.stop()


async def test_a_claim_and_a_reply_of_0_1_0_are_understood(redis):
    settings, connection = redis
    now_us = time.time_ns() // 1_000
    reader, writer = ReplyReader(settings, "h", "me"), ReplyWriter(settings, "h")
    try:
        held = f"{now_us + 60_000_000} {SHIPPED} h:replies:other"
        await connection.set("h:claim:acme:id-1", held)
        assert (await reader.claim(("acme", "id-1"), DIGEST, now_us, now_us + 1_000_000)).verdict == "wait"
        await connection.set("h:reply:acme:id-1", FORMATS["reply"].write())
        claim = await reader.claim(("acme", "id-1"), DIGEST, now_us, now_us + 1_000_000)
        assert (claim.verdict, claim.value) == ("reply", FORMATS["reply"].write())
        assert (await writer.good([("acme", "id-1")]))["acme", "id-1"].prediction.intent == "off"
    finally:
        await reader.close()
        await writer.close()


async def test_a_reply_with_more_in_it_is_read_and_counts_as_the_first(redis):
    settings, connection = redis
    body = msgpack.unpackb(FORMATS["prediction"].write())
    later = b"+" + msgpack.packb({**body, "channel": "phone"})
    reader, writer = ReplyReader(settings, "h", "me"), ReplyWriter(settings, "h")
    try:
        await connection.set("h:reply:acme:id-1", later)
        entry = {"id": "id-1", "value": later, "tenant": "acme", "channel": "phone"}
        await connection.xadd("h:replies:me", entry)
        assert await reader.read(1_000) == [(("acme", "id-1"), later)]
        assert (await writer.good([("acme", "id-1")]))["acme", "id-1"].value == later[1:]
    finally:
        await reader.close()
        await writer.close()


async def test_a_cached_embedding_of_0_1_0_is_found_and_one_of_another_form_is_a_miss(redis):
    settings, connection = redis
    cache = EmbeddingCache(settings, Cache(), "h", "en", "space-int8")
    try:
        parts = [EMBEDDING.tokens, EMBEDDING.hidden, EMBEDDING.data, EMBEDDING.scales, EMBEDDING.offsets, False]
        digest = bytes.fromhex("613461480ea7b4fd6328ef358da86477")
        slot = (int.from_bytes(digest[:8], "big") % cache._slots).to_bytes(4, "big")
        await connection.hset("h:embeddings:en:space-int8", slot, digest + msgpack.packb(parts))
        assert await cache.get(["off"]) == {"off": CachedEmbedding(*parts)}
        for another in ([*parts, "later"], parts[:5]):
            await connection.hset("h:embeddings:en:space-int8", slot, digest + msgpack.packb(another))
            assert await cache.get(["off"]) == {}
    finally:
        await cache.close()
