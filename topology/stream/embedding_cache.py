"""The embedding cache in Redis: texts of a ring that were encoded before, whoever asked.

Bounded without bookkeeping: a direct-mapped cache (Smith 1982) of so many slots in one Redis hash. A text's digest
names its slot; whoever comes later to the same slot takes it over, and what is read is checked against the digest. The
hash's name holds the encoder's version, so that a new encoder never reads an old one's vectors.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass

import msgpack
from redis.exceptions import RedisError

from topology import keys
from topology.settings import Cache, Redis
from topology.stream.replies import connect

log = logging.getLogger(__name__)

ENTRY_BYTES = 12_288  # an utterance of 15 tokens: what a slot is reckoned at
PATIENCE_S = 0.02  # an answer that takes longer counts as none
WRITING_S = 1.0  # nobody waits for a write, and the loop may compute for 0.15 s at a time beside it
SLOW_IN_A_ROW = 3  # after so many slow or failed calls Redis is not asked again for REST_S; one is but a busy moment
REST_S = 5.0
TTL_S = 86_400
DIGEST = 16


@dataclass(frozen=True, slots=True)
class CachedEmbedding:
    """What the encoder gave for one text, as `wire.Embedding` has it: int8 data and float32 scales."""

    tokens: int
    hidden: int
    data: bytes
    scales: bytes
    offsets: bytes
    truncated: bool


def _cached(data: bytes | str) -> CachedEmbedding | None:
    """What `put` wrote; None for anything else, which counts as not there."""
    try:
        found = CachedEmbedding(*msgpack.unpackb(data))
        sizes = found.tokens * found.hidden, found.tokens * 4, found.tokens * 8
        whole = found.tokens > 0 and sizes == (len(found.data), len(found.scales), len(found.offsets))
        parts = (found.data, found.scales, found.offsets)
    except Exception:  # foreign bytes: whatever their decoding raises
        return None
    return found if whole and all(part.__class__ is bytes for part in parts) else None


class EmbeddingCache:
    """One ring's cache. It never fails and never waits long: a Redis that is slow or away counts as a miss."""

    def __init__(self, redis: Redis, settings: Cache, prefix: str, ring: str, version: str) -> None:
        self._redis = connect(redis)
        self._slots = max(1, (settings.embeddings_mb << 20) // ENTRY_BYTES)
        self._off_for: Collection[str] = frozenset(settings.off_for)
        self._name = keys.embedding_cache(prefix, ring, version)
        self._rests_until = 0.0
        self._slow = 0
        self._writing: set[asyncio.Task[None]] = set()
        self.hits = self.misses = 0

    def serves(self, tenant: str) -> bool:
        """Whether a tenant's texts may be cached."""
        return tenant not in self._off_for

    async def get(self, texts: Sequence[str]) -> dict[str, CachedEmbedding]:
        """Those of `texts` that are there, in one round trip."""
        if not texts or time.monotonic() < self._rests_until:
            return {}
        digests = [_digest(text) for text in texts]
        try:
            async with asyncio.timeout(PATIENCE_S):
                values = await self._redis.hmget(self._name, [self._slot(d) for d in digests])
        except (RedisError, OSError, TimeoutError) as error:
            self._note_slow(error)
            return {}
        self._slow = 0
        found = {}
        for text, digest, value in zip(texts, digests, values, strict=True):
            if value is not None and value[:DIGEST] == digest and (kept := _cached(value[DIGEST:])) is not None:
                found[text] = kept
        self.hits += len(found)
        self.misses += len(texts) - len(found)
        return found

    def put(self, embeddings: Mapping[str, CachedEmbedding]) -> None:
        """Keep embeddings, later: nobody waits for it."""
        if not embeddings or time.monotonic() < self._rests_until:
            return
        values: dict[str | bytes, bytes] = {}
        for text, embedding in embeddings.items():
            digest = _digest(text)
            values[self._slot(digest)] = digest + msgpack.packb(astuple(embedding))
        task = asyncio.create_task(self._write(values))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, values: dict[str | bytes, bytes]) -> None:
        try:
            async with asyncio.timeout(WRITING_S), self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._name, mapping=values)  # type: ignore[arg-type]
                pipe.expire(self._name, TTL_S)
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._note_slow(error)

    def _slot(self, digest: bytes) -> bytes:
        return (int.from_bytes(digest[:8], "big") % self._slots).to_bytes(4, "big")

    def _note_slow(self, error: BaseException) -> None:
        if time.monotonic() < self._rests_until:
            return  # begun before the rest: it tells nothing new
        self._slow += 1
        if self._slow < SLOW_IN_A_ROW:
            return
        self._slow = 0
        log.warning("the embedding cache rests for %.0f s: %s: %s", REST_S, type(error).__name__, error)
        self._rests_until = time.monotonic() + REST_S

    async def close(self) -> None:
        """Drop what is not written yet and disconnect."""
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._redis.aclose()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST).digest()
