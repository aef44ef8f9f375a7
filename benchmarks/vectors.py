"""Embeddings to score: random vectors, with the texts and tokens that they would be of."""

from __future__ import annotations

from itertools import islice

import numpy as np

from benchmarks.arrivals import texts
from benchmarks.shapes import HIDDEN, encoder_directory
from encoder_worker.tokens import Tokenizer

Vectors = tuple[str, int, bytes, bytes]  # text, tokens, int8 data, offsets


def embeddings(count: int = 512) -> list[Vectors]:
    """Random vectors of 15 tokens with the texts that they would be of."""
    tokenizer, draw = Tokenizer(encoder_directory(), 250), np.random.default_rng(0)
    found = []
    for text in islice(texts("uniform", 0), count):
        row = tokenizer.rows([text])[0]
        data = draw.integers(-127, 128, (len(row.ids), HIDDEN)).astype(np.int8)
        found.append((text, len(row.ids), data.tobytes(), row.offsets.astype("<i4").tobytes()))
    return found
