"""How a head is trained."""

from __future__ import annotations

from dataclasses import dataclass

from infra.training.calibrate import KEEP
from infra.training.model import SIZES, Size

BALANCE = {"none": 0.0, "sqrt": 0.5, "full": 1.0}
EPOCHS, FEWEST_EPOCHS = 20, 5
ENOUGH = 3_000  # lines from which on fewer epochs do


@dataclass(frozen=True)
class Recipe:
    """`epochs`: how often every line teaches, 0: as `epochs_of` says. `batch`: lines of a step.

    `rate`: AdamW's highest. `balance`: how far rare intents are weighted up: none, sqrt or full (inverse frequency).
    `patience`: epochs without a better one after which training on held-out lines ends. `keep`: the least share of what
    is in scope that the threshold may let through.
    """

    epochs: int = 0
    seed: int = 0
    size: Size = SIZES["compact"]
    precision: str = "int8"
    rate: float = 2e-3
    balance: str = "none"
    patience: int = 6
    smoothing: float = 0.0
    keep: float = KEEP
    batch: int = 32


def epochs_of(lines: int) -> int:
    """20, and fewer of many lines, which teach more in an epoch."""
    return max(FEWEST_EPOCHS, min(EPOCHS, EPOCHS * ENOUGH // lines))
