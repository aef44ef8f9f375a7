"""When the embedding cache leaves Redis alone."""

from topology.pacing import PACING
from topology.settings import Cache, Redis
from topology.stream.embedding_cache import EmbeddingCache


async def test_calls_that_were_under_way_when_the_rest_began_neither_prolong_nor_repeat_it():
    cache = EmbeddingCache(Redis(url="redis://127.0.0.1:1/0"), Cache(), "prefix", "en", "version")
    try:
        for _ in range(PACING.cache_slow_calls):
            assert cache._rests_until == 0.0
            cache._note_slow(TimeoutError())
        until = cache._rests_until
        assert until > 0.0
        for _ in range(PACING.cache_slow_calls):
            cache._note_slow(TimeoutError())
        assert cache._rests_until == until
        cache._rests_until = 0.0  # it is over: one slow call is but a busy moment again
        cache._note_slow(TimeoutError())
        assert cache._rests_until == 0.0
    finally:
        await cache.close()
