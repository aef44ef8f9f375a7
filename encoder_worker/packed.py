"""Rows of token ids side by side, without padding: the form that every engine takes.

Linear layers see real tokens only. Attention, a fiftieth of their cost at 15 tokens, is what may still need rows of one
length (torch's own); the int8 kernels and those of a GPU need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

MASKED = -1e4  # far below any score, and within float16

Masks = NDArray[np.float32]


@dataclass(frozen=True)
class Packed:
    """Rows of token ids as the engines take them. `spans`: each row's (start, end) among the packed tokens.

    All int64[tokens]: ids, positions, and the start and end (exclusive) of the row that each token belongs to.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    spans: list[tuple[int, int]]

    def padded(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Masks]:
        """ids, positions, gather, scatter, mask: how the tokens lie where every row is as long as the longest.

        gather: int64[rows, longest], the packed token of each place; scatter: int64[tokens], the place of each token in
        the flat rectangle; mask: float32[rows, 1, 1, longest], 0 or MASKED.
        """
        starts, ends = np.array(self.spans, np.int64).T
        lengths = ends - starts
        longest = int(lengths.max())
        real = np.arange(longest) < lengths[:, None]
        gather = np.where(real, starts[:, None] + np.arange(longest), starts[:, None])
        mask = np.where(real, np.float32(0), np.float32(MASKED))[:, None, None, :]
        scatter = np.arange(len(self.ids)) - self.starts + np.repeat(np.arange(len(lengths)) * longest, lengths)
        return self.ids, self.positions, gather, scatter, mask


def packed(rows: Sequence[Sequence[int]], first_position: int) -> Packed:
    """The packed form of `rows`, in order. `first_position`: the position id of a row's first token."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    ends = lengths.cumsum()
    starts = ends - lengths
    ids = np.fromiter(chain.from_iterable(rows), np.int64, int(ends[-1]))
    begin = np.repeat(starts, lengths)
    spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
    return Packed(ids, np.arange(len(ids)) - begin + first_position, begin, np.repeat(ends, lengths), spans)
