"""Replays by several processes, on a GPU to one card: utterances a second from topic to topic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.backfill import rate_of
from benchmarks.replays import fill_utterances
from benchmarks.report import Result
from benchmarks.stand import Stand, prepare, stand
from topology.stream.process import new_event_loop


@dataclass(frozen=True)
class Plan:
    """`utterances` are replayed once with each count of `workers`."""

    workers: Sequence[int]
    device: str = "cuda"
    precision: str = "float16"
    utterances: int = 400_000
    tenants: int = 64


def run(plan: Plan) -> Result:
    """Figures of `headrace bench backfill-workers`."""
    prepare(plan.tenants, int8=plan.precision == "int8")
    with (
        stand(plan.tenants, encoders=1, device=plan.device, precision=plan.precision,
              partitions=max(plan.workers)) as it,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        rates = runner.run(_measured(it, plan))
    return {"device": plan.device, "per_s": max(rates.values()), "by_workers": rates}


async def _measured(it: Stand, plan: Plan) -> dict[str, float]:
    await fill_utterances(it, plan.utterances)
    return {str(n): await rate_of(it, f"workers-{n}", "utterances", "--workers", str(n)) for n in plan.workers}


def plot(result: Result) -> Any:
    """Rate over processes."""
    def draw(axes: Any) -> None:
        axes.plot([int(n) for n in result["by_workers"]], list(result["by_workers"].values()), marker="o")
        axes.set(xlabel="processes", ylabel="utterances/s", ylim=(0, None))

    return draw
