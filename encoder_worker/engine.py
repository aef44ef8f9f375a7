"""What runs an encoder: the engines' one face. `load.py` chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Encoded:
    """The token vectors of some rows, side by side: row i has tokens `spans[i][0]` to `spans[i][1]` (exclusive).

    In the wire's form: data int8[tokens, hidden], scales float32[tokens], which are finite where the vectors are.
    """

    data: NDArray[np.int8]
    scales: NDArray[np.float32]
    spans: list[tuple[int, int]]
    computed: int  # places that were computed, padding included: its share is 1 - tokens / computed
    exact: Callable[[], NDArray[np.float32]]  # gives `vectors`

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """float32[tokens, hidden], before they were rounded for the wire. A GPU computes them for who asks, all rows in
        one call."""
        return self.exact()


class Engine(Protocol):
    """What runs an encoder, from any thread. A vector depends on the row alone, not on the others of its batch (unless
    one of theirs overflows, which its scale tells)."""

    hidden: int
    precision: str
    on_gpu: bool

    def encode(self, rows: Rows) -> Encoded:
        """Token vectors of rows of token ids. Raises: Unavailable (full device)."""
        ...
