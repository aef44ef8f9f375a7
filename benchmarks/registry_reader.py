"""`python -m benchmarks.registry_reader BOOTSTRAP PREFIX RING`: reads a registry as a head worker does, and tells what
that took. RING `lookup`: looks for one tenant, as `headrace head rollback` does."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.hardware import resident_bytes
from head_worker.cache import HeadCache
from head_worker.store import HeadStore
from infra.announce import announced
from topology import topics
from topology.settings import Broker, Settings
from topology.stream.process import new_event_loop
from topology.stream.registry import RegistryFollower


async def read(settings: Settings, ring: str) -> dict[str, float]:
    """Seconds until all is read, by the clock and of the processor; bytes kept, and at most meanwhile."""
    with tempfile.TemporaryDirectory() as home:
        heads = HeadCache(ring, HeadStore(Path(home)), 1 << 30)
        follower = RegistryFollower(settings.broker, topics.heads(settings.prefix), heads.apply, ring)
        gc.collect()
        before, began_s, cpu_s = resident_bytes(os.getpid()), time.perf_counter(), time.process_time()
        if ring == "lookup":
            await announced(settings, "en", "customer-00000007")
        else:
            await follower.start()
        seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
        if ring != "lookup":
            await follower.stop()
        gc.collect()
        kept_bytes = resident_bytes(os.getpid()) - before
        return {"seconds": seconds, "cpu_s": cpu_s, "kept_bytes": kept_bytes, "peak_bytes": peak - before}


if __name__ == "__main__":
    asked = Settings(prefix=sys.argv[2], broker=Broker(kind="external", bootstrap=sys.argv[1]))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps(runner.run(read(asked, sys.argv[3]))))
