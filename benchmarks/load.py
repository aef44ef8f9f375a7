"""An open-loop load on a running stack: what comes next does not wait for what came before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.arrivals import Arrival
from producers import Headrace
from topology.errors import HeadraceError

DEADLINE_S = 120.0
STAGES = {"received": "wait", "encoded": "encode", "predicted": "head", "replied": "reply"}


@dataclass
class Load:
    """What became of a load. Latencies are from the scheduled arrival to the reply in the caller's hands."""

    offered: int
    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    done_s: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def achieved(self) -> float:
        """The share that had its reply within the load's own time and half a second more."""
        return sum(s <= self.seconds + 0.5 for s in self.done_s) / max(1, self.offered)

    def percentile(self, q: float) -> float:
        """Milliseconds."""
        return float(np.percentile(self.latencies_ms, q)) if self.latencies_ms else float("nan")

    def throughput_per_s(self) -> float:
        """Replies a second between the first and the last tenth of them."""
        times = sorted(self.done_s)
        if len(times) < 20:
            return 0.0
        low, high = len(times) // 10, len(times) * 9 // 10
        return (high - low) / max(1e-9, times[high] - times[low])

    def summary(self) -> dict[str, object]:
        """For a result file."""
        stages = {name: {f"p{q}_ms": float(np.percentile(values, q)) for q in (50, 90, 99)}
                  for name, values in self.stages_ms.items() if values}
        return {
            "offered": self.offered, "answered": len(self.done_s), "achieved": self.achieved, "errors": self.errors,
            **{f"p{q}_ms": self.percentile(q) for q in (50, 90, 99)}, "stages": stages,
        }


async def drive(client: Headrace, arrivals: Sequence[Arrival], deadline_s: float = DEADLINE_S) -> Load:
    """Send every arrival at its time and wait for every reply."""
    load = Load(len(arrivals), arrivals[-1].at_s)
    begin = time.perf_counter()

    async def one(arrival: Arrival) -> None:
        try:
            reply = await client.predict(arrival.tenant, arrival.text, lang="en", deadline=deadline_s)
        except HeadraceError as error:
            load.errors[error.code] = load.errors.get(error.code, 0) + 1
            return
        now = time.perf_counter() - begin
        load.done_s.append(now)
        load.latencies_ms.append((now - arrival.at_s) * 1e3)
        times = reply.times_ms
        for stage, name in STAGES.items():
            load.stages_ms.setdefault(name, []).append(times.get(stage, 0.0))

    async with asyncio.TaskGroup() as group:
        for arrival in arrivals:
            if (wait_s := arrival.at_s - (time.perf_counter() - begin)) > 0:
                await asyncio.sleep(wait_s)
            group.create_task(one(arrival))
    return load
