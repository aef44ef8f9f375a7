"""Replays: alone against the bare engines, from embeddings against the bare heads, and beside live traffic.

Everything on one stack in one run. What is replayed was sent with deadlines that had passed: live workers refuse it
unread, and replays do not look at deadlines. Beside live traffic the replay's workers are stopped and continued
(SIGSTOP, SIGCONT) in turns, so that both conditions see the same minutes of the machine.
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import bare
from benchmarks.arrivals import arrivals
from benchmarks.knee import Knee
from benchmarks.load import drive
from benchmarks.pipeline import KNEE_P90_MS, WARM_S
from benchmarks.replays import fill_embeddings, fill_utterances, replaying
from benchmarks.report import Result
from benchmarks.stand import CORES, RING, Stand, prepare, stand, store_dir
from benchmarks.work import BATCH
from producers import Headrace
from topology.stream.process import new_event_loop

HEADS_BATCHES = (16, 256, 1_024)


@dataclass(frozen=True)
class Plan:
    """How long."""

    tenants: int = 64
    seconds: float = 20.0
    probes: int = 4
    rounds: int = 4


def run(plan: Plan) -> Result:
    """Every figure of `headrace bench backfill`."""
    prepare(plan.tenants)
    before = _bare(plan)
    with stand(plan.tenants, head_workers=CORES) as it, asyncio.Runner(loop_factory=new_event_loop) as runner:
        result = runner.run(_measured(it, plan, before))
    after = _bare(plan)
    engines, heads = ((before[name] + after[name]) / 2 for name in ("engines", "heads"))
    result |= {
        "bare_per_s": engines, "bare_heads_per_s": heads, "share_of_bare": result["alone_per_s"] / engines,
        "heads_share_of_bare": result["heads_per_s"] / heads,
    }
    return result


def _bare(plan: Plan) -> dict[str, float]:
    """Of the engines, and of the heads at the best of several batches."""
    def rate(engines: str, batch: int) -> float:
        return bare.both(engines, "uniform", plan.seconds / 4, store_dir(), RING, plan.tenants, batch)

    found = {"engines": rate("ours", BATCH), "heads": max(rate("heads", batch) for batch in HEADS_BATCHES)}
    print(f"bare: engines {found['engines']:.0f}/s, heads {found['heads']:.0f}/s", flush=True)
    return found


async def _measured(it: Stand, plan: Plan, before: dict[str, float]) -> Result:
    async with Headrace(it.settings) as client:
        await drive(client, arrivals(before["engines"] / 3, max(WARM_S, plan.seconds), it.names, "uniform", seed=1))
        await fill_utterances(it, int(before["engines"] * plan.seconds * 1.2))
        alone = await rate_of(it, "alone", "utterances")
        await fill_embeddings(it, int(before["heads"] * plan.seconds * 0.8))
        heads = await rate_of(it, "heads", "embeddings")
        knee = Knee("live", before["engines"], plan.probes, KNEE_P90_MS)
        for rate, seed in knee:
            knee.note(rate, await drive(client, arrivals(rate, plan.seconds / 2, it.names, "uniform", seed)))
        flood = await drive(client, arrivals(2 * before["engines"], plan.seconds / 2, it.names, "uniform", 2))
        await fill_utterances(it, int(before["engines"] * plan.seconds * (plan.rounds + 2)))
        beside = await _beside(it, client, plan, knee.per_s / 2)
    saturated = flood.throughput_per_s()
    return {
        "alone_per_s": alone, "heads_per_s": heads, "knee_per_s": knee.per_s, "saturated_per_s": saturated, **beside,
        "together_share_of_saturated": beside["together_per_s"] / saturated,
    }


async def rate_of(it: Stand, name: str, source: str, *more: str) -> float:
    """Records a second of a whole replay."""
    async with replaying(it, name, source, *more) as replay:
        while replay.process.returncode is None:
            await replay.look()
            await asyncio.sleep(0.25)
        await replay.look()
    if replay.process.returncode:
        raise RuntimeError(f"the replay {name!r} ended with {replay.process.returncode}")
    print(f"{name}: {replay.per_s():.0f}/s of {replay.seen[-1][2]}", flush=True)
    return replay.per_s()


async def _beside(it: Stand, client: Headrace, plan: Plan, live_per_s: float) -> Result:
    """Live at a rate, in turns without and with a replay that takes what it can."""
    found: dict[bool, list[float]] = {False: [], True: []}
    rounds, replayed, seconds = [], 0, 0.0
    async with replaying(it, "beside", "utterances") as replay:
        await replay.begun()
        for number in range(plan.rounds):
            p99 = {}
            for with_it in (False, True) if number % 2 == 0 else (True, False):
                replay.signal(signal.SIGCONT if with_it else signal.SIGSTOP)
                await asyncio.sleep(1.0)
                done, begun_s = (await replay.look())[0], time.monotonic()
                seed = 50 + 2 * number + with_it
                load = await drive(client, arrivals(live_per_s, plan.seconds, it.names, "uniform", seed))
                if with_it:
                    replayed += (await replay.look())[0] - done
                    seconds += time.monotonic() - begun_s
                found[with_it] += load.latencies_ms
                p99[with_it] = load.percentile(99)
            rounds.append({"alone_p99_ms": p99[False], "beside_p99_ms": p99[True]})
            print(f"live p99 {p99[False]:.1f} ms alone, {p99[True]:.1f} ms beside a replay", flush=True)
    told = {f"{name}_p{q}_ms": float(np.percentile(found[which], q))
            for which, name in ((False, "live_alone"), (True, "live_beside")) for q in (50, 90, 99)}
    return {
        **told, "live_per_s": live_per_s, "beside_per_s": replayed / seconds, "rounds": rounds,
        "together_per_s": live_per_s + replayed / seconds,
        "live_p99_gain": told["live_beside_p99_ms"] / told["live_alone_p99_ms"] - 1,
    }


def plot(result: Result) -> Any:
    """Live latency without and with a replay, round by round."""
    def draw(axes: Any) -> None:
        rounds = range(1, len(result["rounds"]) + 1)
        for name, label in (("alone_p99_ms", "live alone"), ("beside_p99_ms", "beside a replay")):
            axes.plot(rounds, [one[name] for one in result["rounds"]], marker="o", label=f"{label}: p99")
        axes.set(xlabel=f"round, live at {result['live_per_s']:.0f}/s", ylabel="ms", ylim=(0, None))
        axes.legend()

    return draw
