"""Three zones on one machine: what a zone's loss costs callers, and what fetching from one's own zone saves and costs.

Each zone has a broker, an encoder worker and a head worker; Redis and the callers stand outside. First a load in
alternating rounds, with workers that know their zone and with workers that do not: bytes by the brokers' zones, and
latency. Then a zone is killed whole and comes back, under a load whose ids are known.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.arrivals import arrivals
from benchmarks.load import drive as drive_load
from benchmarks.report import Result
from benchmarks.stand import RING, Stand, stand
from benchmarks.zone_faults import ZONES, Fault, Zones, drive
from infra.stack.supervise import Child
from producers import Headrace
from topology.addresses import RACK
from topology.stream.process import new_event_loop
from topology.stream.traffic import read_traffic
from topology.topics import wanted

TOPICS = "[topics]\nreplication = 3\nmin_insync_replicas = 2\n"
TENANTS = 9
READY_S = 120.0


@dataclass(frozen=True)
class Plan:
    """`per_s`: of the load. `part_s`: before the fault, while the zone is away, and after. `rounds`: of each kind."""

    per_s: float = 15.0
    part_s: float = 40.0
    rounds: int = 4
    round_s: float = 20.0


def run(plan: Plan) -> Result:
    """Rounds with and without the zone's name, then a zone lost and back."""
    with (
        stand(TENANTS, encoders=3, head_workers=3, partitions=6, zones=ZONES, extra=TOPICS) as it,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_measured(it, plan))


async def _measured(it: Stand, plan: Plan) -> Result:
    zones = Zones(it.supervisor)
    async with Headrace(it.settings) as client:
        await drive_load(client, arrivals(plan.per_s, plan.part_s / 2, it.names, seed=1))
        rounds = [await _round(it, client, plan, number) for number in range(2 * plan.rounds)]
        await _renamed(it, nearest=True)
        lost = await drive(
            client, zones, it.settings, RING, arrivals(plan.per_s, 3 * plan.part_s, it.names, seed=2),
            [Fault(1 / 3, "killed", lambda: zones.kill(1)), Fault(2 / 3, "back", lambda: zones.bring_back(1))], "lost",
        )
    traffic = await read_traffic(it.settings.broker, [spec.name for spec in wanted(it.settings)])
    return {
        "per_s": plan.per_s, **lost.summary(), "latencies": [(one.at_s, one.took_s * 1e3) for one in lost.asked],
        "fetches": {kind: _mean([one for one in rounds if one["kind"] == kind]) for kind in ("nearest", "leader")},
        "rounds": rounds,
        "record_bytes": {name: one.bytes_each for name, one in traffic.items() if one.sampled},
    }


async def _round(it: Stand, client: Headrace, plan: Plan, number: int) -> Result:
    """One round of the load, by workers started anew; their counts are read when they end."""
    nearest = number % 2 == 0
    workers = await _renamed(it, nearest)
    before = {child.name: len(child.log.read_text()) for child in workers}
    load = await drive_load(client, arrivals(plan.per_s, plan.round_s, it.names, seed=10 + number))
    await _restarted(it, workers)
    sizes: Counter[str] = Counter()
    for child in workers:
        sizes.update(_bytes(child, before[child.name]))
    return {"kind": "nearest" if nearest else "leader", "bytes": dict(sizes),
            "own_share": sizes["own"] / max(1, sizes["all"]), **load.summary()}


def _zone(child: Child) -> str:
    return ZONES[int(child.name.rpartition("-")[2]) % len(ZONES)]


def _bytes(child: Child, begin: int) -> dict[str, int]:
    """What a worker that ended says it fetched: in all, and from its own zone."""
    line = next(line for line in reversed(child.log.read_text()[begin:].splitlines()) if "stats {" in line)
    told = json.loads("{" + line.partition("stats {")[2])
    return {"all": int(told["fetched_bytes"]), "own": int(told.get(f"fetched_bytes_{_zone(child)}", 0))}


async def _renamed(it: Stand, nearest: bool) -> list[Child]:
    """The workers, started anew with the name of their zone, or with none."""
    workers = [child for child in it.supervisor.children if child.name.startswith(("encoder", "head"))]
    for child in workers:
        child.command[1] = f"{RACK}={_zone(child) if nearest else ''}"
    await _restarted(it, workers)
    return workers


async def _restarted(it: Stand, workers: Sequence[Child]) -> None:
    """Every worker ended as asked and started anew, and ready."""
    for child in workers:
        child.process.terminate()
    await asyncio.gather(*(asyncio.to_thread(child.process.wait, 30) for child in workers))
    it.supervisor.restart_ended()
    for child in workers:
        await _ready(child)


async def _ready(child: Child) -> None:
    end_s = time.monotonic() + READY_S
    while not child.ready.exists():
        if time.monotonic() > end_s:
            raise RuntimeError(f"{child.name} was not ready within {READY_S:.0f} s")
        await asyncio.sleep(0.1)


def _mean(rounds: Sequence[Result]) -> Result:
    names = ("own_share", "p50_ms", "p90_ms", "p99_ms")
    return {name: float(np.mean([one[name] for one in rounds])) for name in names}


def plot(result: Result) -> Any:
    """Latency over time, with the zone's loss and its return."""
    def draw(axes: Any) -> None:
        axes.plot(*zip(*result["latencies"], strict=True), ".", ms=3)
        for what, part in result["parts"].items():
            axes.axvline(part["at_s"], color="grey", ls=":")
            axes.text(part["at_s"], 1, f" {what}", rotation=90, va="bottom")
        axes.set(xlabel="s", ylabel="ms", yscale="log")

    return draw
