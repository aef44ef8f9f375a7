"""The source and the targets that a job names."""

from __future__ import annotations

from infra.backfill.job import TOPIC_TARGET, Asked, Job
from infra.backfill.source import Source
from infra.backfill.target import Target
from infra.backfill.topic import TopicSource, TopicTarget
from topology.settings import Ring, Settings
from topology.stream.bounded import BoundedReader


def open_source(settings: Settings, ring: Ring, asked: Asked, reader: BoundedReader | None) -> Source:
    """What the job reads, not connected yet; topics by `reader`."""
    if reader is not None:
        return TopicSource(settings, ring, asked, reader)
    from infra.backfill.files.source import FileSource  # here: it needs the extra `backfill`

    return FileSource(settings, ring, asked)


def open_targets(settings: Settings, ring: Ring, job: Job) -> list[Target]:
    """Where the job writes; not connected yet."""
    found: list[Target] = [TopicTarget(settings, ring, job.id)] if TOPIC_TARGET in job.asked.targets else []
    if job.asked.parquet:
        from infra.backfill.parquet import ParquetTarget  # here: it needs the extra `backfill`

        found += [ParquetTarget(place, job.id) for place in job.asked.parquet]
    return found
