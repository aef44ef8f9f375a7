"""Workers by lag, measured: a step from 20 to 80 % of the knee and back, scaled as `headrace up --autoscale` does.

The knee is that of all the encoder workers that there may be, on the same machine in the same run, at p90 within
`KNEE_P90_MS`. Autoscaling promises seconds, not milliseconds, so this limit is wider than that of `bench pipeline`: at
35 ms a machine of two cores has its knee where one encoder worker suffices. Then their count is left to the decision.
Every reply is awaited; afterwards each id is counted on the topics of embeddings and predictions.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.arrivals import Arrival, arrivals
from benchmarks.knee import Knee
from benchmarks.load import drive
from benchmarks.pipeline import WARM_S
from benchmarks.report import Result
from benchmarks.stand import CORES, RING, Stand, stand
from infra.autoscale.decider import Decider
from infra.autoscale.local import Fleet, autoscale
from infra.autoscale.signals import Signals, tiers
from infra.autoscale.tiers import Advice, Tier
from producers import Headrace
from topology import topics, wire
from topology.settings import Settings
from topology.stream.kafka import TopicReader
from topology.stream.process import new_event_loop

KNEE_P90_MS = 500.0
LOW, HIGH = 0.2, 0.8
ENCODERS, HEADS = f"encoder/{RING}", f"head/{RING}/a"
LOOK_S = 0.25


@dataclass(frozen=True)
class Plan:
    """`seconds`: of each of the three parts (low, high, low). `quiet_s`: of `[autoscale]`; so short only to measure.
    `knee_per_s`: as it was measured before; 0 finds it."""

    seconds: float = 120.0
    probes: int = 5
    quiet_s: float = 60.0
    encoders: int = CORES
    tenants: int = 16
    top_per_s: float = 800.0
    knee_per_s: float = 0.0


@dataclass
class Seen:
    """What was seen over the run; times are seconds since the load began."""

    decisions: list[dict[str, object]] = field(default_factory=list)
    ages: list[tuple[float, float]] = field(default_factory=list)
    counts: list[tuple[float, int, int]] = field(default_factory=list)
    looks: list[dict[str, object]] = field(default_factory=list)


def run(plan: Plan) -> Result:
    """Time to scale, the oldest record's age over time, and what became of every utterance."""
    settings = f"[autoscale]\nquiet_s = {plan.quiet_s:g}\nevery_s = 2.0\n"
    with (
        stand(plan.tenants, encoders=plan.encoders, extra=settings) as it,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_measured(it, plan))


async def _measured(it: Stand, plan: Plan) -> Result:
    async with Headrace(it.settings) as client:
        await drive(client, arrivals(plan.top_per_s / 4, WARM_S, it.names, "uniform", seed=1))
        knee_per_s = plan.knee_per_s or await _knee(it, client, plan)
        fleet, seen, stop = Fleet(it.settings, it.supervisor, str(it.config)), Seen(), asyncio.Event()
        fleet.apply(Advice(ENCODERS, time.time(), 1, plan.encoders, "the step begins with one"))
        while any(one.retired_s for one in it.supervisor.children):
            await fleet.tend()
            await asyncio.sleep(LOOK_S)
        coming, began_s = _step(knee_per_s, plan.seconds, it.names), time.time()
        scaling = asyncio.create_task(_scaling(it.settings, fleet, stop, seen, began_s))
        watching = asyncio.create_task(_watching(fleet, stop, seen, began_s))
        load = await drive(client, coming)
        stop.set()
        await asyncio.gather(scaling, watching)
    counted = await _counted(it.settings, int(began_s * 1e6))
    return {
        "knee_per_s": knee_per_s, "low_per_s": LOW * knee_per_s, "high_per_s": HIGH * knee_per_s,
        "part_s": plan.seconds, "encoders_at_most": plan.encoders, **_times(seen, plan),
        "oldest_age_s_at_most": max((age for _, age in seen.ages), default=0.0), **load.summary(),
        "lost": load.offered - len(load.done_s), **counted, **asdict(seen),
    }


async def _knee(it: Stand, client: Headrace, plan: Plan) -> float:
    knee = Knee("knee", plan.top_per_s, plan.probes, KNEE_P90_MS)
    for rate, seed in knee:
        knee.note(rate, await drive(client, arrivals(rate, 10.0, it.names, "uniform", seed)))
    return knee.per_s


def _step(knee_per_s: float, seconds: float, names: list[str]) -> list[Arrival]:
    """Low, high, low: each part as long."""
    found = []
    for part, share in enumerate((LOW, HIGH, LOW)):
        for one in arrivals(share * knee_per_s, seconds, names, "uniform", seed=20 + part):
            if one.at_s < seconds:
                found.append(Arrival(one.at_s + part * seconds, one.tenant, one.text))
    return found


async def _scaling(settings: Settings, fleet: Fleet, stop: asyncio.Event, seen: Seen, began_s: float) -> None:
    signals = Signals(settings)

    def now_s() -> float:
        return time.time() - began_s

    async def read() -> Sequence[Tier]:
        found = tiers(settings, await signals.look())
        seen.looks.extend({
            "at_s": now_s(), "tier": one.name, "running": one.replicas, "arrive_per_s": one.arrivals_per_s,
            "wait": one.backlog, "work_per_s": one.rate_per_s, "work_each": one.work_per_record, "busy": one.busy,
        } for one in found)
        seen.ages.append((now_s(), max((one.oldest_age_s or 0.0 for one in found), default=0.0)))
        return found

    def note(advices: Sequence[Advice]) -> None:
        seen.decisions.extend(
            {"at_s": now_s(), "tier": one.tier, "from": one.running, "to": one.replicas, "why": one.why}
            for one in advices if one.replicas != one.running
        )

    try:
        decider = Decider(read, settings.autoscale, note, fleet.counts)
        await autoscale(fleet, decider, stop, lambda line: print(f"{now_s():6.1f} s  {line}", flush=True))
    finally:
        await signals.stop()


async def _watching(fleet: Fleet, stop: asyncio.Event, seen: Seen, began_s: float) -> None:
    while not stop.is_set():
        ready = fleet.ready
        seen.counts.append((time.time() - began_s, ready[ENCODERS], ready[HEADS]))
        await asyncio.sleep(LOOK_S)


def _times(seen: Seen, plan: Plan) -> Result:
    """Seconds from each step to the decision that answers it, and to as many workers as that wants."""
    found: Result = {}
    for name, step_s, upward in (("up", plan.seconds, True), ("down", 2 * plan.seconds, False)):
        decided = next((one for one in seen.decisions if one["tier"] == ENCODERS and float(str(one["at_s"])) >= step_s
                        and (int(str(one["to"])) > int(str(one["from"]))) is upward), None)
        if decided is None:
            continue
        at_s, wanted = float(str(decided["at_s"])), int(str(decided["to"]))
        there_s = next((at for at, count, _ in seen.counts if at >= at_s and (
            count >= wanted if upward else count <= wanted)), None)
        found |= {f"{name}_decided_s": at_s - step_s, f"{name}_done_s": None if there_s is None else there_s - step_s}
    return found


async def _counted(settings: Settings, since_us: int) -> Result:
    """How many ids of the run stand on the topics of embeddings and predictions, and how many stand there twice."""
    found: Result = {}
    ids: set[str] = set()
    kinds: tuple[tuple[str, Callable[[bytes | None], wire.Embedding | wire.Prediction], str], ...] = (
        ("embeddings", lambda value: wire.decode(wire.Embedding, value or b""),
         topics.embeddings(settings.prefix, RING, "a")),
        ("predictions", lambda value: wire.decode(wire.Prediction, value or b""),
         topics.predictions(settings.prefix, RING, "a")),
    )
    for name, decode, topic in kinds:
        reader = TopicReader(settings.broker, topic)
        await reader.start()
        try:
            records = [decode(record.value) for record in await reader.read_to_end()]
        finally:
            await reader.stop()
        ids = ids or {one.id for one in records if one.submitted_us >= since_us}
        each = Counter(one.id for one in records if one.id in ids)
        found |= {f"{name}_ids": len(each), f"{name}_twice": sum(count > 1 for count in each.values())}
    return found


def plot(result: Result) -> Any:
    """The oldest record's age, and the encoder workers, over time."""
    def draw(axes: Any) -> None:
        axes.plot(*zip(*result["ages"], strict=True), color="tab:red", label="oldest record waits, s")
        beside = axes.twinx()
        beside.step([at for at, _, _ in result["counts"]], [count for _, count, _ in result["counts"]], where="post",
                    label="encoder workers ready")
        beside.set(ylabel="workers", ylim=(0, result["encoders_at_most"] + 1))
        for part, name in ((1, f"{result['high_per_s']:.0f}/s"), (2, f"{result['low_per_s']:.0f}/s")):
            axes.axvline(part * result["part_s"], color="grey", ls=":")
            axes.text(part * result["part_s"], 0, f" {name}", rotation=90, va="bottom")
        axes.set(xlabel=f"seconds, beginning at {result['low_per_s']:.0f}/s", ylabel="s", ylim=(0, None))
        axes.legend(loc="upper left")
        beside.legend(loc="upper right")

    return draw
