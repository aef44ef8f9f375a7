"""One tenant floods its cell at ten times its share: what do the others notice?

Ten tenants with the same rate; then the first sends ten times as much. Quotas (headrace.toml) allow each twice its
rate.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from benchmarks.arrivals import Arrival, texts
from benchmarks.load import Load, drive
from benchmarks.report import Result
from benchmarks.stand import Stand, stand
from producers import Headrace
from topology.stream.process import new_event_loop

TENANTS, FLOOD, ALLOWED = 10, 10, 2.0


def run(rate_per_s: float, seconds: float, broker: str = "kafka") -> Result:
    """`others_p99_ms_before`, `others_p99_ms_during`, `overloaded_replies`. `rate_per_s`: of all together, before."""
    quotas = f"[quotas]\nper_s = {rate_per_s / TENANTS * ALLOWED}\nburst_s = 4\nqueue = 32\n"
    with (
        stand(TENANTS, broker=broker, encoders=1, head_workers=1, extra=quotas) as it,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_measure(it, rate_per_s, seconds))


async def _measure(it: Stand, rate_per_s: float, seconds: float) -> Result:
    flooding, others = it.names[0], it.names[1:]
    share = rate_per_s / TENANTS

    async def both(flood_per_s: float, seed: int) -> tuple[Load, Load]:
        async with Headrace(it.settings) as quiet, Headrace(it.settings) as loud:
            quiet_plan = _plan(others, share * len(others), seconds, seed)
            loud_plan = _plan([flooding], flood_per_s, seconds, seed + 50)
            found = await asyncio.gather(drive(quiet, quiet_plan), drive(loud, loud_plan))
            return found[0], found[1]

    await both(share, 1)
    before, _ = await both(share, 2)
    during, flood = await both(share * FLOOD, 3)
    return {
        "rate_per_s": rate_per_s, "others_p99_ms_before": before.percentile(99),
        "others_p99_ms_during": during.percentile(99), "others_p50_ms_before": before.percentile(50),
        "others_p50_ms_during": during.percentile(50), "others_errors": during.errors,
        "overloaded_replies": flood.errors.get("overloaded", 0), "flood_answered": len(flood.done_s),
        "flood_offered": flood.offered, "flood_errors": flood.errors,
    }


def _plan(names: list[str], rate_per_s: float, seconds: float, seed: int) -> list[Arrival]:
    draw, said = np.random.default_rng(seed), texts("uniform", seed)
    times = np.cumsum(draw.exponential(1 / rate_per_s, max(1, round(rate_per_s * seconds))))
    return [Arrival(float(at), names[draw.integers(len(names))], next(said)) for at in times]


def plot(result: Result) -> Any:
    """The others' latencies before and during the flood."""
    def draw(axes: Any) -> None:
        bars = {f"others' {p}, {when}": result[f"others_{p}_ms_{when}"] for p in ("p50", "p99")
                for when in ("before", "during")}
        axes.bar(list(bars), list(bars.values()))
        axes.set(ylabel="ms")

    return draw
