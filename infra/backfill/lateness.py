"""Whether live traffic is late: arithmetic over what `live` reads. Clocks are arguments."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from topology.pacing import PACING, Pacing
from topology.settings import Backfill


@dataclass(frozen=True)
class Waiting:
    """A live record that waits to be read, and how long it has."""

    topic: str
    age_s: float


def p99(values: Sequence[float]) -> float:
    """The least value that 99 % of them do not exceed. Of fewer than 100 the highest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


class Lateness:
    """Says whether live is late. After it was, it is in time only once it was so for `pacing.live_calm_s`."""

    def __init__(self, lines: Backfill, pacing: Pacing = PACING) -> None:
        self._lines, self._pacing = lines, pacing
        self._results: deque[tuple[float, float]] = deque()  # (when it was predicted, ms since it was submitted)
        self._last, self._since_s = "", 0.0  # why it was late, and since when it no longer is

    def add(self, submitted_us: int, predicted_us: int) -> None:
        """Another live result; times of the epoch."""
        self._results.append((predicted_us / 1e6, (predicted_us - submitted_us) / 1e3))

    def told(self, oldest: Waiting | None, now_s: float, unseen: str = "") -> str:
        """Empty where live is in time, else one sentence why not.

        `oldest`: the oldest live record that waits, where one does. `now_s`: of the epoch. `unseen`: why the live path
        cannot be seen, where it cannot; then it counts as late.
        """
        while self._results and self._results[0][0] <= now_s - self._pacing.live_window_s:
            self._results.popleft()
        if why := unseen or self._why(oldest, now_s):
            self._last, self._since_s = why, math.inf
            return why
        if not self._last:
            return ""
        self._since_s = min(self._since_s, now_s)
        calm_s = now_s - self._since_s
        if 0 <= calm_s < self._pacing.live_calm_s:
            return (f"live is in time again, for {calm_s:.1f} s of the {self._pacing.live_calm_s:g} s that are waited "
                    f"for; before: {self._last}")
        self._last = ""
        return ""

    def _why(self, oldest: Waiting | None, now_s: float) -> str:
        if oldest is not None and oldest.age_s > self._lines.live_age_s:
            return (f"the oldest live record on {oldest.topic} has waited for {oldest.age_s:.1f} s, longer than "
                    f"backfill.live_age_s = {self._lines.live_age_s:g}")
        took_ms = [ms for at_s, ms in self._results if at_s > now_s - self._pacing.live_window_s]
        if len(took_ms) >= self._pacing.live_least and (ms := p99(took_ms)) > self._lines.live_p99_ms:
            return f"live p99 is {ms:.0f} ms, above backfill.live_p99_ms = {self._lines.live_p99_ms:g}"
        return ""
