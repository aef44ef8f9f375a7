"""The data path of an encoder worker, read top to bottom: utterances in, embeddings out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from encoder_worker.compute import Compute
from encoder_worker.embedding import embeddings_of
from encoder_worker.engine import Encoded
from encoder_worker.routes import Routes
from encoder_worker.tokens import Row, Tokenizer
from topology import keys, topics, wire
from topology.errors import BadRecord, DeadlineExceeded, MalformedRecord, Misconfigured, TextTooLong, Unavailable
from topology.pacing import PACING
from topology.placement import Placement
from topology.quotas import Meter
from topology.settings import Ring, Settings
from topology.stream import metrics
from topology.stream.embedding_cache import CachedEmbedding, EmbeddingCache
from topology.stream.fences import InFlight
from topology.stream.outcomes import Computing, Outcome, Step
from topology.stream.process import now_us
from topology.stream.records import Output, Record
from topology.stream.refusals import Refusals, asker_of
from topology.topics import Lane


@dataclass(frozen=True)
class Asked:
    """A record and the utterance it holds."""

    record: Record
    utterance: wire.Utterance


AskedFor = dict[str, list[Asked]]  # a text → who asked for it
Embeddings = Mapping[str, CachedEmbedding]  # by text


class EncoderWorker:
    """Encodes utterances of one ring. Driven by `topology.stream.loop`."""

    def __init__(
        self, settings: Settings, ring: Ring, compute: Compute, tokenizer: Tokenizer, space: str,
        cache: EmbeddingCache | None = None, lane: Lane = "live", routes: Routes | None = None,
    ) -> None:
        self._settings, self._ring, self._lane = settings, ring, lane
        self._compute, self._tokenizer, self.space, self._cache = compute, tokenizer, space, cache
        self.routes = routes or Routes(Placement(ring), InFlight())
        self._meter = Meter(settings.quotas, ring.workers)
        self._refusals = Refusals(settings, ring.name, lane)
        self.stages = metrics.Stages("encoder", {"ring": ring.name})

    async def process(self, records: Sequence[Record]) -> AsyncIterator[Step]:
        """Refuse what is late or malformed, compute each different text once, send every embedding on."""
        received_us = now_us()
        asked: AskedFor = {}
        for record in records:
            try:
                utterance = self._read(record, received_us)
                asked.setdefault(utterance.text, []).append(Asked(record, utterance))
                if self._lane == "live":  # of a replay the offsets tell the order
                    self.routes.enter(record, utterance.tenant)
            except (BadRecord, DeadlineExceeded) as error:
                yield self.refuse(record, error)
        cached = await self._cached(asked)
        for step in self._sent(_who(asked, cached), cached, received_us):
            yield step
        texts = [text for text in asked if text not in cached]
        rows = self._tokenizer.rows(texts)
        for indices in self._compute.batches(rows):
            batch = {texts[i]: rows[i] for i in indices}
            if self._compute.is_for_the_loop([*batch.values()]):
                embeddings = self._embeddings(asked, batch, self._compute.encode([*batch.values()]))
                steps = self._sent(_who(asked, batch), embeddings, received_us)
            else:
                steps = self._sent(_who(asked, batch), self._beside(asked, batch), received_us)
            for step in steps:
                yield step

    def _read(self, record: Record, received_us: int) -> wire.Utterance:
        """The utterance of a record, if it may be computed. Raises: BadRecord, DeadlineExceeded."""
        utterance = wire.decode(wire.Utterance, record.value)
        if not utterance.id or not utterance.tenant or not utterance.text.strip():
            raise MalformedRecord("Utterance: id, tenant and text must not be empty")
        keys.check_reply_stream(self._settings.prefix, utterance.reply_to)
        if len(utterance.text) > self._settings.limits.max_chars:
            raise TextTooLong(f"{len(utterance.text)} characters, the limit is {self._settings.limits.max_chars}")
        if self._lane == "live" and utterance.deadline_us < received_us:
            late_ms = (received_us - utterance.deadline_us) // 1_000
            raise DeadlineExceeded(f"the deadline passed {late_ms} ms before an encoder was free; nothing was computed")
        return utterance

    async def _cached(self, asked: AskedFor) -> dict[str, CachedEmbedding]:
        cache = self._cache
        if cache is None:
            return {}
        return await cache.get([t for t, some in asked.items() if any(cache.serves(a.utterance.tenant) for a in some)])

    async def _beside(self, asked: AskedFor, batch: Mapping[str, Row]) -> Embeddings:
        return self._embeddings(asked, batch, await self._compute.encode_beside([*batch.values()]))

    def _embeddings(self, asked: AskedFor, batch: Mapping[str, Row], encoded: Encoded) -> Embeddings:
        """A computed batch by text. Raises: BadRecord where vectors are not finite: the loop finds whose."""
        fresh = embeddings_of(batch, encoded)
        cache = self._cache
        if cache is not None:
            cache.put({t: e for t, e in fresh.items() if all(cache.serves(a.utterance.tenant) for a in asked[t])})
        return fresh

    def _sent(
        self, asked: Sequence[Asked], embeddings: Embeddings | Awaitable[Embeddings], received_us: int
    ) -> Iterator[Step]:
        """The steps that send embeddings on: those that may go together, and each of the others in its turn."""
        ready: list[Asked] = []
        records: list[Record] = []
        waiting = []
        for one in asked:
            if self.routes.goes(one.record, one.utterance.tenant, records):
                ready.append(one)
                records.append(one.record)
            else:
                waiting.append(one)
        if isinstance(embeddings, Mapping):
            if ready:
                yield self._outcome(ready, embeddings, received_us)
            computed: asyncio.Future[Embeddings] = asyncio.get_running_loop().create_future()
            computed.set_result(embeddings)
        else:
            computed = asyncio.ensure_future(embeddings)
            if ready:
                yield Computing(records, self._when_computed(ready, computed, received_us))
        for one in waiting:
            yield Computing([one.record], self._in_turn(one, computed, received_us))

    async def _when_computed(self, asked: Sequence[Asked], of: asyncio.Future[Embeddings], received_us: int) -> Outcome:
        return self._outcome(asked, await asyncio.shield(of), received_us)

    async def _in_turn(self, one: Asked, of: asyncio.Future[Embeddings], received_us: int) -> Outcome:
        try:
            embeddings = await asyncio.shield(of)
        except (Unavailable, Misconfigured):
            raise
        except Exception:  # of one of the batch, and it is not known of which
            text = one.utterance.text
            embeddings = await self._beside({text: [one]}, {text: self._tokenizer.rows([text])[0]})
        await self.routes.turn_of(one.record, one.utterance.tenant)
        return self._outcome([one], embeddings, received_us)

    def _outcome(self, asked: Sequence[Asked], embeddings: Embeddings, received_us: int) -> Outcome:
        encoded_us = now_us()
        outputs = [self._output(one, embeddings[one.utterance.text], received_us, encoded_us) for one in asked]
        for one in asked:
            self.routes.leaves(one.record)
        return Outcome([one.record for one in asked], outputs)

    def _output(self, asked: Asked, vectors: CachedEmbedding, received_us: int, encoded_us: int) -> Output:
        utterance, ring = asked.utterance, self._ring
        self.stages.took("wait", received_us - utterance.submitted_us)
        self.stages.took("encode", encoded_us - received_us)
        embedding = wire.Embedding(
            id=utterance.id, tenant=utterance.tenant, text=utterance.text, lang=utterance.lang,
            submitted_us=utterance.submitted_us, deadline_us=utterance.deadline_us, reply_to=utterance.reply_to,
            ring=ring.name, space=self.space, dtype="int8", tokens=vectors.tokens, hidden=vectors.hidden,
            data=vectors.data, scales=vectors.scales, offsets=vectors.offsets, truncated=vectors.truncated,
            stages={"submitted": utterance.submitted_us, "received": received_us, "encoded": encoded_us},
            one_reader=utterance.one_reader, guessed=utterance.guessed,
        )
        cell = self.routes.cell_of(asked.record, utterance.tenant)
        topic = topics.embeddings(self._settings.prefix, ring.name, cell, self._lane)
        return Output(topic, utterance.tenant.encode(), wire.encode(embedding), cause=asked.record)

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """The error reply and dead letter of a record that cannot be encoded."""
        asker = asker_of(record.value)
        cell = self.routes.cell_of(record, asker.tenant)
        self.routes.leaves(record)
        results = topics.predictions(self._settings.prefix, self._ring.name, cell, self._lane)
        return self._refusals.outcome(record, asker, error, results)

    def takes_more(self) -> bool:
        """As `Worker.takes_more`."""
        return self._compute.takes_more() and self.routes.waiting < PACING.max_held

    def tenant(self, record: Record) -> str:
        """As `Worker.tenant`."""
        return asker_of(record.value).tenant

    def admit(self, tenant: str, queued: int) -> None:
        """As `Worker.admit`. Replays wait as long as they must; what names no tenant is refused as malformed."""
        if self._lane == "live" and tenant:
            self._meter.check_queue(tenant, queued)
            self._meter.charge(tenant, now_us() / 1e6)

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""
        return self._compute.on_gpu

    def stats(self) -> dict[str, float]:
        """What was computed so far, what the cache spared, and dead letters that were not kept."""
        cache = {"cache_hits": self._cache.hits, "cache_misses": self._cache.misses} if self._cache else {}
        return {**self._compute.stats(), **cache, "letters_over_bound": self._refusals.letters_over_bound,
                **self.routes.stats()}


def _who(asked: AskedFor, texts: Mapping[str, object]) -> list[Asked]:
    """Who asked for these texts, in the order in which it was read."""
    found = [one for text in texts for one in asked[text]]
    return sorted(found, key=lambda one: (one.record.partition, one.record.offset))
