"""What a caller gets back."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from topology import wire
from topology.errors import HeadraceError, MalformedRecord, from_code
from topology.keys import OwnedId


@dataclass(frozen=True, slots=True)
class Entity:
    """A labelled piece of the text: `text[start:end]`, in characters. `confidence` is in 0..1.

    `value`: what it stands for, where that is known. Labels of system entities (dates, amounts, …) begin with `sys.`.
    """

    start: int
    end: int
    label: str
    text: str
    confidence: float
    value: str | float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One prediction. `confidence` is calibrated, in 0..1; `truncated`: the encoder read only a first part."""

    id: str
    tenant: str
    ring: str
    lang: str
    text: str
    intent: str
    confidence: float
    out_of_scope: bool
    entities: tuple[Entity, ...]
    truncated: bool
    head_version: str
    stages_us: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def times_ms(self) -> dict[str, float]:
        """Milliseconds spent up to each stage since the one before it, and `total`."""
        points = sorted(self.stages_us.items(), key=lambda point: point[1])
        times = {name: (at - before) / 1_000 for (_, before), (name, at) in pairwise(points)}
        return {**times, "total": (points[-1][1] - points[0][1]) / 1_000} if points else {}


ReplyOrError = Reply | HeadraceError


def read_reply(id: OwnedId, marked: bytes, received_us: int) -> ReplyOrError:
    """The reply, or the error, that a marked value from Redis stands for.

    Raises: MalformedRecord, also where it is the reply to another request than `id`.
    """
    record = wire.decode(wire.Prediction, marked[1:])
    if record.error:
        return from_code(record.error, record.message, record.retry_after_ms)
    if (record.tenant, record.id) != id:
        raise MalformedRecord(f"the reply to {id[1]!r} of tenant {id[0]!r} is one to another request")
    try:
        entities = tuple(
            Entity(
                int(e["start"]), int(e["end"]), str(e["label"]), str(e["text"]), float(e["confidence"]), e.get("value")
            )
            for e in record.entities
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedRecord(f"Prediction.entities: {type(error).__name__}: {error}") from error
    return Reply(
        record.id, record.tenant, record.ring, record.lang, record.text, record.intent, record.confidence,
        record.out_of_scope, entities, record.truncated, record.head_version, {**record.stages, "replied": received_us},
    )
