"""One tenant's utterances, read up to a limit, encoded once and scored by two versions of its head."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from infra.backfill.compare.comparison import Comparison
from infra.backfill.job import Row, Span
from infra.backfill.source import END_OF_FILE, Source, Taken
from topology.pacing import PACING
from topology.stream.records import Record
from topology.stream.refusals import asker_of

Note = Callable[[int, int, str], None]  # gets (utterances compared so far, records read so far, what it waits for)


class Encoding(Protocol):
    """As `worker.Encode`."""

    async def embedded(self, span: Span, records: Sequence[Record]) -> tuple[list[Record], list[Row]]:
        """(the records with embeddings as their values, rows of those that were refused)."""
        ...


class Scoring(Protocol):
    """As `worker.Score`."""

    async def rows(self, span: Span, records: Sequence[Record]) -> list[Row]:
        """A row for each record, in its order."""
        ...


class Watching(Protocol):
    """As `live.LiveWatch`."""

    async def look(self) -> str:
        """How live traffic is late; empty where it is not."""
        ...


@dataclass(frozen=True)
class Passage:
    """The way of an utterance through both heads. `encode`: None where the source has embeddings already."""

    encode: Encoding | None
    before: Scoring
    after: Scoring

    async def rows(self, span: Span, records: Sequence[Record]) -> list[tuple[Row, Row]]:
        """(what the first, what the second version says) of each record. Raises: Unavailable, Misconfigured."""
        refused: list[Row] = []
        if self.encode is not None:
            records, refused = await self.encode.embedded(span, records)
        before, after = await self.before.rows(span, records), await self.after.rows(span, records)
        return [*((row, row) for row in refused), *zip(before, after, strict=True)]


@dataclass
class Replay:
    """Reads one tenant's utterances up to a limit, and compares.

    `read`: records of all tenants. `unreadable`: those that tell no tenant. `lost`: records that retention took. `cut`:
    the limit came before the end. `live`: None where live traffic is none of its business.
    """

    source: Source
    passage: Passage
    tenant: str
    limit: int
    chunk: int  # records computed together
    note: Note = lambda compared, read, why: None
    live: Watching | None = None
    comparison: Comparison = field(default_factory=Comparison)
    read: int = 0
    unreadable: int = 0
    lost: int = 0
    cut: bool = False

    async def run(self, spans: Sequence[Span]) -> None:
        """Read every partition from its start, each to its share of what the limit leaves, until all of them end or the
        limit is reached: so a limit takes from every partition, and all of it where a tenant has only one.

        Raises: Unavailable, Misconfigured.
        """
        self.lost += sum(span.lost for span in spans)
        left = {span: span.start for span in spans if not _ended(span, span.start)}
        while left and (wanted := self.limit - self.comparison.utterances) > 0:
            share = -(-wanted // len(left))
            for span in list(left):
                most = min(share, self.limit - self.comparison.utterances)
                left[span] = await self._read_on(span, left[span], most)
                if _ended(span, left[span]):
                    del left[span]
        self.cut = bool(left)

    async def _read_on(self, span: Span, position: int, most: int) -> int:
        """Compare up to `most` utterances from `position` on. Returns where it ended."""
        if most <= 0:
            return position
        await self.source.seek(span, position)
        chosen: list[Record] = []
        while most > 0 and not _ended(span, position):
            await self._give_way()
            taken = await self.source.take(self.chunk)
            self.lost += sum((end if span.end < 0 else min(end, span.end)) - start for start, end in taken.lost)
            found, position = self._chosen(span, taken, most)
            most -= len(found)
            chosen += found
            if len(chosen) >= self.chunk:
                await self._compare(span, chosen)
                chosen = []
            self._tell()
        await self._compare(span, chosen)
        self._tell()
        return position

    async def _give_way(self) -> None:
        """Wait while live traffic is late, and say so."""
        while self.live is not None and (why := await self.live.look()):
            self._tell(why)
            await asyncio.sleep(PACING.backfill_look_s)

    def _tell(self, why: str = "") -> None:
        self.note(self.comparison.utterances, self.read, why)

    def _chosen(self, span: Span, taken: Taken, most: int) -> tuple[list[Record], int]:
        """(the tenant's records, at most so many, where to read on)."""
        found: list[Record] = []
        for record in taken.records:
            if 0 <= span.end <= record.offset:
                return found, span.end
            self.read += 1
            tenant = "" if record.unreadable else asker_of(record.value).tenant
            self.unreadable += not tenant
            if tenant == self.tenant:
                found.append(record)
                if len(found) == most:
                    return found, record.offset + 1
        return found, taken.position

    async def _compare(self, span: Span, records: Sequence[Record]) -> None:
        for before, after in await self.passage.rows(span, records) if records else ():
            self.comparison.add(before, after)


def _ended(span: Span, position: int) -> bool:
    return position >= (END_OF_FILE if span.end < 0 else span.end)
