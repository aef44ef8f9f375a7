"""A thousand heads in one cell: loaded and scoring through the pipeline, and what they take, read from the process.

The heads are different files of the reference shape (8.5 MB in int8). What a head takes is the growth of the head
worker's resident memory from before the first was loaded, divided by their number: mapped pages, tables and Python
objects, all of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.arrivals import tenants
from benchmarks.hardware import resident_bytes
from benchmarks.report import Result
from benchmarks.stand import RING, Stand, stand, store_dir
from producers import Headrace
from topology.errors import HeadraceError
from topology.stream.process import new_event_loop

AT_ONCE = 64
STEPS = (1, 10, 100)  # heads in memory at which both workers' resident bytes are read, and at the end
WHOLE_MODEL_MB = 260.6  # encoder and head in float32, 227.0 + 33.5 MB: `headrace bench monolith` measures it


def run(heads: int) -> Result:
    """`bytes_per_head`, `ratio_to_file`, `answering`, and the comparison with one whole model a tenant."""
    with stand(heads, broker="embedded", encoders=1, head_workers=1, answer_first=1) as it:
        worker = next(c for c in it.supervisor.children if c.name.startswith("head"))
        encoder = next(c for c in it.supervisor.children if c.name.startswith("encoder"))
        before = resident_bytes(worker.process.pid)
        held, answering, asked = {}, 0, 0
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            for count in sorted({n for n in STEPS if n < heads} | {heads}):
                answering, asked = answering + runner.run(_ask(it, it.names[asked:count])), count
                held[count] = resident_bytes(worker.process.pid) + resident_bytes(encoder.process.pid)
        after, shared = resident_bytes(worker.process.pid), resident_bytes(encoder.process.pid)
    file = (store_dir() / RING / tenants(1)[0] / "v1" / "head.safetensors").stat().st_size
    each = (after - before) / max(1, heads - 1)
    return {
        "heads": heads, "answering": answering, "bytes_per_head": each, "bytes_of_file": file,
        "ratio_to_file": each / file, "worker_mb": after / 1e6, "encoder_worker_mb": shared / 1e6,
        "memory_mb": {str(n): {"whole": WHOLE_MODEL_MB * n, "ours": size / 1e6} for n, size in held.items()},
        "storage_mb": {str(n): {"whole": WHOLE_MODEL_MB * n, "ours": 58.7 + n * file / 1e6} for n in held},
    }


async def _ask(it: Stand, names: list[str]) -> int:
    """How many of these tenants get a reply when each is asked once."""
    answered = 0
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(client: Headrace, name: str) -> None:
        nonlocal answered
        async with slots:
            try:
                reply = await client.predict(name, "are you there", lang="en", deadline=300)
            except HeadraceError as error:
                print(f"{name}: {error.code}: {error}")
                return
            answered += reply.tenant == name

    async with Headrace(it.settings) as client:
        await asyncio.gather(*(ask(client, name) for name in names))
    return answered


def plot(result: Result) -> Any:
    """Memory by number of tenants."""
    def draw(axes: Any) -> None:
        points = result["memory_mb"]
        for name, label in (("whole", "one whole model a tenant"), ("ours", "one encoder, a head a tenant")):
            axes.plot([int(n) for n in points], [one[name] for one in points.values()], marker="o", label=label)
        axes.set(xlabel="tenants", ylabel="MB in memory", xscale="log", yscale="log")
        axes.legend()

    return draw
