"""The data path of an encoder worker, read top to bottom: utterances in, embeddings out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder_worker.batcher import pack
from encoder_worker.engine import Engine
from encoder_worker.tokens import Row, Tokenizer
from topology import cells, topics, wire
from topology.errors import BadRecord, DeadlineExceeded, MalformedRecord, TextTooLong
from topology.settings import Ring, Settings
from topology.stream.process import now_us
from topology.stream.records import Outcome, Output, Record
from topology.stream.refusals import Asker, asker_of, refusal
from topology.topics import Lane
from topology.vectors import quantise


@dataclass(frozen=True)
class Asked:
    """A record and the utterance it holds."""

    record: Record
    utterance: wire.Utterance


class EncoderWorker:
    """Encodes utterances of one ring. Driven by `topology.stream.loop`."""

    def __init__(
        self, settings: Settings, ring: Ring, engine: Engine, tokenizer: Tokenizer, space: str, lane: Lane = "live"
    ) -> None:
        self._settings, self._ring, self._lane = settings, ring, lane
        self._engine, self._tokenizer, self._space = engine, tokenizer, space
        # Two threads: the next batch is tokenised while the engine computes this one.
        self._engine_thread = ThreadPoolExecutor(1, "engine")
        self._tokenizer_thread = ThreadPoolExecutor(1, "tokenizer")

    async def process(self, records: Sequence[Record]) -> AsyncIterator[Outcome]:
        """Answer what is late or malformed, compute each different text once, send every embedding on."""
        received_us = now_us()
        asked: list[Asked] = []
        for record in records:
            try:
                asked.append(self._read(record, received_us))
            except (BadRecord, DeadlineExceeded) as error:
                yield self.refuse(record, error)
        by_text: dict[str, list[Asked]] = {}
        for one in asked:
            by_text.setdefault(one.utterance.text, []).append(one)
        texts = list(by_text)
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(self._tokenizer_thread, self._tokenizer.rows, texts)
        for indices in pack([len(row.ids) for row in rows], self._ring.max_batch_tokens):
            ids = [rows[i].ids for i in indices]
            vectors = await loop.run_in_executor(self._engine_thread, self._engine.encode, ids)
            encoded_us = now_us()
            done: list[Record] = []
            outputs: list[Output] = []
            for i, vector in zip(indices, vectors, strict=True):
                for one in by_text[texts[i]]:
                    done.append(one.record)
                    outputs.append(self._output(one.utterance, rows[i], vector, received_us, encoded_us))
            yield Outcome(done, outputs)

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
        if len(utterance.text) > self._settings.limits.max_chars:
            raise TextTooLong(f"{len(utterance.text)} characters, the limit is {self._settings.limits.max_chars}")
        if self._lane == "live" and utterance.deadline_us < received_us:
            late_ms = (received_us - utterance.deadline_us) // 1_000
            raise DeadlineExceeded(f"the deadline passed {late_ms} ms before an encoder was free; nothing was computed")
        return Asked(record, utterance)

    def _output(
        self, utterance: wire.Utterance, row: Row, vectors: NDArray[np.float32], received_us: int, encoded_us: int
    ) -> Output:
        kept = vectors[row.kept]
        data, scales = quantise(kept)
        cell = cells.cell_of(utterance.tenant, self._ring.weights, self._ring.pins)
        embedding = wire.Embedding(
            id=utterance.id, tenant=utterance.tenant, text=utterance.text, lang=utterance.lang,
            submitted_us=utterance.submitted_us, deadline_us=utterance.deadline_us, reply_to=utterance.reply_to,
            ring=self._ring.name, space=self._space, dtype="int8", tokens=kept.shape[0], hidden=kept.shape[1],
            data=data, scales=scales, offsets=row.offsets[row.kept].astype("<i4").tobytes(), truncated=row.truncated,
            stages={"submitted": utterance.submitted_us, "received": received_us, "encoded": encoded_us},
        )
        topic = topics.embeddings(self._settings.prefix, self._ring.name, cell, self._lane)
        return Output(topic, utterance.tenant.encode(), wire.encode(embedding))
