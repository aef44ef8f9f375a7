"""Ten times as many tenants as there is room for: do the warm ones notice, and how long does a cold one wait?

One head worker with room for `room` heads, asked from the embeddings topic (no encoder in the way). Its memory is
filled first. Then warm tenants are asked, beside others whose heads are in memory too; then the same arrivals again,
where the others are cold: one after another in a circle (the order that defeats least-recently-used), or by Zipf. So
what differs is the loading, not the load.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.arrivals import Arrival
from benchmarks.heads import drive_embeddings
from benchmarks.report import Result
from benchmarks.shapes import encoder_directory
from benchmarks.stand import Stand, stand
from benchmarks.vectors import embeddings
from producers import Headrace
from producers.outbox import Outbox
from topology.encoders import space_of
from topology.stream.kafka import Producer
from topology.stream.process import new_event_loop

WARM, FILLED_PER_S = 32, 60.0
HEAD_BYTES = 8_480_000


def run(room: int, asked: int, rate_per_s: float, cold_per_s: float, seconds: float, broker: str = "kafka") -> Result:
    """`warm_p99_ms_before`, `warm_p99_ms_during` and `cold_p90_ms`, for both orders."""
    megabytes = max(WARM + 1, room) * HEAD_BYTES // (1 << 20) + 1
    with stand(asked, broker=broker, encoders=1, head_workers=1, answer_first=1, memory_mb=megabytes) as it:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            found = runner.run(_measure(it, room, rate_per_s, cold_per_s, seconds))
        counts = it.stopped_stats("head")
    worst = max(found["cyclic"]["warm_p99_ms_during"], found["zipf"]["warm_p99_ms_during"])
    return {
        "room": room, "tenants": asked, "warm_p99_ms_before": found["before"], "warm_p99_ms_during": worst,
        "cold_p90_ms": max(found["cyclic"]["cold_p90_ms"], found["zipf"]["cold_p90_ms"]),
        "cyclic": found["cyclic"], "zipf": found["zipf"], "head_cache": counts,
    }


async def _measure(it: Stand, room: int, rate_per_s: float, cold_per_s: float, seconds: float) -> Result:
    space, records = space_of(encoder_directory(), 250), embeddings()
    warm, cold = it.names[:WARM], it.names[WARM:]
    async with Headrace(it.settings) as client:
        producer = Producer(it.settings.broker)
        await producer.start()
        try:
            async def drive(plan: list[Arrival]) -> list[tuple[str, float]]:
                answered: list[tuple[str, float]] = []
                await drive_embeddings(it, client, Outbox(producer), records, space, plan, answered)
                return answered

            first = _poisson(warm, rate_per_s, seconds, 0)
            await drive(first + [Arrival(n / FILLED_PER_S, cold[n], "") for n in range(min(room, len(cold)))])
            before = await drive(_mixed(warm, rate_per_s, _circle(warm[:8], cold_per_s, seconds * 3, 3), seconds * 3))
            result: Result = {"before": _p(99, before)}
            for kind, others in (
                ("cyclic", _circle(cold[room:], cold_per_s, seconds * 3, 3)),
                ("zipf", _zipf(cold, cold_per_s, seconds * 3, 3)),
            ):
                plan = _mixed(warm, rate_per_s, others, seconds * 3)
                answered = await drive(plan)
                own = set(warm)
                result[kind] = {
                    "warm_p99_ms_during": _p(99, [one for one in answered if one[0] in own]),
                    "cold_p90_ms": _p(90, [one for one in answered if one[0] not in own]),
                    "answered": len(answered), "asked": len(plan),
                }
        finally:
            await producer.stop()
    return result


def _mixed(warm: list[str], rate_per_s: float, others: list[Arrival], seconds: float) -> list[Arrival]:
    return sorted(_poisson(warm, rate_per_s, seconds, 2) + others, key=lambda one: one.at_s)


def _p(q: float, answered: list[tuple[str, float]]) -> float:
    return float(np.percentile([ms for _, ms in answered], q)) if answered else float("nan")


def _poisson(names: list[str], rate_per_s: float, seconds: float, seed: int) -> list[Arrival]:
    draw = np.random.default_rng(seed)
    times = np.cumsum(draw.exponential(1 / rate_per_s, round(rate_per_s * seconds)))
    return [Arrival(float(at), names[draw.integers(len(names))], "") for at in times]


def _circle(names: list[str], rate_per_s: float, seconds: float, seed: int) -> list[Arrival]:
    turn = cycle(names)
    return [replace(one, tenant=next(turn)) for one in _poisson(names, rate_per_s, seconds, seed)]


def _zipf(names: list[str], rate_per_s: float, seconds: float, seed: int) -> list[Arrival]:
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(names) + 1)
    chosen = draw.choice(len(names), round(rate_per_s * seconds), p=weights / weights.sum())
    plan = _poisson(names, rate_per_s, seconds, seed)
    return [replace(one, tenant=names[i]) for one, i in zip(plan, chosen, strict=True)]


def plot(result: Result) -> Any:
    """Warm p99 before and during, and the cold p90."""
    def draw(axes: Any) -> None:
        bars = {"warm p99, alone": result["warm_p99_ms_before"],
                "warm p99, cyclic": result["cyclic"]["warm_p99_ms_during"],
                "warm p99, Zipf": result["zipf"]["warm_p99_ms_during"], "cold p90": result["cold_p90_ms"]}
        axes.bar(list(bars), list(bars.values()))
        axes.set(ylabel="ms")

    return draw


