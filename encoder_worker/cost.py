"""What a batch costs: fitted from those that were computed, so that a batch can be cut to a time."""

from __future__ import annotations

from dataclasses import dataclass, field

FORGET = 0.98  # a batch's weight shrinks by this with each later one: the last 50 count
FLAT = 0.02  # share of the cost that tokens have at least: a GPU's batch of 15 tokens takes as long as one of 300
SPREAD = 0.05  # share of the squares that must be spread: batches of nearly one size tell no slope, only noise
LEAST_TOKENS, MOST_TOKENS = 16, 16_384


@dataclass
class CostModel:
    """A batch of `t` tokens takes a + b * t seconds; a and b are fitted by least squares while the engine runs."""

    _sums: list[float] = field(default_factory=lambda: [0.0] * 5)  # weights, t, t*t, s, t*s

    def note(self, tokens: int, seconds: float) -> None:
        """A batch of `tokens` took `seconds`."""
        seen = (1.0, tokens, tokens * tokens, seconds, tokens * seconds)
        self._sums = [FORGET * old + new for old, new in zip(self._sums, seen, strict=True)]

    @property
    def fixed_and_per_token_s(self) -> tuple[float, float]:
        """(a, b), neither below 0. Before batches of different sizes were seen all cost is put on the tokens; where it
        does not grow with them, nearly all on the batch."""
        weight, t, tt, s, ts = self._sums
        if not t:
            return 0.0, 0.0
        spread = weight * tt - t * t
        if spread <= SPREAD * weight * tt:
            return 0.0, s / t
        per_token = min(max((weight * ts - t * s) / spread, FLAT * s / t), s / t)
        return max(0.0, (s - per_token * t) / weight), per_token

    def tokens_within(self, seconds: float) -> int:
        """Tokens of the largest batch that takes no longer, at least LEAST_TOKENS."""
        fixed, per_token = self.fixed_and_per_token_s
        return int(min(max(LEAST_TOKENS, (seconds - fixed) / per_token), MOST_TOKENS)) if per_token else LEAST_TOKENS
