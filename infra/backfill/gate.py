"""When a worker of a replay may go on: what its job is wished to do, how live traffic is, and its rate."""

from __future__ import annotations

import asyncio
import os
import socket
import time

from infra.backfill.job import Job
from infra.backfill.jobs import Beat, Jobs
from infra.backfill.live import LiveWatch
from topology.pacing import PACING


class Cancelled(Exception):
    """Somebody cancelled the job: what was finished stays."""


class Gate:
    """Asked before every chunk. It also says how the worker is, every few seconds.

    `max_per_s`: records a second of this worker, 0 for as many as it can. `share`: of the time that it may compute, for
    a GPU that live workers use too. `live`: None where live traffic is none of
    the replay's business.
    """

    def __init__(
        self, jobs: Jobs, job: Job, worker: int, of: int, max_per_s: float, live: LiveWatch | None, share: float = 1.0
    ) -> None:
        self._jobs, self._job, self._worker, self._of = jobs, job, worker, of
        self._max_per_s, self._live, self._share = max_per_s, live, share
        self._free_at_s = time.monotonic()  # when the bucket has a token again
        self._looked_s = self._told_s = 0.0
        self._late = ""
        self._done, self._counted_s = 0, time.monotonic()
        self.state, self.why = "running", ""

    async def start(self) -> None:
        """Look at live traffic from now on, and say that the worker is there. Raises: Unavailable, Misconfigured."""
        if self._live is not None:
            await self._live.start()
        await self.tell("running", "starting")

    async def stop(self) -> None:
        """Disconnect."""
        if self._live is not None:
            await self._live.stop()

    async def passes(self, stop: asyncio.Event) -> None:
        """Return once the worker may go on, or `stop` is set. Raises: Cancelled, Unavailable."""
        while not stop.is_set():
            await self._look()
            wait_s = self._free_at_s - time.monotonic()
            if self.state == "running" and wait_s <= 0:
                return
            with_s = PACING.backfill_look_s if self.state != "running" else min(wait_s, PACING.backfill_look_s)
            try:
                async with asyncio.timeout(with_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s >= PACING.backfill_look_s:
            self._looked_s = now_s
            await self._jobs.refresh(wait_ms=1)
            wish = self._jobs.wish(self._job.id)
            if wish == "cancelled":
                await self.tell("ended", "cancelled")
                raise Cancelled
            self._late = await self._live.look() if self._live is not None else ""
            before = self.state
            self.state = "paused" if wish == "paused" else "waiting" if self._late else "running"
            self.why = f"paused: headrace backfill resume {self._job.id}" if wish == "paused" else self._late
            if before != self.state:
                await self.tell(self.state, self.why)
        if now_s - self._told_s >= PACING.backfill_beat_s:
            await self.tell(self.state, self.why)

    def spend(self, records: int) -> None:
        """So many records were read: the token bucket is that much later free again."""
        self._done += records
        if self._max_per_s:
            self._free_at_s = max(self._free_at_s, time.monotonic() - 1.0) + records / self._max_per_s

    def rest(self, computed_s: float) -> None:
        """It computed for so long: it rests so that this is its share of the time."""
        if self._share < 1:
            now_s = time.monotonic()
            self._free_at_s = max(self._free_at_s, now_s) + computed_s * (1 / self._share - 1)

    async def tell(self, state: str, why: str) -> None:
        """Say how this worker is. Raises: Unavailable."""
        now_s = time.monotonic()
        per_s = self._done / max(1e-3, now_s - self._counted_s)
        self._done, self._counted_s, self._told_s = 0, now_s, now_s
        await self._jobs.beat(self._job.id, Beat(
            self._worker, self._of, state, why, round(per_s, 1), int(time.time() * 1e6), socket.gethostname(),
            os.getpid(),
        ))
