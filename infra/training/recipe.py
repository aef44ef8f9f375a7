"""How a head is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from infra.training.calibrate import KEEP
from infra.training.folds import FOLDED
from infra.training.model import SIZES, Size

BALANCE = {"none": 0.0, "sqrt": 0.5, "full": 1.0}
EPOCHS, FEWEST_EPOCHS = 30, 5
ENOUGH = 8_000  # lines from which on fewer epochs do
FEW_EPOCHS, FEW_RATE = 20, 2e-3  # of few lines: the rate makes up for the epochs
RATE = 1e-3


@dataclass(frozen=True)
class Recipe:
    """`epochs`: how often every line teaches; `rate`: AdamW's highest. 0: what suits the number of lines (`for_lines`).

    `batch`: lines of a step. `balance`: how far rare intents are weighted up: none, sqrt or full (inverse frequency).
    `patience`: epochs without a better one after which training on held-out lines ends. `keep`: the least share of what
    is in scope that the threshold may let through.
    """

    epochs: int = 0
    seed: int = 0
    size: Size = SIZES["compact"]
    precision: str = "int8"
    rate: float = 0.0
    balance: str = "none"
    patience: int = 6
    smoothing: float = 0.0
    keep: float = KEEP
    batch: int = 32

    def for_lines(self, lines: int) -> Recipe:
        """With its epochs and its rate, where they are 0: few lines learn faster, many teach more in an epoch."""
        few = lines < FOLDED
        epochs = FEW_EPOCHS if few else max(FEWEST_EPOCHS, min(EPOCHS, EPOCHS * ENOUGH // lines))
        return replace(self, epochs=self.epochs or epochs, rate=self.rate or (FEW_RATE if few else RATE))
