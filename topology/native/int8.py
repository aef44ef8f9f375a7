"""Token vectors to and from their compact wire form: int8 with one float32 scale a token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topology.wire import Embedding

Vectors = NDArray[np.float32]


def quantize(vectors: Vectors) -> tuple[bytes, bytes]:
    """float32[tokens, hidden] as int8 data and float32[tokens] scales, rounded to the nearest step.

    A scale is the token's largest magnitude over 127, so the error is at most half a scale a value.
    """
    scales = np.maximum(np.abs(vectors).max(axis=1) / 127.0, np.float32(1e-12)).astype("<f4")
    data = np.rint(vectors / scales[:, None]).astype(np.int8)
    return data.tobytes(), scales.tobytes()


def quantized(record: Embedding) -> tuple[NDArray[np.int8], Vectors]:
    """The record's token vectors as (int8[tokens, hidden], float32[tokens] scales), whatever form they came in.

    Its sizes were checked when it was decoded.
    """
    shape = (record.tokens, record.hidden)
    if record.dtype == "int8":
        return np.frombuffer(record.data, np.int8).reshape(shape), np.frombuffer(record.scales, "<f4")
    plain = np.frombuffer(record.data, dtype=np.dtype(record.dtype).newbyteorder("<"))
    data, scales = quantize(plain.reshape(shape).astype(np.float32))
    return np.frombuffer(data, np.int8).reshape(shape), np.frombuffer(scales, "<f4")
