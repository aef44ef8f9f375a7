"""Token vectors of many lines one behind the other, so that a batch is taken without a loop over its lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from head_worker.engine import TokenVectors


class Packed:
    """int8[all tokens, hidden] with float32[all tokens] scales, as the wire has them: a quarter of their float32."""

    def __init__(self, rows: Sequence[TokenVectors]) -> None:
        lengths = np.array([len(row.data) for row in rows])
        self.lengths = torch.from_numpy(lengths)
        self.starts = torch.from_numpy(np.cumsum(lengths) - lengths)
        self.data = torch.from_numpy(np.concatenate([row.data for row in rows]))
        self.scales = torch.from_numpy(np.concatenate([row.scales for row in rows]).astype(np.float32))

    def batch(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(float32[rows, longest, hidden], bool[rows, longest], int64[rows, longest]) of rows at int64[rows] places.

        Their vectors, where they have any, and where among all tokens these are.
        """
        lengths = self.lengths[places]
        steps = torch.arange(int(lengths.max()))
        mask = steps < lengths[:, None]
        where = (self.starts[places][:, None] + steps) * mask
        return self.data[where] * (self.scales[where] * mask)[:, :, None], mask, where
