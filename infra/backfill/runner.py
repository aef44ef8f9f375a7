"""One worker of a replay: its partitions one after the other, part by part, until each position has reached its end.

The order is the promise, as in the live loop: read, compute, write, and commit last. A crash before the commit repeats
one part, and what is written for it then is the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.backfill.counts import Counts
from infra.backfill.gate import Gate
from infra.backfill.job import Job, Part, Row, Span
from infra.backfill.progress import Progress
from infra.backfill.refused import RefusedRows
from infra.backfill.source import END_OF_FILE, RestLost, Source
from infra.backfill.target import Target
from infra.backfill.worker import Encode, Score
from topology.stream.records import Record
from topology.stream.refusals import asker_of

log = logging.getLogger(__name__)


@dataclass
class Reading:
    """One span while it is read. `ahead`: records that were read, and belong to a later part."""

    span: Span
    position: int
    ahead: list[Record] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    broken: RestLost | None = None  # why nothing more can be read

    async def more(self, source: Source, most: int) -> int:
        """Read on. Returns how many records came. Raises: Unavailable."""
        try:
            taken = await source.take(most)
        except RestLost as error:
            self.broken = error
            return 0
        self.position = taken.position
        self.ahead += [r for r in taken.records if self.span.end < 0 or r.offset < self.span.end]
        self.lost += [(start, end if self.span.end < 0 else min(end, self.span.end)) for start, end in taken.lost]
        return len(taken.records)

    def below(self, end: int) -> list[Record]:
        """The records below an offset; they are then no longer ahead."""
        found = [r for r in self.ahead if r.offset < end]
        self.ahead = self.ahead[len(found) :]
        return found

    def done(self, part: Part) -> int:
        """The offset below which everything is done once this part is."""
        return END_OF_FILE if self.at_end else min(part.end, self.position) if self.broken else part.end

    @property
    def at_end(self) -> bool:
        """Whether a file has nothing left."""
        return self.position >= END_OF_FILE and not self.ahead


class Runner:
    """Replays partitions of a job. `encode`: None where the source holds embeddings. `chunk`: records computed
    together."""

    def __init__(
        self, job: Job, source: Source, targets: Sequence[Target], refused: RefusedRows, progress: Progress,
        score: Score, encode: Encode | None, gate: Gate, chunk: int,
    ) -> None:
        self._job, self._source, self._targets, self._refused = job, source, targets, refused
        self._progress, self._score, self._encode, self._gate, self._chunk = progress, score, encode, gate, chunk
        self._tenants = frozenset(job.asked.tenants)
        self._writing: asyncio.Task[None] | None = None

    async def run(self, numbers: Sequence[int], stop: asyncio.Event) -> None:
        """Replay the spans of these numbers; returns when they are done, or `stop` is set.

        Raises: Cancelled, Unavailable, Misconfigured.
        """
        for number in numbers:
            try:
                await self._replay(number, stop)
            except RestLost as error:
                await self._give_up(number, error)
            finally:
                await self._forget_writing()
            if stop.is_set():
                return

    async def _replay(self, number: int, stop: asyncio.Event) -> None:
        span, reached = self._job.spans[number], self._progress.reached[number]
        if reached.is_end_of(span):
            return
        await self._source.seek(span, reached.position)
        reading = Reading(span, reached.position)
        for part in span.parts(self._job.part_records, reached.position):
            counts = await self._part(reading, part, stop)
            if counts is None:
                return
            # Commit last: a crash before this line repeats the part, a crash after it loses none.
            await self._progress.note(number, reading.done(part), counts)
            if reading.broken and not reading.ahead:
                raise reading.broken
            if reading.at_end:
                return

    async def _part(self, reading: Reading, part: Part, stop: asyncio.Event) -> Counts | None:
        """Replay one part, and make it safe. Returns what became of its records; None where `stop` was set before."""
        counts, refused = Counts(), list[Row]()
        while True:
            at_end = reading.position >= part.end or reading.broken is not None
            if (at_end or len(reading.ahead) >= self._chunk) and (records := reading.below(part.end)):
                begun_s = time.monotonic()
                rows = await self._rows(reading.span, records, counts)
                self._gate.rest(time.monotonic() - begun_s)
                refused += [row for row in rows if row["error"]]
                await self._written()
                self._writing = asyncio.create_task(self._write(reading.span, part, rows))
            if at_end:
                break
            await self._gate.passes(stop)
            if stop.is_set():
                return None
            self._gate.spend(await reading.more(self._source, self._chunk))
        await self._written()
        for target in self._targets:
            await target.finish(reading.span, part)
        await self._refused.write(reading.span, part, refused)
        for start, end in reading.lost:
            counts.lose(start, end)
        reading.lost = []
        return counts

    async def _rows(self, span: Span, records: Sequence[Record], counts: Counts) -> list[Row]:
        """Encode and score records; what the next lines count is what they became."""
        chosen = [r for r in records if r.unreadable or not self._tenants or self._tenant(r) in self._tenants]
        refused: list[Row] = []
        embedded: Sequence[Record] = chosen
        if self._encode is not None:
            embedded, refused = await self._encode.embedded(span, chosen)
        rows = sorted([*refused, *await self._score.rows(span, embedded)], key=lambda row: row["offset"])
        counts.read += len(records)
        counts.skipped += len(records) - len(chosen)
        counts.predicted += sum(not row["error"] for row in rows)
        counts.refused.update(row["error"] for row in rows if row["error"])
        return rows

    def _tenant(self, record: Record) -> str:
        if self._encode is None:  # the topic of embeddings is keyed by it
            return (record.key or b"").decode(errors="replace")
        return asker_of(record.value).tenant

    async def _write(self, span: Span, part: Part, rows: Sequence[Row]) -> None:
        for target in self._targets:
            await target.write(span, part, rows)

    async def _written(self) -> None:
        """Rows are written while the next are computed; this waits for the last of them."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    async def _forget_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None

    async def _give_up(self, number: int, error: RestLost) -> None:
        """The rest of a span cannot be read any more: it is lost, and the job goes on with the others."""
        log.error("%s", error)
        span, reached = self._job.spans[number], self._progress.reached[number]
        counts = Counts(why=str(error))
        counts.lose(reached.position, span.end)
        await self._progress.note(number, END_OF_FILE if span.end < 0 else span.end, counts)


