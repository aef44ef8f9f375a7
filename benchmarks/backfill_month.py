"""A month of one tenant, replayed through a small head from its embeddings: the worker's memory on the way."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.arrivals import texts
from benchmarks.hardware import resident_bytes
from benchmarks.replays import PART, embedding_output, replaying, send, settled
from benchmarks.report import Result
from benchmarks.shapes import HIDDEN, encoder_directory
from benchmarks.stand import RING, Stand, prepare, stand
from producers.request import now_us
from topology import topics
from topology.encoders import space_of
from topology.stream.process import new_event_loop

TOKENS = 4


def run(count: int) -> Result:
    """Figures of `headrace bench backfill-month`."""
    prepare(1, size="small")
    with stand(1, size="small") as it, asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_measured(it, count))


async def _measured(it: Stand, count: int) -> Result:
    now, space = now_us(), space_of(encoder_directory(), 250)
    draw, topic = np.random.default_rng(0), topics.embeddings(it.settings.prefix, RING, "a")
    vectors = [(text, TOKENS, draw.integers(-127, 128, (TOKENS, HIDDEN)).astype(np.int8).tobytes(),
                np.zeros((TOKENS, 2), "<i4").tobytes()) for text in islice(texts("uniform", 0), 512)]
    for at in range(0, count, 40 * PART):
        await send(it, [embedding_output(topic, it.names[0], space, vectors[n % 512], now)
                         for n in range(at, min(count, at + 40 * PART))])
    await settled(it, 1_200)
    held: list[tuple[int, float]] = []
    async with replaying(it, "month", "embeddings", "--workers", "1") as replay:
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
    """Memory over what is done."""
    def draw(axes: Any) -> None:
        axes.plot(*zip(*result["memory_mb"], strict=True))
        axes.set(xlabel="utterances done", ylabel="MB of the worker", ylim=(0, None))

    return draw
