"""The data path of an encoder worker, read top to bottom: utterances in, embeddings out."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from encoder_worker.batcher import pack
from encoder_worker.compute import Batch, Computed, Shared, compute
from encoder_worker.cost import HOLD_S, PART_S, SHARED_S, CostModel
from encoder_worker.engine import Encoded, Engine
from encoder_worker.tokens import Row, Tokenizer
from topology import cells, keys, topics, wire
from topology.errors import BadRecord, DeadlineExceeded, MalformedRecord, Overloaded, TextTooLong
from topology.quotas import Meter
from topology.settings import Ring, Settings
from topology.stream.embedding_cache import CachedEmbedding, EmbeddingCache
from topology.stream.process import REQUEST_TURNS, loop_turns, now_us, step_back
from topology.stream.records import Outcome, Output, Record
from topology.stream.refusals import Asker, asker_of, refusal
from topology.topics import Lane

FEW = 16
GPU_HOLD_S = 0.002  # that a batch on a GPU may keep the loop
MOST_WAITING = 4  # calls that wait for long rows, above which the loop takes no other


@dataclass(frozen=True)
class Asked:
    """A record and the utterance it holds."""

    record: Record
    utterance: wire.Utterance


Embedded = dict[str, CachedEmbedding]


class EncoderWorker:
    """Encodes utterances of one ring. Driven by `topology.stream.loop`."""

    def __init__(
        self, settings: Settings, ring: Ring, engine: Engine, tokenizer: Tokenizer, space: str,
        cache: EmbeddingCache | None = None, lane: Lane = "live",
    ) -> None:
        self._settings, self._ring, self._lane = settings, ring, lane
        self._engine, self._tokenizer, self._space, self._cache = engine, tokenizer, space, cache
        self.on_gpu = engine.on_gpu
        self._meter = Meter(settings.quotas, ring.workers)
        self.cost = CostModel()
        self._tally: Counter[str] = Counter()
        self._at_once = 1 if engine.in_loop else engine.lanes  # batches
        self._waiting = 0  # calls of `process` that wait for threads
        # Where the loop computes they help and take long rows; else each makes a call, on a GPU a long one.
        self._threads = ThreadPoolExecutor(engine.lanes, "engine", initializer=step_back)
        self._mate = ThreadPoolExecutor(1, "mate", initializer=step_back)  # shares with the loop, where `has_mate`
        self.has_mate = engine.in_loop and engine.lanes > 1
        self._tokenizer_thread = ThreadPoolExecutor(1, "tokenizer")

    def calls(self, waiting: int) -> int:
        """As `Worker.calls`: one a batch; and one that prepares, where much waits and the loop is free to. Beside those
        that wait for threads, the loop's engine computes one more."""
        if self._engine.in_loop:
            return 1 + min(self._waiting, MOST_WAITING)
        tokens = waiting * self._tally["tokens"] / max(1, self._tally["rows"])
        return self._at_once + (tokens > self.cost.budget(self._ring.latency_ms / 1e3))

    def warm_up(self) -> None:
        """Run a short and a long batch a few times, so that the first utterance is not the one that pays for it."""
        short, long = (("", self._tokenizer.rows([text])[0]) for text in ("warm up", "warm up " * 16))
        for again in range(4):
            for batch in ([short], [long] * 4):
                computed = self._encode(batch)
                if again:  # the first time takes longer than any after it
                    self._note(computed)

    async def process(self, records: Sequence[Record]) -> AsyncIterator[Outcome]:
        """Answer what is late or malformed, compute each different text once, send every embedding on."""
        received_us = now_us()
        by_text: dict[str, list[Asked]] = {}
        for record in records:
            try:
                one = self._read(record, received_us)
            except (BadRecord, DeadlineExceeded, Overloaded) as error:
                yield self.refuse(record, error)
            else:
                by_text.setdefault(one.utterance.text, []).append(one)
        known = await self._cached(by_text)
        if known:
            yield self._outcome([(by_text[text], embedding) for text, embedding in known.items()], received_us)
        texts = [text for text in by_text if text not in known]
        if not texts:
            return
        rows = await self._rows(texts)
        lengths = [len(row.ids) for row in rows]
        longest = self._longest()
        here: list[Batch] = []
        beside: list[Batch] = []
        for indices in pack(lengths, self._budget([n for n in lengths if n <= longest]), longest):
            some = [(texts[i], rows[i]) for i in indices]
            (here if self._in_loop(some, longest) else beside).append(some)
        async with aclosing(self._computed_here(here)) as parts:
            async for computed in parts:
                yield self._answered(self._embedded(computed), by_text, received_us) if computed else Outcome(())
        if beside:
            self._waiting += 1
            try:
                yield Outcome(())  # this call only waits from now on
                for coming in asyncio.as_completed([self._computed_beside(batch) for batch in beside]):
                    yield self._answered(self._embedded(await coming), by_text, received_us)
            finally:
                self._waiting -= 1

    async def _rows(self, texts: Sequence[str]) -> list[Row]:
        if self._engine.in_loop or len(texts) <= FEW:  # a thread's answer costs more than tokenising few here
            return self._tokenizer.rows(texts)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tokenizer_thread, self._tokenizer.rows, texts)

    def _budget(self, waiting: Sequence[int]) -> int:
        """Tokens of one batch where rows of so many tokens are at hand: those that must wait anyway are computed
        together, or in two or more like parts where a thread takes some of them."""
        tokens = sum(waiting)
        least = self.cost.budget(self._ring.latency_ms / 1e3)
        if self.has_mate and tokens >= self.cost.within(SHARED_S):
            parts = max(2, -(-tokens // self.cost.within(PART_S)))
            return min(-(-tokens // parts) + max(waiting) // 2, self._ring.max_batch_tokens)
        most = self.cost.within(HOLD_S) if self._engine.in_loop else self._ring.max_batch_tokens
        return min(max(least, -(-tokens // self._at_once)), most, self._ring.max_batch_tokens)

    def _longest(self) -> int:
        """Tokens of the longest row that may share a batch, and that the loop itself computes: it does nothing else
        meanwhile, so a longer one would keep all others waiting."""
        return self.cost.allowed(self._ring.latency_ms / 1e3) if self._engine.in_loop else self._ring.max_batch_tokens

    def _in_loop(self, batch: Batch, longest: int) -> bool:
        """Whether the event loop computes it itself. A GPU's short batch too: a thread waits for the interpreter for
        longer than the loop does for the GPU."""
        if self._engine.in_loop:
            return len(batch[0][1].ids) <= longest
        fixed_s, per_token_s = self.cost.fixed_and_per_token_s
        takes_s = fixed_s + per_token_s * sum(len(row.ids) for _, row in batch)
        return self.on_gpu and not self._waiting and takes_s <= GPU_HOLD_S  # behind one that waits it would wait too

    async def _computed_here(self, batches: Sequence[Batch]) -> AsyncGenerator[list[Computed], None]:
        """Batches, by the loop and, where there are several, by a thread beside it. An empty list says that the rest is
        waited for."""
        if not self.has_mate or len(batches) < 2:
            for batch in batches:
                await loop_turns(REQUEST_TURNS)  # what came out before leaves first
                yield [self._encode(batch)]
            return
        await loop_turns(REQUEST_TURNS)
        shared = Shared(batches, functools.partial(compute, self._engine), self._mate)
        try:
            while shared.more:
                yield shared.take()
                await loop_turns(REQUEST_TURNS)
            if shared.waits:
                self._waiting += 1
                try:
                    yield []
                    yield await shared.rest()
                finally:
                    self._waiting -= 1
        finally:
            shared.stop()

    async def _computed_beside(self, batch: Batch) -> list[Computed]:
        return [await asyncio.get_running_loop().run_in_executor(self._threads, self._encode, batch)]

    def _embedded(self, computed: Sequence[Computed]) -> Embedded:
        found: Embedded = {}
        for one in computed:
            self._note(one)
            if not np.isfinite(one.encoded.scales).all():  # the loop finds whose they are, and refuses that one alone
                raise BadRecord(
                    "the encoder gives no finite vectors for this text: it may overflow in half precision, where "
                    "bfloat16 would not"
                )
            for (text, row), span in zip(one.batch, one.encoded.spans, strict=True):
                found[text] = _embedding(row, one.encoded, *span)
        return found

    def _encode(self, batch: Batch) -> Computed:
        tokens = sum(len(row.ids) for _, row in batch)
        helpers = self.cost.threads(tokens, self._engine.lanes) - 1 if self._engine.in_loop else 0

        def call_for_help(assist: Callable[[], None]) -> None:
            for _ in range(helpers):
                self._threads.submit(assist)

        return compute(self._engine, batch, call_for_help if helpers else None, helpers)

    def _note(self, computed: Computed) -> None:
        tokens = len(computed.encoded.data)
        self.cost.note_core(computed.computed_s, computed.passed_s)
        if not computed.helpers:  # what others helped with does not tell what a batch costs
            self.cost.note(tokens, computed.computed_s)
        self._tally.update(batches=1, rows=len(computed.batch), tokens=tokens, computed=computed.encoded.computed,
                           engine_us=int(computed.computed_s * 1e6), helped=bool(computed.helpers))

    def stats(self) -> dict[str, float]:
        """What was computed so far: batches (and how many with help), rows, tokens, the share of padding, engine time
        (without helpers'), and the fitted cost."""
        fixed, per_token = self.cost.fixed_and_per_token_s
        padding = 1 - self._tally["tokens"] / max(1, self._tally["computed"])
        cache = {"cache_hits": self._cache.hits, "cache_misses": self._cache.misses} if self._cache else {}
        return {**self._tally, **cache, "padding_share": padding, "fixed_us": fixed * 1e6,
                "per_token_us": per_token * 1e6}

    async def _cached(self, by_text: dict[str, list[Asked]]) -> Embedded:
        cache = self._cache
        if cache is None:
            return {}
        served = [t for t, asked in by_text.items() if any(cache.serves(a.utterance.tenant) for a in asked)]
        return await cache.get(served)

    def _answered(self, fresh: Embedded, by_text: dict[str, list[Asked]], received_us: int) -> Outcome:
        cache = self._cache
        if cache is not None:
            cache.put({text: embedding for text, embedding in fresh.items()
                       if all(cache.serves(a.utterance.tenant) for a in by_text[text])})
        return self._outcome([(by_text[text], embedding) for text, embedding in fresh.items()], received_us)

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """The error reply and dead letter of a record that cannot be encoded."""
        asker = asker_of(record.value)
        prefix, ring = self._settings.prefix, self._ring.name
        results = topics.predictions(prefix, ring, self._cell(asker), self._lane)
        return refusal(record, asker, error, ring, results, topics.dead_letters(prefix))

    def _cell(self, asker: Asker) -> str:
        return cells.cell_of(asker.tenant, self._ring.weights, self._ring.pins)

    def _read(self, record: Record, received_us: int) -> Asked:
        utterance = wire.decode(wire.Utterance, record.value)
        if not utterance.id or not utterance.tenant or not utterance.text.strip():
            raise MalformedRecord("Utterance: id, tenant and text must not be empty")
        keys.check_reply_stream(self._settings.prefix, utterance.reply_to)
        if len(utterance.text) > self._settings.limits.max_chars:
            raise TextTooLong(f"{len(utterance.text)} characters, the limit is {self._settings.limits.max_chars}")
        if self._lane == "live" and utterance.deadline_us < received_us:
            late_ms = (received_us - utterance.deadline_us) // 1_000
            raise DeadlineExceeded(f"the deadline passed {late_ms} ms before an encoder was free; nothing was computed")
        if self._lane == "live":
            self._meter.charge(utterance.tenant, received_us / 1e6)
        return Asked(record, utterance)

    def tenant(self, record: Record) -> str:
        """As `Worker.tenant`."""
        return asker_of(record.value).tenant

    def most_waiting(self, tenant: str) -> int:
        """As `Worker.most_waiting`. Replays wait as long as they must."""
        return self._meter.quota(tenant).queue if self._lane == "live" else 1 << 30

    def _outcome(self, answered: Sequence[tuple[list[Asked], CachedEmbedding]], received_us: int) -> Outcome:
        encoded_us = now_us()
        pairs = [(one, embedding) for asked, embedding in answered for one in asked]
        outputs = [self._output(one.utterance, embedding, received_us, encoded_us) for one, embedding in pairs]
        return Outcome([one.record for one, _ in pairs], outputs)

    def _output(self, utterance: wire.Utterance, vectors: CachedEmbedding, received_us: int, encoded_us: int) -> Output:
        cell = cells.cell_of(utterance.tenant, self._ring.weights, self._ring.pins)
        embedding = wire.Embedding(
            id=utterance.id, tenant=utterance.tenant, text=utterance.text, lang=utterance.lang,
            submitted_us=utterance.submitted_us, deadline_us=utterance.deadline_us, reply_to=utterance.reply_to,
            ring=self._ring.name, space=self._space, dtype="int8", tokens=vectors.tokens, hidden=vectors.hidden,
            data=vectors.data, scales=vectors.scales, offsets=vectors.offsets, truncated=vectors.truncated,
            stages={"submitted": utterance.submitted_us, "received": received_us, "encoded": encoded_us},
        )
        topic = topics.embeddings(self._settings.prefix, self._ring.name, cell, self._lane)
        return Output(topic, utterance.tenant.encode(), wire.encode(embedding))


def _embedding(row: Row, encoded: Encoded, start: int, end: int) -> CachedEmbedding:
    data, scales, offsets = encoded.data[start:end], encoded.scales[start:end], row.offsets
    if not row.kept.all():
        data, scales, offsets = data[row.kept], scales[row.kept], offsets[row.kept]
    return CachedEmbedding(
        data.shape[0], data.shape[1], data.tobytes(), scales.tobytes(), offsets.astype("<i4").tobytes(), row.truncated
    )
