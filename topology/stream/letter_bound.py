"""How many dead letters one process keeps, so that one hostile client does not fill their topic."""

from __future__ import annotations

from collections import Counter

from topology.pacing import PACING, Pacing


class LetterBound:
    """At most `per_minute` of a tenant in each minute, and `pacing.letter_tenants` times as many of all tenants.

    The second bound is for clients that make up a tenant for each record; it bounds the memory for the names too.
    `over`: how many were not kept so far.
    """

    def __init__(self, per_minute: int, pacing: Pacing = PACING) -> None:
        self._per_minute, self._pacing = per_minute, pacing
        self._since_s = float("-inf")
        self._kept: Counter[str] = Counter()  # since then, by tenant
        self._total = 0
        self.over = 0

    def takes(self, tenant: str, now_s: float) -> bool:
        """Whether one more letter is kept now. Letters that tell no tenant (an empty one) count together."""
        if now_s - self._since_s >= self._pacing.letter_window_s:
            self._since_s, self._total = now_s, 0
            self._kept.clear()
        if self._total >= self._per_minute * self._pacing.letter_tenants or self._kept[tenant] >= self._per_minute:
            self.over += 1
            return False
        self._kept[tenant] += 1
        self._total += 1
        return True
