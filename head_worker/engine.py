"""A tenant's head: one utterance's token vectors in, its intent and entities out.

What all engines share: what goes in and out, and the way from scores to intents and spans. `float32.py` computes the
scores in numpy, `int8.py` in C from a mapped file; `load.py` chooses.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from head_worker.decode import best_path, is_legal, legal_transitions, path_with_transitions, spans_of, words_of
from head_worker.entities import entity_process, prepare
from head_worker.system import SystemEntity
from topology.errors import BadHead, MalformedRecord
from topology.heads import HeadManifest
from topology.native.int8 import quantized
from topology.wire import Embedding

Array = NDArray[np.float32]
TRANSITIONS = "transitions"  # the tensor's name in a head's file; it may be absent


@dataclass(frozen=True)
class TokenVectors:
    """One utterance as the wire has it: int8[tokens, hidden] with float32[tokens] scales, int32[tokens, 2] offsets."""

    text: str
    data: NDArray[np.int8]
    scales: Array
    offsets: NDArray[np.int32]
    lang: str = ""
    submitted_us: int = 0

    @classmethod
    def of(cls, record: Embedding) -> TokenVectors:
        """The vectors of a record, whose sizes were checked when it was decoded.

        Raises: MalformedRecord where its offsets point out of its text or its scales are not finite.
        """
        data, scales = quantized(record)
        offsets = np.frombuffer(record.offsets, dtype="<i4").reshape(record.tokens, 2)
        if offsets.view("<u4").max() > len(record.text):  # what is below 0 is large without a sign
            raise MalformedRecord("Embedding.offsets: they point out of its text")
        if not math.isfinite(float(scales.sum())):
            raise MalformedRecord("Embedding.scales: not all finite")
        return cls(record.text, data, scales, offsets, record.lang, record.submitted_us)

    @property
    def vectors(self) -> Array:
        """float32[tokens, hidden]."""
        return self.data.astype(np.float32) * self.scales[:, None]


@dataclass(frozen=True)
class Span:
    """An entity: `text` is characters `start` to `end` (exclusive) of the utterance.

    `value`: what it stands for (a date, a number, the tenant's own word for it), where that is known. Labels of system
    entities begin with `sys.`.
    """

    start: int
    end: int
    label: str
    text: str
    confidence: float
    value: str | float | None = None

    def to_map(self) -> dict[str, object]:
        """As the wire has it. (`dataclasses.asdict` copies deeply: 35 µs for each.)"""
        return {"start": self.start, "end": self.end, "label": self.label, "text": self.text,
                "confidence": self.confidence, "value": self.value}


@dataclass(frozen=True)
class Scored:
    """An utterance's prediction. `confidence` is calibrated, in 0..1; `max_logit`: as of `max_logits`."""

    intent: str
    confidence: float
    out_of_scope: bool
    entities: tuple[Span, ...]
    max_logit: float = 0.0


class Head(ABC):
    """A loaded head. Immutable, so any thread may use it."""

    nbytes: int

    def __init__(self, manifest: HeadManifest, transitions: Array | None = None) -> None:
        """`transitions`: float32[tags + 1, tags], what a tag adds to the log chance of the next (the last row: what the
        beginning adds to the first). Raises: ValueError where they are of another shape or not finite."""
        prepare(manifest.system_entities)
        self.manifest = manifest
        self._transitions: Array | None = None
        if transitions is not None:
            wanted = (len(manifest.tags) + 1, len(manifest.tags))
            if transitions.shape != wanted or not np.isfinite(transitions).all():
                raise ValueError(f"{TRANSITIONS}: float32{list(wanted)}, all finite, is wanted")
            self._transitions = legal_transitions(transitions, manifest.tags)

    @abstractmethod
    def logits(self, rows: Sequence[TokenVectors]) -> tuple[Array, Array]:
        """(float32[rows, intents], float32[tokens of all rows, tags])."""

    def predict(self, rows: Sequence[TokenVectors]) -> list[Scored]:
        """A prediction for each row.

        Raises: BadHead where a row's width is not the head's, or the scores are not finite.
        """
        for row in rows:
            if row.data.shape[1] != self.manifest.hidden:
                raise BadHead(f"the head reads vectors of {self.manifest.hidden}, these have {row.data.shape[1]}")
        intents, tags = self.logits(rows)
        if not (np.isfinite(intents).all() and np.isfinite(tags).all()):
            raise BadHead("its scores are not finite: its weights are too large for these vectors")
        chances, fits = softmax(intents / np.float32(self.manifest.temperature)), max_logits(intents)
        scored, at = [], 0
        for i, row in enumerate(rows):
            scored.append(self._decode(row, chances[i], float(fits[i]), tags[at : at + len(row.data)]))
            at += len(row.data)
        return scored

    def _decode(self, row: TokenVectors, chances: Array, max_logit: float, tags: Array) -> Scored:
        best = int(chances.argmax())
        confidence = float(chances[best])
        least = self.manifest.out_of_scope_max_logit
        outside = confidence < self.manifest.out_of_scope_threshold if least is None else max_logit < least
        entities = resolved(self._entities(row, tags), row, self.manifest)
        return Scored(self.manifest.intents[best], confidence, outside, entities, max_logit)

    def _entities(self, row: TokenVectors, tags: Array) -> tuple[Span, ...]:
        names = self.manifest.tags
        if len(names) == 1 or not (words := words_of(row.text, row.offsets)):
            return ()
        chances = softmax(tags[[token for token, _, _ in words]])
        path = self._path(chances)
        if not any(path):
            return ()
        found = []
        for first, after, label in spans_of(path, names):
            start, end = words[first][1], words[after - 1][2]
            sure = sum(float(chances[word, path[word]]) for word in range(first, after)) / (after - first)
            found.append(Span(start, end, label, row.text[start:end], sure))
        return tuple(found)


    def _path(self, chances: Array) -> list[int]:
        if self._transitions is not None:
            return path_with_transitions(log_of(chances), self._transitions, self.manifest.tags)
        path: list[int] = chances.argmax(axis=1).tolist()
        # The likeliest tags, where they may follow each other, are the likeliest path.
        return path if is_legal(path, self.manifest.tags) else best_path(log_of(chances), self.manifest.tags)


def log_of(chances: Array) -> Array:
    """Natural logarithms, of 0 as of 1e-12."""
    y: Array = np.log(np.maximum(chances, np.float32(1e-12)))
    return y


def resolved(spans: tuple[Span, ...], row: TokenVectors, manifest: HeadManifest) -> tuple[Span, ...]:
    """The tenant's spans with their values, and the system entities that lie beside them.

    A value comes from the tenant's synonyms, else from a system entity inside the span, else from a date or time that
    the span is a part of; the tenant's spans go first.
    """
    if not manifest.system_entities and not manifest.synonyms:
        return spans
    system = system_entities(row, manifest)
    found = []
    for span in spans:
        if (value := _value(span, manifest, system)) is None:  # 0 is one
            value = _whole_date(span, spans, row, system)
        found.append(replace(span, value=value))
    for one in system:
        if all(one.end <= span.start or span.end <= one.start for span in spans):
            found.append(Span(one.start, one.end, f"sys.{one.kind}", row.text[one.start : one.end], 1.0, one.value))
    return tuple(sorted(found, key=lambda span: span.start))


def system_entities(row: TokenVectors, manifest: HeadManifest) -> list[SystemEntity]:
    """Those that the head asks for; none where they would take too long (`entities.EntityProcess` counts that)."""
    if not manifest.system_entities:
        return []
    return entity_process().find(row.text, row.lang, row.submitted_us, manifest.system_entities) or []


def _value(span: Span, manifest: HeadManifest, system: list[SystemEntity]) -> str | float | None:
    if value := manifest.meanings.get(span.label, {}).get(span.text.casefold()):
        return value
    return next((one.value for one in system if span.start <= one.start and one.end <= span.end), None)


def _whole_date(
    span: Span, spans: tuple[Span, ...], row: TokenVectors, system: list[SystemEntity]
) -> str | float | None:
    """Of "tomorrow" in "tomorrow at 5 pm" the whole time; none where another span lies in it too, or where the span
    says no date or time alone ("two" of "in two days")."""
    for one in system:
        if one.kind not in ("date", "time") or not (one.start <= span.start and span.end <= one.end):
            continue
        apart = all(other is span or other.end <= one.start or one.end <= other.start for other in spans)
        if apart and entity_process().find(span.text, row.lang, row.submitted_us, ("date", "time")):
            return one.value
    return None


def max_logits(logits: Array) -> Array:
    """float32[rows] of float32[rows, intents]: the largest, less the mean of all; small where no intent fits.

    MaxLogit (Hendrycks et al. 2022). Unlike confidence it is large where two intents fit alike. Less the mean, since
    what all logits have in common no training sets.
    """
    y: Array = logits.max(axis=-1) - logits.mean(axis=-1)
    return y


def softmax(x: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    y: Array = powers / powers.sum(axis=-1, keepdims=True)
    return y
