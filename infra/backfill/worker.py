"""The data path of a replay: records → embeddings → rows, in one process, by the workers that serve live traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from encoder_worker.build import build
from encoder_worker.worker import EncoderWorker
from head_worker.cache import HeadCache
from head_worker.store import open_store
from head_worker.worker import Asked, HeadWorker
from infra.backfill.job import Row, Span, result_id
from topology import wire
from topology.errors import BadRecord, HeadraceError, HeadUnavailable, MalformedRecord, Misconfigured, Unavailable
from topology.pacing import PACING
from topology.registry import HeadRecord
from topology.settings import Cache, Ring, Settings
from topology.stream.outcomes import Computing, Outcome, Parked, Worker
from topology.stream.records import Record
from topology.stream.refusals import asker_of

RAW_BYTES = 2_048
Errors = dict[int, Exception]  # offset → why its record was refused


class _Refusing:
    """Refusals of a replay are rows and counts: no dead letter, and nobody waits for a reply."""

    errors: Errors

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """As `Worker.refuse`."""
        self.errors[record.offset] = error
        return Outcome([record])


class _Encoder(_Refusing, EncoderWorker):
    errors: Errors


class _Heads(_Refusing, HeadWorker):
    errors: Errors
    found: list[tuple[int, wire.Prediction]]

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """As `Worker.refuse`. Raises: Unavailable where the head store is away: nobody waits, and it comes back."""
        if isinstance(error, HeadUnavailable):
            raise Unavailable(str(error)) from error
        return super().refuse(record, error)

    def outcome(self, told: Sequence[tuple[Asked, wire.Prediction]]) -> Outcome:
        """As `HeadWorker.outcome`: they are kept for the replay's own targets."""
        self.found += [(one.record.offset, prediction) for one, prediction in told]
        return Outcome([one.record for one, _ in told])


class Encode:
    """Utterances → embeddings, by a ring's encoder worker. No cache: what is replayed would push out what is live."""

    def __init__(self, settings: Settings, ring: Ring) -> None:
        """Load the encoder. Raises: Misconfigured."""
        alone = replace(settings, cache=Cache(enabled=False))
        large = replace(ring, latency_ms=PACING.backfill_batch_ms)
        worker, _ = build(alone, large, "backfill", _Encoder)
        assert isinstance(worker, _Encoder)
        self._worker = worker

    @property
    def space(self) -> str:
        """Of the vectors that it gives."""
        return self._worker.space

    @property
    def chunk(self) -> int:
        """Records that are best computed together."""
        return PACING.backfill_gpu_chunk if self._worker.on_gpu else PACING.backfill_chunk

    async def embedded(self, span: Span, records: Sequence[Record]) -> tuple[list[Record], list[Row]]:
        """(the records with embeddings as their values, rows of those that were refused), each in its order.

        Raises: Unavailable, Misconfigured.
        """
        by_offset, self._worker.errors = {r.offset: r for r in records}, {}
        found = []
        for outcome in await outcomes(self._worker, _readable(records, self._worker.errors)):
            for output in outcome.outputs:
                if output.cause is not None:
                    source = by_offset[output.cause.offset]
                    found.append(replace(source, key=output.key, value=output.value))
        return sorted(found, key=lambda r: r.offset), refused_rows(span, by_offset, self._worker.errors)


class Score:
    """Embeddings → rows, by a head worker with heads that are fixed beforehand."""

    def __init__(self, settings: Settings, ring: Ring, heads: Iterable[HeadRecord]) -> None:
        store = open_store(settings.heads, Path(settings.state_dir) / "heads-cache")
        cache = HeadCache(ring.name, store, settings.heads.memory_mb << 20, settings.heads.pinned)
        for head in heads:
            cache.apply(ring.name, head.tenant, replace(head, candidate=None))
        self._worker = _Heads(settings, ring.name, next(iter(ring.cells)), cache, "backfill")

    async def rows(self, span: Span, records: Sequence[Record]) -> list[Row]:
        """A row for each record, in its order: what its tenant's head says, or why it was refused.

        Raises: Unavailable, Misconfigured.
        """
        by_offset, self._worker.errors, self._worker.found = {r.offset: r for r in records}, {}, []
        await outcomes(self._worker, _readable(records, self._worker.errors))
        found = [row_of(span, offset, prediction) for offset, prediction in self._worker.found]
        return sorted(found + refused_rows(span, by_offset, self._worker.errors), key=lambda row: row["offset"])


def _readable(records: Sequence[Record], errors: Errors) -> list[Record]:
    errors.update({r.offset: MalformedRecord(r.unreadable) for r in records if r.unreadable})
    return [r for r in records if not r.unreadable]


def row_of(span: Span, offset: int, told: wire.Prediction) -> Row:
    """The row of a prediction: the same, to the byte, whenever the same record is scored by the same head."""
    return {
        "id": result_id(span, offset, told.head_version), "utterance_id": told.id,
        "submitted_us": told.stages.get("submitted", 0), "tenant": told.tenant, "ring": told.ring, "lang": told.lang,
        "text": told.text, "intent": told.intent, "confidence": told.confidence, "out_of_scope": told.out_of_scope,
        "entities": told.entities, "head_version": told.head_version, "space": told.space,
        "truncated": told.truncated, "error": "", "message": "", "source": span.source, "partition": span.partition,
        "offset": offset,
    }


def refused_rows(span: Span, records: Mapping[int, Record], errors: Errors) -> list[Row]:
    """The rows of records that were refused, as far as they tell whose they are."""
    found = []
    for offset, error in sorted(errors.items()):
        asker = asker_of(records[offset].value)
        code = error.code if isinstance(error, HeadraceError) else "internal"
        found.append({
            "id": result_id(span, offset, ""), "utterance_id": asker.id, "submitted_us": 0, "tenant": asker.tenant,
            "ring": "", "lang": asker.lang, "text": asker.text, "intent": "", "confidence": 0.0, "out_of_scope": False,
            "entities": [], "head_version": "", "space": "", "truncated": False, "error": code,
            "message": str(error)[:2_000].encode("utf-8", "backslashreplace").decode(), "source": span.source,
            "partition": span.partition, "offset": offset, "raw": _raw(records[offset]),
        })
    return found


def _raw(record: Record) -> str:
    """The beginning of what could not be read, to be set aside."""
    return (record.value or b"")[:RAW_BYTES].decode(errors="backslashreplace") if record.unreadable else ""


async def outcomes(worker: Worker, records: Sequence[Record]) -> list[Outcome]:
    """The outcome of every record. One that a worker fails on is found by halves and refused alone, as live.

    Raises: Unavailable, Misconfigured.
    """
    left = {r.offset: r for r in records}
    found: list[Outcome] = []
    beside: list[tuple[Computing, asyncio.Task[Outcome]]] = []
    parked: list[Parked] = []
    try:
        async for step in worker.process(records):
            match step:
                case Outcome():
                    found.append(step)
                    done = step.done
                case Computing():
                    beside.append((step, asyncio.ensure_future(_of(step))))
                    done = step.records
                case Parked():
                    parked.append(step)
                    done = step.records
            for record in done:
                left.pop(record.offset, None)
            await asyncio.sleep(0)  # what was computed before leaves, and what comes next is fetched
    except (Unavailable, Misconfigured):
        raise
    except Exception as error:
        found += await _isolated(worker, list(left.values()), error)
    for computing, task in beside:
        try:
            found.append(await task)
        except (Unavailable, Misconfigured):
            raise
        except Exception as error:
            found += await _isolated(worker, computing.records, error)
    for step in parked:
        await asyncio.gather(step.until, return_exceptions=True)  # the next attempt meets what went wrong
        found += await outcomes(worker, step.records)
    return found


async def _of(step: Computing) -> Outcome:
    return await step.outcome


async def _isolated(worker: Worker, left: Sequence[Record], error: Exception) -> list[Outcome]:
    if len(left) <= 1:
        if isinstance(error, MemoryError):
            raise Unavailable("no memory is left to process a single record") from error
        cause = error if isinstance(error, BadRecord) else RuntimeError(f"the worker failed on this record: {error!r}")
        return [worker.refuse(record, cause) for record in left]
    middle = len(left) // 2
    return [*await outcomes(worker, left[:middle]), *await outcomes(worker, left[middle:])]
