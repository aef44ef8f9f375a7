"""What a process counted since it started, for Prometheus: counters and histograms, which begin at 0 anew."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from infra.insights.windows import LIMITS_MS, OTHERS, Said, durations_ms
from topology.pacing import PACING


class Totals:
    """Of one cell. Repeats are not counted."""

    def __init__(self) -> None:
        self.utterances: Counter[tuple[str, str]] = Counter()  # (tenant, code); the code of predictions is `ok`
        self.out_of_scope: Counter[str] = Counter()
        self.buckets: dict[str, list[int]] = {}  # stage → utterances by `LIMITS_MS`
        self.seconds: Counter[str] = Counter()  # stage → the sum

    def add(self, said: Said) -> None:
        """Count what a record says. Tenants beyond a bound share one name: an error names any that a client made up."""
        known = said.tenant in self.out_of_scope or len(self.out_of_scope) < PACING.insights_heads
        tenant = said.tenant if known else OTHERS
        self.utterances[tenant, said.code or "ok"] += 1
        self.out_of_scope[tenant] += said.out_of_scope
        for stage, ms in durations_ms(said.stages):
            self.buckets.setdefault(stage, [0] * (len(LIMITS_MS) + 1))[bisect_left(LIMITS_MS, ms)] += 1
            self.seconds[stage] += ms / 1e3  # type: ignore[assignment]  # a Counter of seconds
