"""What replays are measured on: topics filled with what was said before, and a `headrace backfill run` beside."""

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

import numpy as np

from benchmarks.arrivals import texts
from benchmarks.shapes import HIDDEN, encoder_directory
from benchmarks.stand import CORES, RING, Stand
from benchmarks.vectors import Vectors, embeddings
from infra.backfill.jobs import Jobs, reading
from infra.backfill.progress import Progress
from infra.backfill.report import done_and_all
from producers.request import now_us, uuid7
from topology import topics, wire
from topology.encoders import space_of
from topology.stream.groups import read_groups
from topology.stream.kafka import Producer
from topology.stream.records import Output

PART = 500  # records of one request that fills a topic
MARGIN = 0.1  # of a replay, at both ends, that its rate leaves out


async def fill_utterances(it: Stand, count: int) -> None:
    """Put utterances of before on the live topic, evenly over tenants, and wait until live has refused them all."""
    now = now_us()
    said = islice(texts("uniform", now % 1_000_003), count)
    topic = topics.utterances(it.settings.prefix, RING)
    utterances = (wire.Utterance(str(uuid7()), it.names[n % len(it.names)], text, "en", now, now)
                  for n, text in enumerate(said))
    await send(it, [Output(topic, None, wire.encode(one)) for one in utterances])
    await settled(it)


async def fill_embeddings(it: Stand, count: int) -> None:
    """The same with embeddings, of random vectors."""
    now, space, vectors = now_us(), space_of(encoder_directory(), 250), embeddings()
    topic = topics.embeddings(it.settings.prefix, RING, "a")
    for at in range(0, count, 20 * PART):
        await send(it, [
            embedding_output(topic, it.names[n % len(it.names)], space, vectors[n % len(vectors)], now)
            for n in range(at, min(count, at + 20 * PART))
        ])
    await settled(it)


def embedding_output(topic: str, tenant: str, space: str, vectors: Vectors, now: int) -> Output:
    """An embedding whose deadline is `now`."""
    text, tokens, data, offsets = vectors
    return Output(topic, tenant.encode(), wire.encode(wire.Embedding(
        id=str(uuid7()), tenant=tenant, text=text, lang="en", submitted_us=now, deadline_us=now, reply_to="",
        ring=RING, space=space, dtype="int8", tokens=tokens, hidden=HIDDEN, data=data,
        scales=np.full(tokens, 0.01, "<f4").tobytes(), offsets=offsets, stages={"submitted": now},
    )))


async def send(it: Stand, outputs: Sequence[Output]) -> None:
    """Write outputs, in requests of a moderate size."""
    producer = Producer(it.settings.broker)
    await producer.start()
    try:
        for at in range(0, len(outputs), PART):
            await producer.send(outputs[at : at + PART])
    finally:
        await producer.stop()


async def settled(it: Stand, within_s: float = 300.0) -> None:
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
    progress: Progress | None = None

    async def look(self) -> tuple[int, int]:
        """(done, of), noted with the time; (0, 0) before it begins."""
        await self.jobs.refresh(wait_ms=10)
        job = self.jobs.job(self.name)
        if job is None:
            return 0, 0
        self.progress = self.progress or Progress(self.it.settings, self.jobs, job)
        await self.progress.read()
        done, whole = done_and_all(job, self.progress.reached)
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
async def replaying(it: Stand, name: str, source: str, *more: str) -> AsyncIterator[Replay]:
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
            if replay.progress is not None:
                await replay.progress.stop()
