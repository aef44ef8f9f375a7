"""The whole pipeline under an open-loop load: the knee, saturation, a light load, and what each process costs.

The knee is the highest rate at which nine of ten utterances have their reply within 35 ms and 98 % of what was
offered has one in time. Bare engines are measured in the same run, before and after, on the same cores.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from benchmarks import bare
from benchmarks.arrivals import LENGTHS, arrivals
from benchmarks.knee import Knee
from benchmarks.load import Load, drive
from benchmarks.report import Result
from benchmarks.stand import ENCODERS, RING, Stand, prepare, stand, store_dir
from benchmarks.work import paced_ms
from producers import Headrace
from topology import topics
from topology.settings import Settings
from topology.stream.kafka import TopicReader
from topology.stream.process import new_event_loop

KNEE_P90_MS = 35.0
LIGHT_PER_S = 20.0
WARM_S = 35.0


@dataclass(frozen=True)
class Plan:
    """How long and how finely to measure."""

    tenants: int = 64
    encoders: int = ENCODERS
    head_workers: int = 1
    seconds: float = 10.0
    probes: int = 6
    repeated: float = 0.0
    reference: bool = True
    p90_ms: float = KNEE_P90_MS
    lengths: tuple[str, ...] = LENGTHS


def run(plan: Plan) -> Result:
    """Every figure of `headrace bench pipeline`, by kind of length."""
    prepare(plan.tenants)
    result: Result = {"light_load": {}}
    before = {kind: _bare(plan, "ours", kind) for kind in plan.lengths}
    with stand(plan.tenants, encoders=plan.encoders, head_workers=plan.head_workers, cached=plan.repeated > 0) as it:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            for kind in plan.lengths:
                result[kind] = runner.run(_measure(it, plan, kind, before[kind]))
            result["light_load"] = runner.run(_light(it, plan))
            sizes = runner.run(_bytes(it.settings))
        counts = it.stopped_stats("encoder")
        padding = 1 - counts["tokens"] / max(1.0, counts["computed"])
        if plan.repeated:  # of the whole run, warming up included
            result["cache"] = {name: counts[f"cache_{name}"] for name in ("hits", "misses")}
    for kind in plan.lengths:
        after = _bare(plan, "ours", kind)
        result[kind] |= _shares(result[kind], (before[kind] + after) / 2)
        result[kind] |= {"bytes_per_utterance": sizes, "padding_share": padding}
        if plan.reference:
            result[kind]["reference_bare_per_s"] = _bare(plan, "openvino-ort", kind)
            result[kind]["bare_share_of_reference"] = result[kind]["bare_per_s"] / result[kind]["reference_bare_per_s"]
    result["light_load"]["engine_alone_ms"] = engine_alone_ms(plan)
    return result


def _bare(plan: Plan, engines: str, kind: str) -> float:
    found = bare.both(engines, kind, plan.seconds / 2, store_dir(), RING, plan.tenants)
    print(f"{kind}: bare {engines} {found:.1f}/s", flush=True)
    return found


def engine_alone_ms(plan: Plan) -> float:
    """One utterance after another through tokenizer, encoder and head in one process, paced as the light load is."""
    work = bare.ours(store_dir(), RING, min(plan.tenants, 8))
    return paced_ms(work, LIGHT_PER_S, min(plan.tenants, 8), plan.seconds / 2)


async def _measure(it: Stand, plan: Plan, kind: str, bare_per_s: float) -> Result:
    async with Headrace(it.settings) as client:
        # A JVM compiles what it has seen run: half a minute of the whole journey; single requests were not enough.
        await drive(client, arrivals(bare_per_s / 3, max(WARM_S, plan.seconds), it.names, kind, seed=1))
        knee = Knee(kind, bare_per_s, plan.probes, plan.p90_ms)
        for rate, seed in knee:
            knee.note(rate, await drive(client, arrivals(rate, plan.seconds, it.names, kind, seed, plan.repeated)))
        unique: Load | None = None
        if plan.repeated:
            unique = await drive(client, arrivals(2 * bare_per_s, plan.seconds, it.names, kind, 4))
        spent = it.cpu_s()
        flood = await drive(client, arrivals(2 * bare_per_s, plan.seconds, it.names, kind, 2, plan.repeated))
        cpu_us = {name: (after - spent[name]) / max(1, len(flood.done_s)) * 1e6 for name, after in it.cpu_s().items()}
    saturated = flood.throughput_per_s()
    repeating: Result = {}
    if unique is not None:  # with the cache on in both, the second load says some texts again
        repeating = {"saturated_unique_per_s": unique.throughput_per_s(), "repeated_share": plan.repeated,
                     "repeated_gain": saturated / unique.throughput_per_s() - 1}
    print(f"{kind}: saturated {saturated:.1f}/s", flush=True)
    return {
        "throughput_per_s": knee.per_s, "knee_p90_limit_ms": plan.p90_ms,
        "p50_ms": knee.load.percentile(50), "p90_ms": knee.load.percentile(90),
        "p99_ms": knee.load.percentile(99), "knee_found": knee.per_s > 0, "stages": knee.load.summary()["stages"],
        **repeating, "saturated_per_s": saturated, "cpu_us_per_utterance": cpu_us, "curve": knee.tried,
    }


async def _light(it: Stand, plan: Plan) -> Result:
    async with Headrace(it.settings) as client:
        load = await drive(client, arrivals(LIGHT_PER_S, plan.seconds, it.names, "uniform", seed=3))
    return {"rate_per_s": LIGHT_PER_S, "p50_ms": load.percentile(50), "p90_ms": load.percentile(90),
            "p99_ms": load.percentile(99), "stages": load.summary()["stages"]}


async def _bytes(settings: Settings) -> dict[str, float]:
    """Mean bytes of a record on each topic."""
    prefix, found = settings.prefix, {}
    for name, topic in (
        ("utterance", topics.utterances(prefix, RING)), ("embedding", topics.embeddings(prefix, RING, "a")),
        ("prediction", topics.predictions(prefix, RING, "a")),
    ):
        reader = TopicReader(settings.broker, topic)
        await reader.start()
        try:
            sizes = [len(record.value or b"") for record in await reader.read_to_end()]
        finally:
            await reader.stop()
        found[name] = sum(sizes) / max(1, len(sizes))
    return found


def _shares(result: Result, bare_per_s: float) -> Result:
    return {
        "bare_per_s": bare_per_s, "share_of_bare": result["throughput_per_s"] / bare_per_s,
        "saturated_share_of_bare": result["saturated_per_s"] / bare_per_s,
    }


def plot(result: Result, p90_ms: float = KNEE_P90_MS) -> Any:
    """Latency over load, by kind of length."""
    def draw(axes: Any) -> None:
        for kind in LENGTHS:
            points = sorted((p["rate_per_s"], p["p90_ms"]) for p in result.get(kind, {}).get("curve", ()))
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=f"{kind}: p90")
                axes.axvline(result[kind]["bare_per_s"], ls=":", label=f"{kind}: bare engines")
        axes.axhline(p90_ms, color="grey", ls="--", label=f"{p90_ms:g} ms")
        axes.set(xlabel="offered, utterances/s", ylabel="p90, ms", yscale="log")
        axes.legend()

    return draw
