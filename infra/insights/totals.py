"""What a process counted since it started, for Prometheus: counters and histograms, which begin at 0 anew."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from infra.insights.windows import LIMITS_MS, Said, durations_ms


class Totals:
    """Of one cell. Repeats are not counted."""

    def __init__(self) -> None:
        self.utterances: Counter[tuple[str, str]] = Counter()  # (tenant, code); the code of predictions is `ok`
        self.out_of_scope: Counter[str] = Counter()
        self.buckets: dict[str, list[int]] = {}  # stage → utterances by `LIMITS_MS`
        self.seconds: Counter[str] = Counter()  # stage → the sum

    def add(self, said: Said) -> None:
        """Count what a record says."""
        self.utterances[said.tenant, said.code or "ok"] += 1
        self.out_of_scope[said.tenant] += said.out_of_scope
        for stage, ms in durations_ms(said.stages):
            self.buckets.setdefault(stage, [0] * (len(LIMITS_MS) + 1))[bisect_left(LIMITS_MS, ms)] += 1
            self.seconds[stage] += ms / 1e3  # type: ignore[assignment]  # a Counter of seconds
