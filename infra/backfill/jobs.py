"""The topic of jobs: each job's record, the heads that it scores with, what is wished of it, and how its workers are.

Compacted, one partition, so that its order is the order of what happened. Keys: `ID` (the job, written last of what
makes it, so that who finds it finds all), `ID/heads/N`, `ID/wish`, `ID/worker/N`, `ID/progress/N`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from infra.backfill.job import Job, parse_job
from topology import topics
from topology.errors import MalformedRecord, Misconfigured
from topology.json_map import known_fields, parse_json_map
from topology.registry import HeadRecord, parse_record, registry_key
from topology.settings import Settings
from topology.stream.kafka import Producer, TopicReader
from topology.stream.records import Output, Record

HEADS_TOGETHER = 2_000  # in one record
MAX_BYTES = 1 << 20

Wish = Literal["running", "paused", "cancelled"]


@dataclass(frozen=True)
class Beat:
    """How one worker of a job is. `state`: `running`, `paused`, `waiting` (for live traffic, or its rate), `ended`;
    `why` says it in words. `at_us`: when it said so."""

    worker: int
    of: int
    state: str
    why: str
    per_s: float
    at_us: int
    host: str
    pid: int


class Jobs:
    """Reads and writes the topic. `start` reads what is there; `refresh` what came since."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._topic = settings, topics.backfills(settings.prefix)
        self._reader, self._producer = TopicReader(settings.broker, self._topic), Producer(settings.broker)
        self._records: dict[str, bytes] = {}

    async def start(self) -> None:
        """Connect, and read the topic to its end. Raises: Unavailable, Misconfigured.

        The producer connects at its first write: who only looks at jobs needs no right to write.
        """
        await self._reader.start()
        self._note(await self._reader.read_to_end())

    async def refresh(self, wait_ms: int = 0) -> None:
        """Read what came since; after `wait_ms` perhaps nothing. Raises: Unavailable."""
        self._note(await (self._reader.take(wait_ms) if wait_ms else self._reader.read_to_end()))

    def _note(self, records: Iterable[Record]) -> None:
        for record in records:
            key = (record.key or b"").decode(errors="replace")
            if record.value is None:
                self._records.pop(key, None)
            elif not record.unreadable:
                self._records[key] = record.value

    @property
    def ids(self) -> list[str]:
        """Every job there is."""
        return sorted(key for key in self._records if "/" not in key)

    def job(self, name: str) -> Job | None:
        """The job of that id. Raises: MalformedRecord where its record is none."""
        value = self._records.get(name)
        try:
            return None if value is None else parse_job(value)
        except MalformedRecord as error:
            raise MalformedRecord(f"backfill {name!r}: {error}; a newer release may have written it") from error

    def wanted(self, name: str) -> Job:
        """The job of that id. Raises: Misconfigured where there is none."""
        job = self.job(name)
        if job is None:
            known = ", ".join(self.ids) or "none"
            raise Misconfigured(f"there is no backfill {name!r}; known: {known}")
        return job

    def heads(self, job: Job) -> list[HeadRecord]:
        """The head versions that the job scores with, fixed when it was made."""
        found = []
        for key in sorted(k for k in self._records if k.startswith(f"{job.id}/heads/")):
            for tenant, body in parse_json_map(self._records[key], 2 * MAX_BYTES).items():
                head = json.dumps(body).encode()
                found.append(parse_record(registry_key(job.asked.ring, tenant), head))
        return found

    def wish(self, name: str) -> Wish:
        """What is wished of a job: to run, where nobody said otherwise."""
        state = self._map(f"{name}/wish").get("state")
        return state if state in ("paused", "cancelled") else "running"

    def beats(self, name: str) -> list[Beat]:
        """The last word of each of its workers."""
        found = []
        for key in sorted(k for k in self._records if k.startswith(f"{name}/worker/")):
            try:
                found.append(Beat(**known_fields(Beat, self._map(key))))
            except TypeError:
                continue
        return found

    def progress(self, name: str, number: int) -> tuple[int, str] | None:
        """(offset, counts as JSON) of a span, where the group's commits do not keep them."""
        body = self._map(f"{name}/progress/{number}")
        return (body["offset"], body["counts"]) if body else None

    def _map(self, key: str) -> dict[str, Any]:
        try:
            return parse_json_map(self._records[key], MAX_BYTES) if key in self._records else {}
        except ValueError:
            return {}

    async def create(self, job: Job, heads: Sequence[HeadRecord]) -> None:
        """Store a job: its heads first, so that a job that is there has them. Raises: Unavailable, Misconfigured."""
        for at in range(0, max(1, len(heads)), HEADS_TOGETHER):
            some = {h.tenant: {"version": h.version, "space": h.space, "sha256": h.sha256}
                    for h in heads[at : at + HEADS_TOGETHER]}
            await self._put(f"{job.id}/heads/{at // HEADS_TOGETHER}", some)
        value = job.to_bytes()
        if len(value) > MAX_BYTES:
            raise Misconfigured(f"a job of {len(job.spans)} files is too large for one record: name fewer")
        await self._write(job.id, value)

    async def wish_for(self, name: str, state: Wish) -> None:
        """Say what the workers of a job are to do. Raises: Unavailable."""
        await self._put(f"{name}/wish", {"state": state})

    async def beat(self, name: str, beat: Beat) -> None:
        """Say how a worker is. Raises: Unavailable."""
        await self._put(f"{name}/worker/{beat.worker}", asdict(beat))

    async def note_progress(self, name: str, number: int, offset: int, counts: str) -> None:
        """Keep the progress of a span here. Raises: Unavailable."""
        await self._put(f"{name}/progress/{number}", {"offset": offset, "counts": counts})

    async def _put(self, key: str, body: Mapping[str, Any]) -> None:
        await self._write(key, json.dumps(body, ensure_ascii=False).encode())

    async def _write(self, key: str, value: bytes) -> None:
        if refused := await self._producer.send([Output(self._topic, key.encode(), value)]):
            raise refused[0].error
        self._records[key] = value

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()
        await self._producer.stop()


@contextlib.asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Jobs]:
    """The topic of jobs, read to its end. Raises: Unavailable, Misconfigured."""
    jobs = Jobs(settings)
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


def readable(jobs: Jobs) -> list[Job]:
    """Every job whose record can be read."""
    found = []
    for name in jobs.ids:
        try:
            job = jobs.job(name)
        except MalformedRecord:
            continue
        if job is not None:
            found.append(job)
    return found
