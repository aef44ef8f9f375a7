"""Replays: alone against the bare engines, from embeddings against the bare heads, and beside live traffic.

Everything on one stack in one run. What is replayed was sent with deadlines that had passed: live workers refuse it
unread, and replays do not look at deadlines. Beside live traffic the replay's workers are stopped and continued
(SIGSTOP, SIGCONT) in turns, so that both conditions see the same minutes of the machine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from benchmarks import bare
from benchmarks.arrivals import arrivals, texts
from benchmarks.hardware import resident_bytes
from benchmarks.heads import embeddings
from benchmarks.knee import Knee
from benchmarks.load import drive
from benchmarks.pipeline import KNEE_P90_MS, WARM_S
from benchmarks.report import Result
from benchmarks.shapes import HIDDEN, encoder_directory
from benchmarks.stand import CORES, RING, Stand, prepare, stand, store_dir
from benchmarks.work import BATCH
from infra.backfill.jobs import Jobs, reading
from infra.backfill.progress import Progress
from infra.backfill.report import done_and_all
from producers import Headrace
from producers.request import now_us, uuid7
from topology import topics, wire
from topology.encoders import space_of
from topology.stream.groups import read_groups
from topology.stream.kafka import Producer
from topology.stream.process import new_event_loop
from topology.stream.records import Output

PART = 500  # records of one request that fills a topic
MARGIN = 0.1  # of a replay, at both ends, that its rate leaves out
HEADS_BATCHES = (16, 256, 1_024)
MONTH_TOKENS = 4


@dataclass(frozen=True)
class Plan:
    """How long and how much. `month`: utterances of the replay whose memory is looked at; 0 leaves it out."""

    tenants: int = 64
    seconds: float = 20.0
    probes: int = 4
    rounds: int = 4
    month: int = 1_000_000


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
    if plan.month:
        result["month"] = month(plan)
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
        await _fill_utterances(it, int(before["engines"] * plan.seconds * 1.2))
        alone = await _rate(it, "alone", "utterances")
        await _fill_embeddings(it, int(before["heads"] * plan.seconds * 0.8))
        heads = await _rate(it, "heads", "embeddings")
        knee = Knee("live", before["engines"], plan.probes, KNEE_P90_MS)
        for rate, seed in knee:
            knee.note(rate, await drive(client, arrivals(rate, plan.seconds / 2, it.names, "uniform", seed)))
        flood = await drive(client, arrivals(2 * before["engines"], plan.seconds / 2, it.names, "uniform", 2))
        await _fill_utterances(it, int(before["engines"] * plan.seconds * (plan.rounds + 2)))
        beside = await _beside(it, client, plan, knee.per_s / 2)
    saturated = flood.throughput_per_s()
    return {
        "alone_per_s": alone, "heads_per_s": heads, "knee_per_s": knee.per_s, "saturated_per_s": saturated, **beside,
        "together_share_of_saturated": beside["together_per_s"] / saturated,
    }


async def _fill_utterances(it: Stand, count: int) -> None:
    """Put utterances of before on the live topic, evenly over tenants, and wait until live has refused them all."""
    now = now_us()
    said = islice(texts("uniform", now % 1_000_003), count)
    topic = topics.utterances(it.settings.prefix, RING)
    utterances = (wire.Utterance(str(uuid7()), it.names[n % len(it.names)], text, "en", now, now)
                  for n, text in enumerate(said))
    await _send(it, [Output(topic, None, wire.encode(one)) for one in utterances])
    await _settled(it)


async def _fill_embeddings(it: Stand, count: int) -> None:
    """The same with embeddings, of random vectors."""
    now, space, vectors = now_us(), space_of(encoder_directory(), 250), embeddings()
    topic = topics.embeddings(it.settings.prefix, RING, "a")
    for at in range(0, count, 20 * PART):
        await _send(it, [
            _embedding(topic, it.names[n % len(it.names)], space, vectors[n % len(vectors)], now)
            for n in range(at, min(count, at + 20 * PART))
        ])
    await _settled(it)


def _embedding(topic: str, tenant: str, space: str, vectors: Sequence[Any], now: int) -> Output:
    text, tokens, data, offsets = vectors
    return Output(topic, tenant.encode(), wire.encode(wire.Embedding(
        id=str(uuid7()), tenant=tenant, text=text, lang="en", submitted_us=now, deadline_us=now, reply_to="",
        ring=RING, space=space, dtype="int8", tokens=tokens, hidden=HIDDEN, data=data,
        scales=np.full(tokens, 0.01, "<f4").tobytes(), offsets=offsets, stages={"submitted": now},
    )))


async def _send(it: Stand, outputs: Sequence[Output]) -> None:
    producer = Producer(it.settings.broker)
    await producer.start()
    try:
        for at in range(0, len(outputs), PART):
            await producer.send(outputs[at : at + PART])
    finally:
        await producer.stop()


async def _settled(it: Stand, within_s: float = 300.0) -> None:
    """Until the live groups have nothing to read."""
    prefix, end = it.settings.prefix, time.monotonic() + within_s
    groups = {topics.encoder_group(prefix, RING): topics.utterances(prefix, RING),
              topics.head_group(prefix, RING, "a"): topics.embeddings(prefix, RING, "a")}
    while any(group.lag for group in await read_groups(it.settings.broker, groups)):
        if time.monotonic() > end:
            raise RuntimeError(f"live workers have not caught up within {within_s:.0f} s")
        await asyncio.sleep(0.5)


@dataclass
class Replay:
    """A running `headrace backfill run`: how far it was when."""

    it: Stand
    jobs: Jobs
    name: str
    process: asyncio.subprocess.Process
    seen: list[tuple[float, int, int]] = field(default_factory=list)  # seconds, done, of

    async def look(self) -> tuple[int, int]:
        """(done, of), noted with the time; (0, 0) before it begins."""
        await self.jobs.refresh(wait_ms=10)
        job = self.jobs.job(self.name)
        if job is None:
            return 0, 0
        progress = Progress(self.it.settings, self.jobs, job)
        try:
            await progress.read()
        finally:
            await progress.stop()
        done, whole = done_and_all(job, progress.reached)
        self.seen.append((time.monotonic(), done, whole))
        return done, whole

    async def begun(self) -> None:
        """Return once something is done."""
        while not (await self.look())[0]:  # noqa: ASYNC110 (another process tells)
            await asyncio.sleep(0.25)

    def per_s(self) -> float:
        """Between the first and the last tenth."""
        whole = self.seen[-1][2]
        inner = [(s, done) for s, done, _ in self.seen if MARGIN * whole <= done <= (1 - MARGIN) * whole]
        (first_s, first), (last_s, last) = inner[0], inner[-1]
        return (last - first) / (last_s - first_s)

    @property
    def workers(self) -> list[int]:
        """The pids of its workers."""
        return [beat.pid for beat in self.jobs.beats(self.name) if beat.state != "ended"]

    def signal(self, number: int) -> None:
        """Send a signal to every worker."""
        for pid in self.workers:
            os.kill(pid, number)


@asynccontextmanager
async def _replay(it: Stand, name: str, source: str, *more: str) -> AsyncIterator[Replay]:
    """A replay of everything that is on the source now."""
    command = [sys.executable, "-m", "infra.cli", "--config", str(it.config), "backfill", "run", "--id", name,
               "--source", source, "--workers", str(CORES), "--ignore-live", *more]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    async with reading(it.settings) as jobs:
        replay = Replay(it, jobs, name, process)
        try:
            yield replay
        finally:
            replay.signal(signal.SIGCONT)
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _rate(it: Stand, name: str, source: str) -> float:
    """Records a second of a whole replay."""
    async with _replay(it, name, source) as replay:
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
    async with _replay(it, "beside", "utterances") as replay:
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


def month(plan: Plan) -> Result:
    """A month of one tenant, replayed through a small head from its embeddings: the workers' memory on the way."""
    prepare(1, size="small")
    with stand(1, size="small") as it, asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_month(it, plan.month))


async def _month(it: Stand, count: int) -> Result:
    now, space = now_us(), space_of(encoder_directory(), 250)
    draw, topic = np.random.default_rng(0), topics.embeddings(it.settings.prefix, RING, "a")
    vectors = [(text, MONTH_TOKENS, draw.integers(-127, 128, (MONTH_TOKENS, HIDDEN)).astype(np.int8).tobytes(),
                np.zeros((MONTH_TOKENS, 2), "<i4").tobytes()) for text in islice(texts("uniform", 0), 512)]
    for at in range(0, count, 40 * PART):
        await _send(it, [_embedding(topic, it.names[0], space, vectors[n % 512], now)
                         for n in range(at, min(count, at + 40 * PART))])
    await _settled(it, 1_200)
    held: list[tuple[int, float]] = []
    async with _replay(it, "month", "embeddings", "--workers", "1") as replay:
        while replay.process.returncode is None:
            done, _ = await replay.look()
            if done and replay.workers:
                held.append((done, sum(map(resident_bytes, replay.workers)) / 1e6))
            await asyncio.sleep(0.5)
        done, whole = await replay.look()
    print(f"month: {replay.per_s():.0f}/s, {held[0][1]:.0f} to {held[-1][1]:.0f} MB", flush=True)
    return {
        "utterances": whole, "done": done, "per_s": replay.per_s(), "memory_mb": held,
        "growth_after_a_fifth_mb": held[-1][1] - next(mb for n, mb in held if n >= whole / 5),
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
