"""When the embedding cache leaves Redis alone, and what of it counts as an embedding."""

import msgpack
import numpy as np
import pytest

from topology.pacing import PACING
from topology.settings import Cache, Redis
from topology.stream.embedding_cache import CachedEmbedding, EmbeddingCache, _cached


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


TEXT = "lights off"
GOOD = (2, 3, b"\1" * 6, np.ones(2, "<f4").tobytes(), np.array([[0, 6], [7, 10]], "<i4").tobytes(), False)


def test_what_an_encoder_wrote_is_cached():
    assert _cached(msgpack.packb(GOOD), TEXT) == CachedEmbedding(*GOOD)


@pytest.mark.parametrize("place,value", [
    (0, 3), (0, 0), (0, -2), (0, True), (0, 2.0), (0, "2"), (0, None), (1, 4), (1, 0), (1, -3), (2, b""), (2, "six"),
    (2, b"1" * 7), (3, b"1234"), (3, np.array([1, np.nan], "<f4").tobytes()), (4, b"1" * 15),
    (3, np.array([np.inf, 1], "<f4").tobytes()), (4, np.array([[0, 6], [7, 11]], "<i4").tobytes()),
    (4, np.array([[-1, 6], [7, 10]], "<i4").tobytes()), (5, 1), (5, None),
])
def test_a_value_of_which_one_part_is_wrong_is_a_miss(place, value):
    assert _cached(msgpack.packb([*GOOD[:place], value, *GOOD[place + 1:]]), TEXT) is None


@pytest.mark.parametrize("value", [
    b"", b"\xc1", b"\xff" * 40, b"\x91" * 5_000, msgpack.packb(7), msgpack.packb([]), msgpack.packb(GOOD[:5]),
    msgpack.packb([*GOOD, 1]), msgpack.packb({"a": 1}), msgpack.packb(GOOD) + b"1", msgpack.packb(GOOD)[:-3],
    msgpack.packb("\ud800", unicode_errors="surrogatepass"), None, 7,
])
def test_bytes_that_are_no_embedding_are_a_miss(value):
    assert _cached(value, TEXT) is None
