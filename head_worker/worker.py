"""The data path of a head worker, read top to bottom: embeddings in, predictions out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from head_worker.cache import HeadCache
from head_worker.engine import Head, Scored, TokenVectors
from topology import topics, wire
from topology.errors import BadRecord, DeadlineExceeded
from topology.heads import check_space
from topology.settings import Settings
from topology.stream.process import now_us
from topology.stream.records import Outcome, Output, Record, Reply
from topology.stream.refusals import asker_of, refusal
from topology.topics import Lane


@dataclass(frozen=True)
class Asked:
    """A record and the embedding it holds."""

    record: Record
    embedding: wire.Embedding


CHUNK = 4  # utterances that are scored before the first of them is answered


class HeadWorker:
    """Scores embeddings of one cell. Driven by `topology.stream.loop`."""

    def __init__(self, settings: Settings, ring: str, cell: str, heads: HeadCache, lane: Lane = "live") -> None:
        self._ring, self._heads, self._lane = ring, heads, lane
        self._results = topics.predictions(settings.prefix, ring, cell, lane)
        self._dead_letters = topics.dead_letters(settings.prefix)
        self._engine_thread = ThreadPoolExecutor(1, "heads")

    async def process(self, records: Sequence[Record]) -> AsyncIterator[Outcome]:
        """Tenants whose head is in memory are answered at once; the others as their heads arrive."""
        by_tenant: dict[str, list[Asked]] = {}
        for record in records:
            try:
                one = self._read(record)
            except (BadRecord, DeadlineExceeded) as error:
                yield self.refuse(record, error)
            else:
                by_tenant.setdefault(one.embedding.tenant, []).append(one)
        warm: list[tuple[Head, list[Asked]]] = []
        cold: list[asyncio.Future[Outcome]] = []
        for tenant, asked in by_tenant.items():
            try:
                head = self._heads.resident(tenant)
            except BadRecord as error:
                yield self._refuse_all(asked, error)
                continue
            if head is None:
                cold.append(asyncio.ensure_future(self._after_loading(tenant, asked)))
            else:
                warm.append((head, asked))
        for some in _chunks(warm):
            yield await self._score(some)
        for arriving in asyncio.as_completed(cold):
            yield await arriving

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """The error reply and dead letter of a record that cannot be scored."""
        return refusal(record, asker_of(record.value), error, self._ring, self._results, self._dead_letters)

    def _read(self, record: Record) -> Asked:
        embedding = wire.decode(wire.Embedding, record.value)
        if self._lane == "live" and embedding.deadline_us < now_us():
            raise DeadlineExceeded("the deadline passed before a head worker was free")
        return Asked(record, embedding)

    async def _after_loading(self, tenant: str, asked: list[Asked]) -> Outcome:
        try:
            head = await self._heads.load(tenant)
        except BadRecord as error:
            return self._refuse_all(asked, error)
        return await self._score([(head, asked)])

    async def _score(self, groups: list[tuple[Head, list[Asked]]]) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._engine_thread, self._score_now, groups)

    def _score_now(self, groups: list[tuple[Head, list[Asked]]]) -> Outcome:
        done: list[Record] = []
        outputs: list[Output] = []
        replies: list[Reply] = []
        for head, asked in groups:
            outcome = self._score_group(head, asked)
            done.extend(outcome.done)
            outputs.extend(outcome.outputs)
            replies.extend(outcome.replies)
        return Outcome(done, outputs, replies)

    def _score_group(self, head: Head, asked: list[Asked]) -> Outcome:
        fitting: list[Asked] = []
        refused: list[Outcome] = []
        for one in asked:
            try:
                check_space(head.manifest.space, one.embedding.space)
                fitting.append(one)
            except BadRecord as error:
                refused.append(self.refuse(one.record, error))
        rows = [TokenVectors.of(a.embedding) for a in fitting]
        scored = head.predict(rows) if rows else []
        answers = [self._answer(a.embedding, s, head) for a, s in zip(fitting, scored, strict=True)]
        return Outcome(
            [*(a.record for a in fitting), *(r for o in refused for r in o.done)],
            [*(output for output, _ in answers), *(x for o in refused for x in o.outputs)],
            [*(reply for _, reply in answers), *(r for o in refused for r in o.replies)],
        )

    def _answer(self, embedding: wire.Embedding, scored: Scored, head: Head) -> tuple[Output, Reply]:
        prediction = wire.Prediction(
            id=embedding.id, tenant=embedding.tenant, ring=self._ring, lang=embedding.lang, text=embedding.text,
            intent=scored.intent, confidence=float(scored.confidence), out_of_scope=bool(scored.out_of_scope),
            entities=[asdict(span) for span in scored.entities], head_version=head.manifest.version,
            space=embedding.space, truncated=embedding.truncated, stages={**embedding.stages, "predicted": now_us()},
        )
        value = wire.encode(prediction)
        reply = Reply(embedding.reply_to, embedding.id, value, ok=True)
        return Output(self._results, embedding.tenant.encode(), value), reply

    def _refuse_all(self, asked: list[Asked], error: Exception) -> Outcome:
        refused = [self.refuse(one.record, error) for one in asked]
        return Outcome(
            [r for o in refused for r in o.done],
            [x for o in refused for x in o.outputs],
            [r for o in refused for r in o.replies],
        )


def _chunks(groups: list[tuple[Head, list[Asked]]]) -> Iterator[list[tuple[Head, list[Asked]]]]:
    """`groups` in parts of about CHUNK utterances; one tenant's stay together up to as many."""
    part: list[tuple[Head, list[Asked]]] = []
    count = 0
    for head, asked in groups:
        for at in range(0, len(asked), CHUNK):
            part.append((head, asked[at : at + CHUNK]))
            count += len(part[-1][1])
            if count >= CHUNK:
                yield part
                part, count = [], 0
    if part:
        yield part
