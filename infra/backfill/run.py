"""`headrace backfill run`: makes a job or finds it, starts its workers, shows how far they are, and reports."""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from infra.backfill.job import SOURCES, Asked, Job
from infra.backfill.jobs import Jobs, reading
from infra.backfill.meter import Meter
from infra.backfill.open import open_source
from infra.backfill.plan import check, job_of
from infra.backfill.progress import Progress
from infra.backfill.report import done_and_all, is_done, report, state_of, total_of
from infra.counted import counted
from infra.stack.supervise import Child, Supervisor, is_running
from topology import topics
from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.admin import apply_topics
from topology.stream.bounded import BoundedReader
from topology.stream.process import EXIT_MISCONFIGURED, now_us

T = TypeVar("T")
MAX_RESTARTS = 20  # of one worker without progress


@dataclass(frozen=True)
class Options:
    """How a job is run; none of it changes what comes of it. `workers` 0: one a processor, on a GPU one."""

    workers: int = 0
    max_per_s: float = 0.0
    ignore_live: bool = False
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise Misconfigured(f"--workers {self.workers}: 1 or more is wanted, or 0 for one a processor")
        if not 0 <= self.max_per_s < math.inf:
            raise Misconfigured(f"--max-per-s {self.max_per_s:g}: a number above 0 is wanted, or 0 for no bound")


async def run(
    settings: Settings, config: str, asked: Asked, name: str, options: Options, meter: Meter, stop: asyncio.Event,
    say: Callable[[str], None] = print, as_it_is: bool = False,
) -> dict[str, Any]:
    """Run a job to its end, or until `stop`. `as_it_is`: a job of that name goes on, whatever it was asked for.

    Returns its report. Raises: Misconfigured, Unavailable; CancelledError where `stop` is set before it works.
    """
    await _unless(stop, _see_topics(settings))
    async with reading(settings) as jobs:
        job = await _unless(stop, _job(settings, jobs, asked, name, say, as_it_is))
        progress = Progress(settings, jobs, job)
        await progress.read()
        try:
            if is_done(job, progress.reached):
                say(f"backfill {job.id} is at its end: nothing is read. Its bounds are those of the first time; "
                    "another --id makes a new one")
            else:
                await _unless(stop, _wait_for_others(jobs, job, say))
                await _work(settings, config, jobs, job, progress, options, meter, stop)
            state = state_of(job, progress.reached, jobs.wish(job.id), [], now_us())
            return report(job, progress.reached, state, refused_at(settings, job))
        finally:
            await progress.stop()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. Raises: CancelledError where `stop` is set before it is there."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working}, timeout=PACING.close_s)
        raise asyncio.CancelledError
    return working.result()


async def make(
    settings: Settings, asked: Asked, name: str, say: Callable[[str], None] = print, as_it_is: bool = False
) -> Job:
    """Make a job without running it, or find the one that is there. Raises: Misconfigured, Unavailable."""
    await _see_topics(settings)
    async with reading(settings) as jobs:
        return await _job(settings, jobs, asked, name, say, as_it_is)


def folder_of(settings: Settings, job: str) -> Path:
    """Where this machine keeps a job's logs and refused records."""
    return Path(settings.state_dir) / "backfill" / job


def refused_at(settings: Settings, job: Job) -> str:
    """Where the records that a job refuses are set aside."""
    return f"{job.asked.parquet[0]}/_refused" if job.asked.parquet else str(folder_of(settings, job.id) / "refused")


async def _see_topics(settings: Settings) -> None:
    """Create the topic of jobs where it is missing: an installation may be older than replays."""
    name = topics.backfills(settings.prefix)
    await apply_topics(settings, [one for one in topics.wanted(settings) if one.name == name])


async def _job(
    settings: Settings, jobs: Jobs, asked: Asked, name: str, say: Callable[[str], None], as_it_is: bool
) -> Job:
    if as_it_is and (there := jobs.job(name)) is not None:
        return _named(there, False, say)
    check(settings, asked)
    ring = settings.rings[asked.ring]
    reader = BoundedReader(settings.broker, None) if asked.source in SOURCES else None
    source = open_source(settings, ring, asked, reader)
    await source.start()
    try:
        job, made = await job_of(settings, jobs, source, asked, name)
    finally:
        await source.stop()
    return _named(job, made, say)


def _named(job: Job, made: bool, say: Callable[[str], None]) -> Job:
    partitions = counted(len(job.spans), "partition")
    say(f"backfill {job.id}: {'made' if made else 'goes on'}, {partitions} of {job.asked.source}")
    return job


async def _wait_for_others(jobs: Jobs, job: Job, say: Callable[[str], None]) -> None:
    """Until no other run of this job says anything. Raises: Misconfigured where one goes on."""
    begun_s, said = time.monotonic(), False
    while True:
        others = [b for b in jobs.beats(job.id) if b.state != "ended" and _is_alive(b.host, b.pid, b.at_us)]
        if not others:
            return
        one = others[0]
        here = one.host == socket.gethostname()  # workers end with the run that started them, a moment later
        if time.monotonic() - begun_s > (PACING.stop_s if here else 2 * PACING.backfill_silent_s):
            raise Misconfigured(f"backfill {job.id!r} runs already: worker {one.worker} on {one.host}, pid {one.pid}")
        if not said:
            say(f"worker {one.worker} on {one.host} was heard of lately; waiting whether it goes on")
            said = True
        await jobs.refresh(wait_ms=1_000)


def _is_alive(host: str, pid: int, at_us: int) -> bool:
    silent_s = (now_us() - at_us) / 1e6
    if host != socket.gethostname():
        return silent_s <= PACING.backfill_silent_s
    if silent_s > PACING.stuck_after_s:  # the number may be another's by now; loading an encoder takes less
        return False
    return is_running(pid)


async def _work(
    settings: Settings, config: str, jobs: Jobs, job: Job, progress: Progress, options: Options, meter: Meter,
    stop: asyncio.Event,
) -> None:
    ring = settings.rings[job.asked.ring]
    usual = 1 if ring.device == "cuda" else os.cpu_count() or 1
    count = max(1, min(options.workers or usual, len(job.spans)))
    supervisor = Supervisor(folder_of(settings, job.id))
    try:
        workers = Workers(supervisor, config, job.id, count, options)
        while True:
            await jobs.refresh(wait_ms=500)
            await progress.read()
            done, whole = done_and_all(job, progress.reached)
            state = state_of(job, progress.reached, jobs.wish(job.id), jobs.beats(job.id), now_us())
            state = "starting" if state == "stopped" else state
            why = next((b.why for b in jobs.beats(job.id) if b.state in ("waiting", "paused")), "")
            per_s = sum(b.per_s for b in jobs.beats(job.id) if b.state == "running")
            meter.show(done, whole, state, why, total_of(progress.reached), per_s)
            if stop.is_set() or not workers.go_on(done):
                break
    finally:
        for child in supervisor.children:  # all at once: each may take seconds
            child.process.terminate()
        supervisor.stop()
    await jobs.refresh()
    await progress.read()
    meter.show(*done_and_all(job, progress.reached), "running", "", total_of(progress.reached))


class Workers:
    """The worker processes of a job on this machine: one that ends early is started again."""

    def __init__(self, supervisor: Supervisor, config: str, job: str, count: int, options: Options) -> None:
        self._supervisor = supervisor
        self._commands = [_command(config, job, number, count, options) for number in range(count)]
        self._running: dict[int, Child] = {n: self._start(n) for n in range(count)}
        self._restarts, self._done = 0, -1

    def _start(self, number: int) -> Child:
        return self._supervisor.start(f"worker-{number}", self._commands[number])

    def go_on(self, done: int) -> bool:
        """Whether any works still. Raises: Misconfigured, Unavailable, with the last line that it wrote."""
        if done != self._done:
            self._restarts, self._done = 0, done
        for number, child in list(self._running.items()):
            code = child.process.poll()
            if code is None:
                continue
            del self._running[number]
            self._supervisor.children.remove(child)
            if code == 0:
                continue
            self._restarts += 1
            last = child.log.read_text(errors="replace").strip().splitlines()[-1:]
            if code == EXIT_MISCONFIGURED:
                raise Misconfigured(f"worker {number}: {_plain(last)}")
            if self._restarts > MAX_RESTARTS:
                raise Unavailable(f"worker {number} ends again and again: {_plain(last)} (its log: {child.log})")
            self._running[number] = self._start(number)
        return bool(self._running)


def _command(config: str, job: str, number: int, count: int, options: Options) -> list[str]:
    command = [sys.executable, "-m", "infra.backfill", job, "--config", config, "--worker", str(number),
               "--of", str(count)]
    if options.max_per_s:
        command += ["--max-per-s", str(options.max_per_s / count)]
    if options.share != 1:
        command += ["--share", str(options.share)]
    return [*command, "--ignore-live"] if options.ignore_live else command


def _plain(lines: list[str]) -> str:
    return lines[0].removeprefix("headrace: ") if lines else "it said nothing"


def write_json(told: dict[str, Any], place: Path) -> None:
    """Write a report."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
