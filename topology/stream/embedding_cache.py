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
from typing import Any

import msgpack
import numpy as np

from topology import keys
from topology.errors import HeadraceError
from topology.pacing import PACING, Pacing
from topology.settings import Cache, Redis
from topology.stream.redis import ask, close, connect

log = logging.getLogger(__name__)

DIGEST = 16  # bytes


@dataclass(frozen=True, slots=True)
class CachedEmbedding:
    """What the encoder gave for one text, as `wire.Embedding` has it: int8 data and float32 scales."""

    tokens: int
    hidden: int
    data: bytes
    scales: bytes
    offsets: bytes
    truncated: bool


class EmbeddingCache:
    """One ring's cache. It never fails and never waits long.

    A Redis that is slow, away, full or read-only counts as a miss, and so does a value that is not what `put` wrote.
    `hidden`: values of a vector, where that is known; a value of another width is a miss too.
    """

    def __init__(
        self, redis: Redis, settings: Cache, prefix: str, ring: str, version: str, hidden: int = 0,
        pacing: Pacing = PACING,
    ) -> None:
        self._redis = connect(redis)
        self._pacing, self._hidden = pacing, hidden
        self._slots = max(1, (settings.embeddings_mb << 20) // pacing.cache_entry_bytes)
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
        slots = [self._slot(digest) for digest in digests]
        try:
            values = await ask(lambda: self._redis.hmget(self._name, slots), self._pacing.cache_get_s)
        except HeadraceError as error:
            self._note_slow(error)
            return {}
        self._slow = 0
        found = {}
        for text, digest, value in zip(texts, digests, values, strict=True):
            if value is not None and value[:DIGEST] == digest:
                embedding = _cached(value[DIGEST:], text)
                if embedding is not None and self._hidden in (0, embedding.hidden):
                    found[text] = embedding
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
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._name, mapping=values)  # type: ignore[arg-type]
                pipe.expire(self._name, self._pacing.cache_kept_s)
                await ask(pipe.execute, self._pacing.cache_put_s)
        except HeadraceError as error:
            self._note_slow(error)

    def _slot(self, digest: bytes) -> bytes:
        return (int.from_bytes(digest[:8], "big") % self._slots).to_bytes(4, "big")

    def _note_slow(self, error: BaseException) -> None:
        if time.monotonic() < self._rests_until:
            return  # begun before the rest: it tells nothing new
        self._slow += 1
        if self._slow < self._pacing.cache_slow_calls:
            return
        self._slow = 0
        log.warning("the embedding cache rests for %.0f s: %s", self._pacing.cache_rest_s, error)
        self._rests_until = time.monotonic() + self._pacing.cache_rest_s

    async def close(self) -> None:
        """Drop what is not written yet and disconnect."""
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)
        await close(self._pacing.close_s, self._redis.aclose)


def _cached(value: Any, text: str) -> CachedEmbedding | None:
    """The embedding that a slot holds; None where anything of it is not what an encoder writes for `text`."""
    try:
        tokens, hidden, data, scales, offsets, truncated = msgpack.unpackb(value)
    except Exception:  # whatever a decoder raises on bytes that somebody else wrote
        return None
    kinds = [type(one) for one in (tokens, hidden, data, scales, offsets, truncated)]
    if kinds != [int, int, bytes, bytes, bytes, bool] or tokens < 1 or hidden < 1:
        return None
    if (len(data), len(scales), len(offsets)) != (tokens * hidden, tokens * 4, tokens * 8):
        return None
    spans = np.frombuffer(offsets, "<i4")
    if not np.isfinite(np.frombuffer(scales, "<f4")).all() or spans.min() < 0 or spans.max() > len(text):
        return None
    return CachedEmbedding(tokens, hidden, data, scales, offsets, truncated)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST).digest()
