"""A row of a computed batch as it is sent on and cached."""

from __future__ import annotations

from encoder_worker.engine import Encoded
from encoder_worker.tokens import Row
from topology.stream.embedding_cache import CachedEmbedding


def embedding_of(row: Row, encoded: Encoded, start: int, end: int) -> CachedEmbedding:
    """The vectors of tokens `start` to `end` of a batch, which are those of `row`, without the encoder's own prefix."""
    data, scales, offsets = encoded.data[start:end], encoded.scales[start:end], row.offsets
    if not row.kept.all():
        data, scales, offsets = data[row.kept], scales[row.kept], offsets[row.kept]
    return CachedEmbedding(
        data.shape[0], data.shape[1], data.tobytes(), scales.tobytes(), offsets.astype("<i4").tobytes(), row.truncated
    )
