"""Dead letters: which there are, what is in them, and sending them again to where they came from."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property

from topology import topics, wire
from topology.errors import MalformedRecord
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.kafka import Producer, TopicReader
from topology.stream.process import now_us
from topology.stream.records import CUT, ERRORS, REPLAYS, Output, Record, own_headers
from topology.stream.refusals import asker_of

Asked = wire.Utterance | wire.Embedding
Targets = Mapping[str, type[Asked]]
Place = tuple[int, int]  # partition and offset


@dataclass(frozen=True)
class Letter:
    """One dead letter, and what its headers say."""

    record: Record

    @cached_property
    def headers(self) -> dict[str, bytes]:
        """Name → value, the last of each name: a letter of an earlier release may have several sets."""
        return {name: value or b"" for name, value in self.record.headers}

    def told(self, name: str) -> str:
        """What one error header says, empty where it is not there."""
        return self.headers.get(f"{ERRORS}{name}", b"").decode(errors="replace")

    @property
    def reason(self) -> str:
        """The error's code."""
        return self.told("stage")

    @property
    def source(self) -> str:
        """The topic that the record came from."""
        return self.told("topic")

    @property
    def origin(self) -> str:
        """Where the record came from, as `topic[partition]@offset`."""
        return f"{self.source}[{self.told('partition')}]@{self.told('offset')}"

    @property
    def place(self) -> Place:
        """Where the letter is on the topic of dead letters."""
        return self.record.partition, self.record.offset

    @property
    def name(self) -> str:
        """The place as it is typed: an offset, of another partition than the first `PARTITION:OFFSET`."""
        partition, offset = self.place
        return f"{partition}:{offset}" if partition else str(offset)

    @cached_property
    def tenant(self) -> str:
        """Whose record it is, empty where it does not tell."""
        return asker_of(self.record.value).tenant

    @property
    def replays(self) -> int:
        """How often it was sent again before. Anybody may write the header."""
        count = self.headers.get(REPLAYS, b"")
        return int(count) if count.isdigit() and len(count) < 10 else 0

    @property
    def cut(self) -> list[str]:
        """What of it was not kept whole: of `value.bytes`, `key.bytes`, `headers`, `unreadable`."""
        return [name.removeprefix(CUT) for name in self.headers if name.startswith(CUT)]


@dataclass(frozen=True)
class Filter:
    """Which letters are meant; what is empty or None lets all pass. `limit`: the oldest so many."""

    reason: str = ""
    tenant: str = ""
    topic: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    limit: int | None = None
    place: Place | None = None

    def passes(self, letter: Letter) -> bool:
        """Whether the letter is meant, the limit apart."""
        written_ms = letter.record.timestamp_ms
        return (
            (self.place is None or letter.place == self.place)
            and (self.since_ms is None or written_ms >= self.since_ms)
            and (self.until_ms is None or written_ms < self.until_ms)
            and self.reason in ("", letter.reason)
            and self.topic in ("", letter.source)
            and self.tenant in ("", letter.tenant)
        )


async def letters(settings: Settings, chosen: Filter) -> AsyncGenerator[Letter, None]:
    """The chosen letters that are there now, oldest first; a fetch of them is in memory at a time.

    Raises: Unavailable, Misconfigured.
    """
    left = chosen.limit
    reader = TopicReader(settings.broker, topics.dead_letters(settings.prefix))
    await reader.start()
    try:
        async with aclosing(reader.batches_to_end()) as batches:
            async for batch in batches:
                for letter in filter(chosen.passes, map(Letter, batch)):
                    yield letter
                    left = None if left is None else left - 1
                    if left == 0 or chosen.place is not None:
                        return
    finally:
        await reader.stop()


def targets_of(settings: Settings) -> dict[str, type[Asked]]:
    """Topic → what is on it, of the topics that workers of this installation read: what a letter may go back to."""
    found: dict[str, type[Asked]] = {}
    for ring in settings.rings.values():
        for lane in topics.LANES:
            found[topics.utterances(settings.prefix, ring.name, lane)] = wire.Utterance
            for cell in ring.cells:
                found[topics.embeddings(settings.prefix, ring.name, cell, lane)] = wire.Embedding
    return found


def again(letter: Letter, kind: type[Asked], deadline_us: int) -> Output:
    """The letter's record as it was, for where it came from. Where it decodes, its deadline is `deadline_us`, and
    nobody is replied to: its caller is long gone."""
    record = letter.record
    headers = [(name, value) for name, value in own_headers(record) if name != REPLAYS]
    value = _renewed(record.value, kind, deadline_us)
    return Output(letter.source, record.key, value, (*headers, (REPLAYS, b"%d" % (letter.replays + 1))))


def _renewed(value: bytes | None, kind: type[Asked], deadline_us: int) -> bytes | None:
    try:
        return wire.rewritten(kind, value, deadline_us=deadline_us, reply_to="")
    except MalformedRecord:
        return value


@dataclass
class Replayed:
    """What became of the chosen letters: how many were sent, how many were not, by why, and how many came back before
    (a newer letter stands for them)."""

    sent: int = 0
    came_back: int = 0
    left: Counter[str] = field(default_factory=Counter)


class Replay:
    """Sends letters again. `say` hears of each that is not sent, and in a dry run of each that would be.

    A letter that was replayed and came back is there twice, or more often: only the newest of them is sent, so that
    replays repeated do not double them.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None], dry_run: bool = False,
                 per_s: float = PACING.replays_per_s) -> None:
        self._settings, self._say, self._dry_run, self._per_s = settings, say, dry_run, per_s
        self._targets = targets_of(settings)
        self._newest: dict[bytes, tuple[int, Place]] = {}  # of what came back: replays before, and where it is
        self._last: dict[int, int] = {}  # the last offset of each partition, as the replay began
        self.done = Replayed()

    async def run(self, chosen: Filter) -> Replayed:
        """Send the chosen letters that are there now.

        Raises: Unavailable, Misconfigured; `done` then tells how far it was.
        """
        await self._find_newest()
        producer = Producer(self._settings.broker)
        try:
            async with aclosing(letters(self._settings, chosen)) as found:
                await self._send_all(producer, found)
        finally:
            await producer.stop()
        return self.done

    async def _send_all(self, producer: Producer, found: AsyncGenerator[Letter, None]) -> None:
        waiting: list[tuple[Letter, Output]] = []
        async for letter in found:
            partition, offset = letter.place
            if offset > self._last.get(partition, -1):  # it came back from this very replay
                continue
            if why := self._why_not(letter):
                self._leave(letter, *why)
            elif self._came_back(letter):
                self.done.came_back += 1
            else:
                waiting.append((letter, self._again(letter)))
            if len(waiting) >= max(1, min(PACING.replay_batch, int(self._per_s))):
                await self._send(producer, waiting)
                waiting = []
        await self._send(producer, waiting)

    async def _find_newest(self) -> None:
        async with aclosing(letters(self._settings, Filter())) as found:
            async for letter in found:
                self._note(letter)

    def _note(self, letter: Letter) -> None:
        partition, offset = letter.place
        self._last[partition] = offset
        if letter.replays and letter.source in self._targets:
            same, here = self._digest(letter), (letter.replays, letter.place)
            self._newest[same] = max(here, self._newest.pop(same, here))
            if len(self._newest) > PACING.max_replayed:
                del self._newest[next(iter(self._newest))]

    def _why_not(self, letter: Letter) -> tuple[str, str] | None:
        """In short and in full, why a letter is not sent; None where it is."""
        if letter.source not in self._targets:
            known = ", ".join(self._targets)
            return "unknown topic", f"{letter.source!r} is no topic that workers of this installation read: {known}"
        if letter.cut:
            return "cut", f"its record was not kept whole ({', '.join(letter.cut)})"
        return None

    def _came_back(self, letter: Letter) -> bool:
        newest = self._newest.get(self._digest(letter))
        return newest is not None and newest[1] != letter.place

    def _leave(self, letter: Letter, why: str, what: str) -> None:
        self.done.left[why] += 1
        self._say(f"not sent: letter {letter.name} ({letter.origin}): {what}")

    def _again(self, letter: Letter) -> Output:
        deadline_us = now_us() + int(self._settings.limits.deadline_s * 1e6)
        return again(letter, self._targets[letter.source], deadline_us)

    def _digest(self, letter: Letter) -> bytes:
        """The same for the letters of one request, whatever became of its deadline."""
        record = letter.record
        value = _renewed(record.value, self._targets[letter.source], 0)
        told = b"%s\0%d\0%b%b" % (letter.source.encode(), len(record.key or b""), record.key or b"", value or b"")
        return hashlib.blake2b(told, digest_size=16).digest()

    async def _send(self, producer: Producer, some: list[tuple[Letter, Output]]) -> None:
        if self._dry_run:
            for letter, output in some:
                self._say(f"would be sent: letter {letter.name} ({letter.reason}, tenant {letter.tenant!r}) to "
                          f"{output.topic}, {REPLAYS} {letter.replays + 1}")
            self.done.sent += len(some)
            return
        begun_s, named = time.monotonic(), {id(output): letter for letter, output in some}
        refused = await producer.send([output for _, output in some])
        for one in refused:
            self._leave(named[id(one.output)], "refused", f"the broker takes it not: {one.error}")
        self.done.sent += len(some) - len(refused)
        await asyncio.sleep(max(0.0, begun_s + len(some) / self._per_s - time.monotonic()))
