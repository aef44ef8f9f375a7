"""`python -m infra.backfill JOB --worker 0 --of 2`: one worker process of a replay, as a Kubernetes Job starts it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from infra.backfill.arguments import add_arguments
from infra.backfill.gate import Cancelled, Gate
from infra.backfill.job import SOURCES, Job
from infra.backfill.jobs import Jobs
from infra.backfill.live import LiveWatch
from infra.backfill.open import open_source, open_targets
from infra.backfill.progress import Progress
from infra.backfill.refused import RefusedRows
from infra.backfill.runner import Runner
from infra.backfill.source import Source
from infra.backfill.target import Target
from infra.backfill.worker import Encode, Score
from topology import topics
from topology.addresses import load_running
from topology.errors import Misconfigured
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.bounded import BoundedReader
from topology.stream.process import announce_ready, run_process, step_back_whole

log = logging.getLogger("backfill")


def main() -> int:
    """Parse the command line and work until its partitions are done. Exit codes: 0 done or stopped, 2 misconfigured,
    75 start me again."""
    parser = argparse.ArgumentParser(prog="headrace backfill work", description=__doc__)
    parser.add_argument("--config", help="headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml)")
    add_arguments(parser)
    args = parser.parse_args()
    return run_process(lambda stop: run(args, stop))


async def run(args: argparse.Namespace, stop: asyncio.Event) -> None:
    """Replay the partitions of one worker, until they are done or `stop`."""
    if not 0 <= args.worker < args.of:
        raise Misconfigured(f"--worker {args.worker}: 0 to {args.of - 1} is wanted, as --of is {args.of}")
    settings = load_running(args.config)
    jobs = Jobs(settings)
    await jobs.start()
    try:
        job = jobs.wanted(args.job)
        watch = _watch(settings, job, args.ignore_live)
        gate = Gate(jobs, job, args.worker, args.of, args.max_per_s, watch, args.share)
        await gate.start()
        try:
            await _replay(settings, jobs, job, gate, range(args.worker, len(job.spans), args.of), stop)
            await gate.tell("ended", "stopped" if stop.is_set() else "done")
        except Cancelled:
            log.info("the job was cancelled")
        finally:
            await gate.stop()
    finally:
        await jobs.stop()


def _watch(settings: Settings, job: Job, ignored: bool) -> LiveWatch | None:
    return None if ignored else LiveWatch(settings, job.asked.ring)


async def _replay(
    settings: Settings, jobs: Jobs, job: Job, gate: Gate, numbers: range, stop: asyncio.Event
) -> None:
    ring, heads = settings.rings.get(job.asked.ring), jobs.heads(job)
    if ring is None:
        raise Misconfigured(f"backfill {job.id!r} is of ring {job.asked.ring!r}, which headrace.toml no longer has")
    group = topics.backfill_group(settings.prefix, job.id)
    reader = BoundedReader(settings.broker, group) if job.asked.source in SOURCES else None
    progress = Progress(settings, jobs, job, reader)
    await progress.read()
    source, targets = open_source(settings, ring, job.asked, reader), open_targets(settings, ring, job)
    score = Score(settings, ring, heads)
    encode = None if job.asked.source == "embeddings" else Encode(settings, ring)
    if encode is not None and heads and encode.space not in {head.space for head in heads}:
        raise Misconfigured(
            f"no head of backfill {job.id!r} is of the encoder's space {encode.space}: ring {ring.name!r} has another "
            "encoder than when the job was made; put it back, or make a new job"
        )
    chunk = PACING.backfill_heads_chunk if encode is None else encode.chunk
    step_back_whole()
    refused = RefusedRows(Path(settings.state_dir) / "backfill" / job.id / "refused", job.asked.parquet)
    opened: list[Source | Target] = [source, *targets]
    try:
        for one in opened:
            await one.start()
        announce_ready()
        await Runner(job, source, targets, refused, progress, score, encode, gate, chunk).run(numbers, stop)
    finally:
        await asyncio.gather(*(one.stop() for one in opened), progress.stop(), return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
