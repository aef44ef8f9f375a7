"""The knee: the highest rate at which nine of ten have their reply within a limit, and 98 % of all have one in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.load import Load
from benchmarks.report import Result

ACHIEVED = 0.98
TRIES, NEAR = 2, 1.3  # a rate missed by so little is tried once more: hosts have bad seconds, whoever is measured


@dataclass
class Knee:
    """Bisection between nothing and `top_per_s`: iterate over (rate, seed) and `note` the load that came of each."""

    name: str
    top_per_s: float
    probes: int
    p90_ms: float
    per_s: float = 0.0
    load: Load = field(default_factory=lambda: Load(0, 0.0))  # at the knee; where none was found, the first tried
    tried: list[Result] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        high = self.top_per_s
        for probe in range(self.probes):
            rate = (self.per_s + high) / 2
            for again in range(TRIES):
                yield rate, 10 + probe + 100 * again
                if self.tried[-1]["held"] or self.tried[-1]["p90_ms"] > NEAR * self.p90_ms:
                    break
            if not self.tried[-1]["held"]:
                high = rate

    def note(self, rate_per_s: float, load: Load) -> None:
        """What came of a rate."""
        held = load.percentile(90) <= self.p90_ms and load.achieved >= ACHIEVED and not load.errors
        if held:
            self.per_s = rate_per_s
        if held or not self.tried:
            self.load = load
        self.tried.append({"rate_per_s": rate_per_s, "held": held, **load.summary()})
        print(f"{self.name}: {rate_per_s:.1f}/s p50 {load.percentile(50):.1f} p90 {load.percentile(90):.1f} "
              f"p99 {load.percentile(99):.1f} ms {'held' if held else 'not held'}", flush=True)
