"""Rows of token ids side by side, without padding: the form that every engine takes.

Linear layers see real tokens only. Attention, a fiftieth of their cost at 15 tokens, is what may still need rows of one
length (torch); the int8 kernels need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MASKED = -1e4  # far below any score, and within float16


@dataclass(frozen=True)
class Packed:
    """Rows of token ids as the module takes them. `spans`: each row's (start, end) among the packed tokens.

    ids, positions: int64[tokens]; gather: int64[rows, longest], the packed token of each padded place; scatter:
    int64[tokens], the place of each token in the flat padded form; mask: float32[rows, 1, 1, longest].
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    gather: NDArray[np.int64]
    scatter: NDArray[np.int64]
    mask: NDArray[np.float32]
    spans: list[tuple[int, int]]


def packed(rows: Sequence[Sequence[int]], first_position: int) -> Packed:
    """The packed form of `rows`, in order. `first_position`: the position id of a row's first token."""
    lengths = np.array([len(row) for row in rows])
    ends = lengths.cumsum()
    starts = ends - lengths
    longest = int(lengths.max())
    ids = np.fromiter((i for row in rows for i in row), np.int64, int(ends[-1]))
    within = np.arange(len(ids)) - np.repeat(starts, lengths)
    real = np.arange(longest) < lengths[:, None]
    gather = np.where(real, starts[:, None] + np.arange(longest), starts[:, None])
    mask = np.where(real, np.float32(0), np.float32(MASKED))[:, None, None, :]
    scatter = within + np.repeat(np.arange(len(rows)) * longest, lengths)
    spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
    return Packed(ids, within + first_position, gather, scatter, mask, spans)
