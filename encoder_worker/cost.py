"""How many tokens a batch should hold, and how many threads it is worth: from what batches have cost so far and the
ring's latency objective."""

from __future__ import annotations

from dataclasses import dataclass, field

FORGET = 0.98  # a batch's weight shrinks by this with each later one: the last 50 count
EFFICIENT = 0.95  # share of a batch's time that should go into tokens, not into its fixed part
SHARE = 0.25  # of the latency objective that one batch may take: it waits for one, is one, and there are other stages
FLAT = 0.02  # share of the cost that tokens have at least: a GPU's batch of 15 tokens takes as long as one of 300
SPREAD = 0.05  # share of the squares that must be spread: batches of nearly one size tell no slope, only noise
LEAST_TOKENS, MOST_TOKENS = 16, 16_384
HOLD_S = 0.15  # that a batch of several rows may keep the event loop from heartbeats, requests and a wish to stop
SHARED_S = 0.006  # of work at hand, from which on the loop shares it with a thread
PART_S = 0.03  # that one part of what is shared may take
WAKING_S = 0.002  # what a thread must save to be worth waking: an idle virtual processor takes 0.6 to 4 ms to begin
UNDISTURBED = 0.85  # share of its core that a worker must have got lately: else others need the cores that would help


@dataclass
class CostModel:
    """A batch of `t` tokens takes a + b * t seconds; a and b are fitted by least squares while the engine runs."""

    _sums: list[float] = field(default_factory=lambda: [0.0] * 5)  # weights, t, t*t, s, t*s
    _core_share: float = 1.0

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

    def within(self, seconds: float) -> int:
        """Tokens of the largest batch that takes no longer, at least LEAST_TOKENS."""
        fixed, per_token = self.fixed_and_per_token_s
        return int(min(max(LEAST_TOKENS, (seconds - fixed) / per_token), MOST_TOKENS)) if per_token else LEAST_TOKENS

    def allowed(self, objective_s: float) -> int:
        """Tokens of the largest batch that the objective allows. A longer row makes others wait too long."""
        return self.within(SHARE * objective_s)

    def budget(self, objective_s: float) -> int:
        """Tokens of the smallest efficient batch, or of the largest that the objective allows, if that is less."""
        fixed, per_token = self.fixed_and_per_token_s
        efficient = fixed / per_token * EFFICIENT / (1 - EFFICIENT) if per_token else 0
        return max(LEAST_TOKENS, min(int(efficient), self.allowed(objective_s)))

    def note_core(self, computed_s: float, passed_s: float) -> None:
        """A batch computed for so long while so much time passed: the rest of it others had the core."""
        share = computed_s / max(passed_s, 1e-9)
        self._core_share += 0.1 * (min(1.0, share) - self._core_share)

    def threads(self, tokens: int, lanes: int) -> int:
        """Of `lanes` that could compute a batch together, how many it is worth: each must save more than it takes to
        wake it, and on a machine that is busy none but the first is."""
        if self._core_share < UNDISTURBED:
            return 1
        fixed, per_token = self.fixed_and_per_token_s
        alone_s = fixed + per_token * tokens
        count = 1
        while count < lanes and alone_s / count - alone_s / (count + 1) > WAKING_S:
            count += 1
        return count
