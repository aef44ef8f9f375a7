"""The source and the targets that a job names."""

from __future__ import annotations

import asyncio

from infra.backfill.job import TOPIC_TARGET, Asked, Job
from infra.backfill.source import Source
from infra.backfill.target import Target
from infra.backfill.topic import TopicSource, TopicTarget
from topology.errors import Misconfigured
from topology.settings import Ring, Settings
from topology.stream.bounded import BoundedReader


def open_source(settings: Settings, ring: Ring, asked: Asked, reader: BoundedReader | None) -> Source:
    """What the job reads, not connected yet; topics by `reader`."""
    if reader is not None:
        return TopicSource(settings, ring, asked, reader)
    from infra.backfill.files.source import FileSource  # here: it needs the extra `backfill`

    return FileSource(settings, ring, asked)


async def check_targets(asked: Asked, job: str) -> None:
    """Raises: Misconfigured where another job has written to a directory: its parts would be mixed with these, or
    written over; Unavailable."""
    if asked.parquet:
        from infra.backfill.parquet import owner_of  # here: it needs the extra `backfill`

        for place in asked.parquet:
            if (owner := await asyncio.to_thread(owner_of, place)) not in ("", job):
                raise Misconfigured(f"target {place!r} has the results of backfill {owner!r}; name another directory")


def open_targets(settings: Settings, ring: Ring, job: Job) -> list[Target]:
    """Where the job writes; not connected yet."""
    found: list[Target] = [TopicTarget(settings, ring, job.id)] if TOPIC_TARGET in job.asked.targets else []
    if job.asked.parquet:
        from infra.backfill.parquet import ParquetTarget  # here: it needs the extra `backfill`

        found += [ParquetTarget(place, job.id) for place in job.asked.parquet]
    return found
