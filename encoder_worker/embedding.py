"""A computed batch as it is sent on and cached: an embedding for each text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from encoder_worker.engine import Encoded
from encoder_worker.tokens import Row
from topology.errors import BadRecord
from topology.stream.embedding_cache import CachedEmbedding


def embeddings_of(batch: Mapping[str, Row], encoded: Encoded) -> dict[str, CachedEmbedding]:
    """By text. Raises: BadRecord where any vectors are not finite."""
    if not np.isfinite(encoded.scales).all():
        raise BadRecord(
            "the encoder gives no finite vectors for this text: it may overflow in half precision, where bfloat16 "
            "would not"
        )
    return {
        text: _embedding_of(row, encoded, *span)
        for (text, row), span in zip(batch.items(), encoded.spans, strict=True)
    }


def _embedding_of(row: Row, encoded: Encoded, start: int, end: int) -> CachedEmbedding:
    """The vectors of tokens `start` to `end` of a batch, which are those of `row`, without the encoder's own prefix."""
    data, scales, offsets = encoded.data[start:end], encoded.scales[start:end], row.offsets
    if not row.kept.all():
        data, scales, offsets = data[row.kept], scales[row.kept], offsets[row.kept]
    return CachedEmbedding(
        data.shape[0], data.shape[1], data.tobytes(), scales.tobytes(), offsets.astype("<i4").tobytes(), row.truncated
    )
