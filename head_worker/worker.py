"""The data path of a head worker, read top to bottom: embeddings in, predictions out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from head_worker.answered import Answered
from head_worker.cache import HeadCache
from head_worker.engine import Head, Scored, TokenVectors
from head_worker.shadow import comparison
from topology import keys, topics, wire
from topology.errors import BadRecord, DeadlineExceeded, IdReused, MalformedRecord
from topology.heads import check_space
from topology.keys import OwnedId
from topology.pacing import PACING
from topology.quotas import Meter
from topology.settings import Settings
from topology.stream import metrics
from topology.stream.outcomes import Computing, Outcome, Parked, Step
from topology.stream.process import now_us
from topology.stream.records import OutgoingReply, Output, Record
from topology.stream.refusals import Refusals, asker_of
from topology.stream.replies import Answer
from topology.stream.work import BusyTime
from topology.topics import Lane


@dataclass(frozen=True)
class Asked:
    """A record and the embedding it holds."""

    record: Record
    embedding: wire.Embedding

    @property
    def id(self) -> OwnedId:
        """Whose request it is, and its id."""
        return self.embedding.tenant, self.embedding.id


@dataclass(frozen=True)
class Group:
    """Utterances that one head scores; `shadow` scores some of them (by id) beside it and answers none."""

    head: Head
    asked: list[Asked]
    shadow: Head | None = None
    shadowed: frozenset[str] = frozenset()


class HeadWorker:
    """Scores embeddings of one cell. Driven by `topology.stream.loop`. `answered`: live ids are looked up there."""

    def __init__(
        self, settings: Settings, ring: str, cell: str, heads: HeadCache, lane: Lane = "live",
        answered: Answered | None = None,
    ) -> None:
        self._ring, self._heads, self._lane = ring, heads, lane
        self._answered = answered if lane == "live" else None
        self._prefix = settings.prefix
        self._results = topics.predictions(settings.prefix, ring, cell, lane)
        self._refusals = Refusals(settings, ring, lane)
        self._shadows = topics.shadows(settings.prefix)
        self._meter, self._max_tokens = Meter(settings.quotas), settings.limits.max_tokens
        self._tally: Counter[str] = Counter()
        self._busy, self.stages = BusyTime(), metrics.Stages("head", {"ring": ring, "cell": cell})
        self._thread, self._on_thread = ThreadPoolExecutor(1, "system-entities"), 0

    async def process(self, records: Sequence[Record]) -> AsyncIterator[Step]:
        """Score for the tenants whose head is in memory; the others' records come again when it is."""
        new, steps = await self._sort_out(records)
        for step in steps:
            yield step
        by_version: dict[tuple[str, str, str], list[Asked]] = {}
        for one in new:
            try:
                by_version.setdefault((one.embedding.tenant, *self._version(one.embedding)), []).append(one)
            except BadRecord as error:
                yield self.refuse(one.record, error)
        warm: list[Group] = []
        for (tenant, version, sha256), asked in by_version.items():
            try:
                head = self._heads.resident(tenant, version)
            except BadRecord as error:
                yield _together([self.refuse(one.record, error) for one in asked])
                continue
            if head is None:
                yield Parked([one.record for one in asked], self._heads.load(tenant, version, sha256))
            else:
                warm.append(self._with_shadow(head, tenant, asked))
        for some in _chunks([group for group in warm if group.head.manifest.system_entities]):
            yield Computing([one.record for group in some for one in group.asked], self._score_beside(some))
        for some in _chunks([group for group in warm if not group.head.manifest.system_entities]):
            yield self._score(some)

    async def _sort_out(self, records: Sequence[Record]) -> tuple[list[Asked], list[Step]]:
        """The embeddings to score, and what becomes of the others: malformed, answered before, late."""
        read: list[Asked] = []
        steps: list[Step] = []
        for record in records:
            try:
                read.append(self._read(record))
            except BadRecord as error:
                steps.append(self.refuse(record, error))
        known = await self._answered.find([one.id for one in read]) if self._answered else {}
        new: dict[OwnedId, Asked] = {}
        for one in read:
            if one.id in known:
                steps.append(self._again(one, known[one.id]))
            elif one.id in new:
                steps.append(Parked([one.record], asyncio.sleep(0)))  # until the one before it is scored
            elif self._lane == "live" and one.embedding.deadline_us < now_us():
                late = DeadlineExceeded("the deadline passed before a head worker was free")
                steps.append(self.refuse(one.record, late))
            else:
                new[one.id] = one
        return list(new.values()), steps

    def _again(self, one: Asked, answer: Answer) -> Outcome:
        """What becomes of an id that has a good reply. The reply is repeated to whoever asks now, as it was written."""
        embedding, before = one.embedding, answer.prediction
        if (before.text, before.lang) != (embedding.text, embedding.lang):
            told = f"the id {embedding.id!r} stands for another text of tenant {embedding.tenant!r}; use a new one"
            return self.refuse(one.record, IdReused(told))
        # The same embedding read again: a worker was killed between its reply and its result, which may be missing.
        same = embedding.stages.items() <= before.stages.items()
        results = [Output(self._results, embedding.tenant.encode(), answer.value)] if same else []
        return Outcome([one.record], results, [_reply(embedding, answer.value)])

    def _version(self, embedding: wire.Embedding) -> tuple[str, str]:
        """(version, sha256) of what answers: the canary for its share, in its own space. Raises: UnknownTenant."""
        record = self._heads.record_for(embedding.tenant, embedding.space)
        canary = record.candidate
        if canary is None or canary.mode != "canary" or canary.space != embedding.space:
            return record.version, record.sha256
        if not canary.takes(embedding.id):
            return record.version, record.sha256
        try:
            self._heads.resident(embedding.tenant, canary.version)
        except BadRecord:
            return record.version, record.sha256  # a canary that cannot be loaded answers nothing; the log says why
        return canary.version, canary.sha256

    def _with_shadow(self, head: Head, tenant: str, asked: list[Asked]) -> Group:
        candidate = self._heads.record(tenant).candidate
        if candidate is None or candidate.mode != "shadow":
            return Group(head, asked)
        try:
            shadow = self._heads.resident(tenant, candidate.version)
            if shadow is None:
                self._heads.load(tenant, candidate.version, candidate.sha256).add_done_callback(_heard)
        except BadRecord:
            return Group(head, asked)
        chosen = frozenset(one.embedding.id for one in asked if candidate.takes(one.embedding.id))
        return Group(head, asked, shadow, chosen)

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """The error reply and dead letter of a record that cannot be scored."""
        return self._refusals.outcome(record, asker_of(record.value), error, self._results)

    def takes_more(self) -> bool:
        """As `Worker.takes_more`."""
        return self._on_thread < PACING.max_on_cpu_thread

    def tenant(self, record: Record) -> str:
        """As `Worker.tenant`: the topic is keyed by it."""
        return (record.key or b"").decode(errors="replace")

    def admit(self, tenant: str, queued: int) -> None:
        """As `Worker.admit`. Replays wait as long as they must; the encoder worker has charged the quota."""
        if self._lane == "live":
            self._meter.check_queue(tenant, queued)

    def stats(self) -> dict[str, float]:
        """What was scored so far, in what time, the head cache's own figures, and dead letters that were not kept."""
        more = {"letters_over_bound": self._refusals.letters_over_bound, "busy_us": self._busy.total_s * 1e6}
        return {**self._tally, **self._heads.stats(), **more}

    def _read(self, record: Record) -> Asked:
        embedding = wire.decode(wire.Embedding, record.value)
        keys.check_reply_stream(self._prefix, embedding.reply_to)
        if embedding.tokens > self._max_tokens:  # a head's cost grows with their square: 20,000 take 4 s
            raise MalformedRecord(f"Embedding: {embedding.tokens} tokens; limits.max_tokens is {self._max_tokens}")
        return Asked(record, embedding)

    async def _score_beside(self, groups: list[Group]) -> Outcome:
        """Score on a thread, which waits up to `entity_wait_s` for each text's system entities."""
        self._on_thread += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._score, groups)
        finally:
            self._on_thread -= 1

    def _score(self, groups: list[Group]) -> Outcome:
        with self._busy:
            return _together([self._score_group(group) for group in groups])

    def _score_group(self, group: Group) -> Outcome:
        fitting: list[Asked] = []
        rows: list[TokenVectors] = []
        refused: list[Outcome] = []
        for one in group.asked:
            try:
                check_space(group.head.manifest.space, one.embedding.space)
                rows.append(TokenVectors.of(one.embedding))
                fitting.append(one)
            except BadRecord as error:
                refused.append(self.refuse(one.record, error))
        scored = group.head.predict(rows) if rows else []
        self._tally.update(utterances=len(rows), calls=bool(rows))
        told = [(a, self._prediction(a.embedding, s, group.head)) for a, s in zip(fitting, scored, strict=True)]
        done = self.outcome(told)
        compared = self._compared(group, fitting, rows, scored)
        return _together([Outcome(done.done, [*done.outputs, *compared], done.replies), *refused])

    def outcome(self, told: Sequence[tuple[Asked, wire.Prediction]]) -> Outcome:
        """What becomes of predictions: each goes to the result topic, and to its caller; of a replay the callers are
        long gone."""
        values = [(one, wire.encode(prediction)) for one, prediction in told]
        outputs = [Output(self._results, one.embedding.tenant.encode(), v, cause=one.record) for one, v in values]
        replies = [_reply(one.embedding, v) for one, v in values] if self._lane == "live" else []
        return Outcome([one.record for one, _ in told], outputs, replies)

    def _compared(
        self, group: Group, fitting: list[Asked], rows: list[TokenVectors], scored: list[Scored]
    ) -> list[Output]:
        """What the shadow scored, beside what was replied, for the topic of comparisons."""
        shadow = group.shadow
        if shadow is None:
            return []
        chosen = [i for i, one in enumerate(fitting) if one.embedding.id in group.shadowed
                  and one.embedding.space == shadow.manifest.space]
        try:
            others = shadow.predict([rows[i] for i in chosen]) if chosen else []
        except Exception:  # it answers nobody, so what is wrong with it costs nobody a reply
            self._tally["shadow_failed"] += 1
            return []
        return [
            Output(self._shadows, fitting[i].embedding.tenant.encode(),
                   comparison(fitting[i].embedding, scored[i], group.head, other, shadow), optional=True)
            for i, other in zip(chosen, others, strict=True)
        ]

    def _prediction(self, embedding: wire.Embedding, scored: Scored, head: Head) -> wire.Prediction:
        predicted_us, stages = now_us(), embedding.stages
        self.stages.took("score", predicted_us - stages.get("encoded", predicted_us))
        self.stages.took("", predicted_us - embedding.submitted_us)
        prediction = wire.Prediction(
            id=embedding.id, tenant=embedding.tenant, ring=self._ring, lang=embedding.lang, text=embedding.text,
            intent=scored.intent, confidence=float(scored.confidence), out_of_scope=bool(scored.out_of_scope),
            entities=[span.to_map() for span in scored.entities], head_version=head.manifest.version,
            space=embedding.space, truncated=embedding.truncated, stages={**stages, "predicted": predicted_us},
        )
        if self._answered is not None:
            self._answered.note(prediction)
        return prediction


def _reply(embedding: wire.Embedding, value: bytes) -> OutgoingReply:
    digest = keys.request_digest(embedding.text, embedding.lang)
    until_us = embedding.deadline_us if embedding.one_reader else 0
    return OutgoingReply(embedding.reply_to, embedding.tenant, embedding.id, value, True, digest, until_us)


def _heard(loading: asyncio.Future[Head]) -> None:
    """A shadow that cannot be loaded is the cache's to log."""
    if not loading.cancelled():
        loading.exception()


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        [record for one in outcomes for record in one.done],
        [output for one in outcomes for output in one.outputs],
        [reply for one in outcomes for reply in one.replies],
    )


def _chunks(groups: list[Group]) -> Iterator[list[Group]]:
    """`groups` in parts of about `score_batch` utterances; one tenant's stay together up to as many."""
    part: list[Group] = []
    count = 0
    for group in groups:
        for at in range(0, len(group.asked), PACING.score_batch):
            some = group.asked[at : at + PACING.score_batch]
            part.append(Group(group.head, some, group.shadow, group.shadowed))
            count += len(some)
            if count >= PACING.score_batch:
                yield part
                part, count = [], 0
    if part:
        yield part
