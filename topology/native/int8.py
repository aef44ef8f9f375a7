"""int8 with one float32 scale a row: token vectors on the wire, and the rows of weights that the kernels multiply.

The formula's one spelling in Python. `arithmetic.h` (`to_wire`) and `encoder_worker/fused.py` compute the same where
the vectors already are, in C and on a GPU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topology.wire import Embedding

Floats = NDArray[np.float32]
Ints = NDArray[np.int8]

LEAST_SCALE = np.float32(1e-12)  # of a row of zeros


def quantize(rows: Floats) -> tuple[Ints, Floats]:
    """(int8[rows, width], float32[rows] scales) of float32[rows, width], rounded to the nearest step.

    A scale is the row's largest magnitude over 127, so the error is at most half a scale a value.
    """
    scales = np.maximum(np.abs(rows).max(axis=1) / 127.0, LEAST_SCALE).astype("<f4")
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def quantized(record: Embedding) -> tuple[Ints, Floats]:
    """The record's token vectors as (int8[tokens, hidden], float32[tokens] scales), whatever form they came in.

    Its sizes were checked when it was decoded.
    """
    shape = (record.tokens, record.hidden)
    if record.dtype == "int8":
        return np.frombuffer(record.data, np.int8).reshape(shape), np.frombuffer(record.scales, "<f4")
    plain = np.frombuffer(record.data, dtype=np.dtype(record.dtype).newbyteorder("<"))
    return quantize(plain.reshape(shape).astype(np.float32))
