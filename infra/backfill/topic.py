"""Topics as a source and as a target."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import msgpack

from infra.backfill.job import Asked, Part, Row, Span
from infra.backfill.source import Replaced, Taken
from infra.backfill.when import parse_when
from topology import topics
from topology.pacing import PACING
from topology.placement import Placement
from topology.settings import Ring, Settings
from topology.stream.bounded import BoundedReader
from topology.stream.kafka import Producer
from topology.stream.placement import PlacementFollower
from topology.stream.records import Output

JOB_HEADER = "headrace.job"
log = logging.getLogger(__name__)


class TopicSource:
    """The live utterances of a ring, or the embeddings of its cells. As `Source`."""

    def __init__(self, settings: Settings, ring: Ring, asked: Asked, reader: BoundedReader) -> None:
        self._reader, self._span = reader, Span("", 0, 0, 0)
        self._position, self._since_s = -1, 0.0  # where nothing comes, and since when
        if asked.source == "utterances":
            self._topics = [topics.utterances(settings.prefix, ring.name)]
        else:
            self._topics = [topics.embeddings(settings.prefix, ring.name, cell) for cell in ring.cells]

    async def start(self) -> None:
        """As `Source.start`."""
        await self._reader.start()

    async def spans(self, asked: Asked) -> list[Span]:
        """As `Source.spans`."""
        start, end = parse_when(asked.start), parse_when(asked.end)
        found = []
        for topic in self._topics:
            identity = await self._reader.topic_id(topic)
            for number, bounds in sorted((await self._reader.bounds(topic, start, end)).items()):
                found.append(Span(topic, number, bounds.start, bounds.end, identity, bounds.lost))
        return found

    async def seek(self, span: Span, position: int) -> None:
        """As `Source.seek`."""
        self._span = span
        await self._check()
        await self._reader.seek(span.source, span.partition, position)

    async def take(self, most: int) -> Taken:
        """As `Source.take`. The topic's id is looked at after each reading: what was read before is of that topic."""
        taken = await self._reader.take(most)
        await self._check()
        if taken.records or taken.position != self._position:
            self._position, self._since_s = taken.position, time.monotonic()
        elif time.monotonic() - self._since_s > PACING.backfill_still_s and taken.position < self._span.end:
            await self._reader.see_that_it_goes_on(taken.position)
            self._since_s = time.monotonic()
        return taken

    async def _check(self) -> None:
        if not self._span.identity:
            return
        ends_s = time.monotonic() + PACING.topic_s
        while (now := await self._reader.topic_id(self._span.source)) != self._span.identity:
            if now or time.monotonic() > ends_s:  # a broker that just started may know no topic for a moment
                raise Replaced(f"topic {self._span.source!r} was deleted or made anew since this job began; start a "
                               "new job")
            await asyncio.sleep(PACING.sign_on_pause_s)

    async def stop(self) -> None:
        """As `Source.stop`."""
        await self._reader.stop()


class TopicTarget:
    """The backfill lane's predictions, by cell of now, keyed by tenant, stamped now. As `Target`.

    A record read again after a crash gives the same bytes under the same id: who keeps results by id has each once.
    """

    def __init__(self, settings: Settings, ring: Ring, job: str) -> None:
        self._prefix, self._ring = settings.prefix, ring.name
        self._headers = ((JOB_HEADER, job.encode()),)
        self._producer = Producer(settings.broker)
        self._follower = PlacementFollower(settings.broker, topics.placement(settings.prefix), Placement(ring))
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """As `Target.start`."""
        await self._follower.start()
        self._following = asyncio.create_task(self._follower.follow())
        await self._producer.start()

    async def write(self, span: Span, part: Part, rows: Sequence[Row]) -> None:
        """As `Target.write`. A row that the broker refuses for good becomes an error in its place; one that
        names no tenant is nobody's, and is set aside only."""
        refused = await self._producer.send([self._output(row) for row in rows if row["tenant"]])
        told = [{**msgpack.unpackb(one.output.value), "intent": "", "entities": [], "text": "", "error": one.error.code,
                 "message": str(one.error)} for one in refused]
        for one in await self._producer.send([self._output(row) for row in told]):
            log.error("the broker takes not even the error of a record of %s[%d]: %s", span.source, span.partition,
                      one.error)

    def _output(self, row: Row) -> Output:
        cell = self._follower.placement.cell_of(row["tenant"])
        topic = topics.predictions(self._prefix, self._ring, cell, "backfill")
        value = msgpack.packb({name: value for name, value in row.items() if name != "raw"})
        return Output(topic, row["tenant"].encode(), value, self._headers)

    async def finish(self, span: Span, part: Part) -> None:
        """As `Target.finish`: everything written is acknowledged already."""

    async def stop(self) -> None:
        """As `Target.stop`."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._follower.stop()
        await self._producer.stop()
