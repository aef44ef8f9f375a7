"""The data path of an encoder worker, read top to bottom: utterances in, embeddings out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from encoder_worker.compute import Compute
from encoder_worker.embedding import embeddings_of
from encoder_worker.engine import Encoded
from encoder_worker.tokens import Row, Tokenizer
from topology import keys, topics, wire
from topology.cells import Cells
from topology.errors import BadRecord, DeadlineExceeded, MalformedRecord, TextTooLong
from topology.quotas import Meter
from topology.settings import Ring, Settings
from topology.stream import metrics
from topology.stream.embedding_cache import CachedEmbedding, EmbeddingCache
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


class EncoderWorker:
    """Encodes utterances of one ring. Driven by `topology.stream.loop`."""

    def __init__(
        self, settings: Settings, ring: Ring, compute: Compute, tokenizer: Tokenizer, space: str,
        cache: EmbeddingCache | None = None, lane: Lane = "live",
    ) -> None:
        self._settings, self._ring, self._lane = settings, ring, lane
        self._compute, self._tokenizer, self.space, self._cache = compute, tokenizer, space, cache
        self._meter = Meter(settings.quotas, ring.workers)
        self._cells = Cells(ring.weights, ring.pins)
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
            except (BadRecord, DeadlineExceeded) as error:
                yield self.refuse(record, error)
        cached = await self._cached(asked)
        if cached:
            yield self._outcome(asked, cached, received_us)
        texts = [text for text in asked if text not in cached]
        rows = self._tokenizer.rows(texts)
        for indices in self._compute.batches(rows):
            batch = {texts[i]: rows[i] for i in indices}
            if self._compute.is_for_the_loop([*batch.values()]):
                encoded = self._compute.encode([*batch.values()])
                yield self._encoded(asked, batch, encoded, received_us)
            else:
                yield Computing(_records(asked, batch), self._beside(asked, batch, received_us))

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

    async def _beside(self, asked: AskedFor, batch: Mapping[str, Row], received_us: int) -> Outcome:
        return self._encoded(asked, batch, await self._compute.encode_beside([*batch.values()]), received_us)

    def _encoded(self, asked: AskedFor, batch: Mapping[str, Row], encoded: Encoded, received_us: int) -> Outcome:
        """The outcome of a computed batch. Raises: BadRecord where vectors are not finite: the loop finds whose."""
        fresh = embeddings_of(batch, encoded)
        cache = self._cache
        if cache is not None:
            cache.put({t: e for t, e in fresh.items() if all(cache.serves(a.utterance.tenant) for a in asked[t])})
        return self._outcome(asked, fresh, received_us)

    def _outcome(self, asked: AskedFor, embeddings: Mapping[str, CachedEmbedding], received_us: int) -> Outcome:
        encoded_us = now_us()
        outputs = [
            self._output(one, embedding, received_us, encoded_us)
            for text, embedding in embeddings.items() for one in asked[text]
        ]
        return Outcome(_records(asked, embeddings), outputs)

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
            one_reader=utterance.one_reader,
        )
        topic = topics.embeddings(self._settings.prefix, ring.name, self._cell(utterance.tenant), self._lane)
        return Output(topic, utterance.tenant.encode(), wire.encode(embedding), cause=asked.record)

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """The error reply and dead letter of a record that cannot be encoded."""
        asker = asker_of(record.value)
        results = topics.predictions(self._settings.prefix, self._ring.name, self._cell(asker.tenant), self._lane)
        return self._refusals.outcome(record, asker, error, results)

    def _cell(self, tenant: str) -> str:
        return self._cells.of(tenant)

    def takes_more(self) -> bool:
        """As `Worker.takes_more`."""
        return self._compute.takes_more()

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
        return {**self._compute.stats(), **cache, "letters_over_bound": self._refusals.letters_over_bound}


def _records(asked: AskedFor, texts: Iterable[str]) -> list[Record]:
    return [one.record for text in texts for one in asked[text]]
