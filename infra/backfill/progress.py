"""How far each partition is: the committed offset of the job's group, with the counts so far in the same commit."""

from __future__ import annotations

import time
from dataclasses import dataclass

from infra.backfill.counts import Counts
from infra.backfill.job import SOURCES, Job, Span
from infra.backfill.jobs import Jobs
from infra.backfill.source import END_OF_FILE
from topology import topics
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.bounded import BoundedReader, Commits


@dataclass(frozen=True)
class Reached:
    """Everything of a span below `position` is done, and became `counts`."""

    position: int
    counts: Counts

    def is_end_of(self, span: Span) -> bool:
        """Whether the span is done."""
        return self.position >= (END_OF_FILE if span.end < 0 else span.end)


class Progress:
    """The progress of one job. `reached`: of each of its spans, in their order.

    The group's commits hold it. A broker forgets commits that are older than its `offsets.retention.minutes` (7 days):
    so the topic of jobs has the progress too, from time to time and at each span's end, and the further of both counts.
    Files have no offsets in Kafka, and the embedded broker keeps no metadata of commits: theirs stands there alone.
    `reader` commits; None where nothing is to be noted.
    """

    def __init__(self, settings: Settings, jobs: Jobs, job: Job, reader: BoundedReader | None = None) -> None:
        self._jobs, self._job, self._reader = jobs, job, reader
        self._commits = Commits(settings.broker, topics.backfill_group(settings.prefix, job.id))
        self._in_commits = job.asked.source in SOURCES and settings.broker.kind != "embedded"
        self._kept_s = time.monotonic()
        self.reached: list[Reached] = []

    async def read(self) -> None:
        """Read how far it is. Raises: Unavailable."""
        job = self._job
        places = [(span.source, span.partition) for span in job.spans]
        commits = await self._commits.read(places) if self._in_commits else {}
        kept = [self._jobs.progress(job.id, n) for n in range(len(places))]
        self.reached = [
            _reached(span, max(filter(None, (commits.get(place), here)), default=None))
            for span, place, here in zip(job.spans, places, kept, strict=True)
        ]

    async def note(self, number: int, position: int, counts: Counts) -> None:
        """Everything of a span below `position` is done, what came since the last time became `counts`. Raises:
        Unavailable."""
        span, so_far = self._job.spans[number], self.reached[number].counts
        so_far.add(counts)
        if self._in_commits and self._reader is not None:
            await self._reader.commit((span.source, span.partition), position, so_far.to_json())
        if not self._in_commits or Reached(position, so_far).is_end_of(span) or self._keeps():
            await self._jobs.note_progress(self._job.id, number, position, so_far.to_json())
        self.reached[number] = Reached(position, so_far)

    def _keeps(self) -> bool:
        now_s = time.monotonic()
        keeps = now_s - self._kept_s >= PACING.backfill_kept_s
        self._kept_s = now_s if keeps else self._kept_s
        return keeps

    async def stop(self) -> None:
        """Disconnect."""
        await self._commits.stop()


def _reached(span: Span, found: tuple[int, str] | None) -> Reached:
    if found is not None:
        return Reached(found[0], Counts.from_json(found[1]))
    counts = Counts()
    counts.lose(span.start - span.lost, span.start)
    return Reached(span.start, counts)
