"""The records on the topics, as msgpack maps.

Decoding is strict where it protects (sizes and types are checked before anything is built) and lenient
where it lets versions live together: unknown fields are ignored, and a new field goes last with a
default, so that old bytes keep decoding (`tests/upgrade`). Times are microseconds since the epoch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

import msgpack

from topology.errors import MalformedRecord

MAX_RECORD_BYTES = 4 << 20
MAX_TEXT_CHARS = 65_536
MAX_NAME_CHARS = 256


@dataclass(frozen=True, slots=True)
class Utterance:
    """One request: classify `text` for `tenant`. `id` is the idempotency key."""

    id: str
    tenant: str
    text: str
    lang: str
    submitted_us: int
    deadline_us: int
    reply_to: str = ""  # name of the caller's reply stream in Redis; empty: result topic only


@dataclass(frozen=True, slots=True)
class Embedding:
    """The encoder's output for one utterance: one vector for every real token.

    `data` is little-endian `dtype[tokens, hidden]`; for int8, `scales` is float32[tokens] and a vector is
    `data * scale`. `offsets` is int32[tokens, 2]: the characters of `text` each token stands for, (0, 0)
    for special tokens.
    """

    id: str
    tenant: str
    text: str
    lang: str
    submitted_us: int
    deadline_us: int
    reply_to: str
    ring: str
    space: str
    dtype: str
    tokens: int
    hidden: int
    data: bytes
    scales: bytes
    offsets: bytes
    truncated: bool = False
    stages: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer, on the result topic and as the reply. Either `error` is set, or `intent` is.

    `entities`: maps of start, end (characters of `text`), label, text, confidence. `stages`: microseconds
    since the epoch at which the utterance passed each stage.
    """

    id: str
    tenant: str
    ring: str
    lang: str
    text: str
    intent: str = ""
    confidence: float = 0.0
    out_of_scope: bool = False
    entities: list[dict[str, Any]] = field(default_factory=list)
    head_version: str = ""
    space: str = ""
    truncated: bool = False
    stages: dict[str, int] = field(default_factory=dict)
    error: str = ""
    message: str = ""
    retry_after_ms: int = 0  # with error `overloaded`: when to try again


RecordT = TypeVar("RecordT", Utterance, Embedding, Prediction)

_LIMITS = {"text": MAX_TEXT_CHARS, "message": MAX_TEXT_CHARS}


def encode(record: Utterance | Embedding | Prediction) -> bytes:
    """The record's bytes: a msgpack map of field names to values."""
    body = {name: getattr(record, name) for name in _fields(type(record))}  # type: ignore[arg-type]  # classes do hash
    packed: bytes = msgpack.packb(body, use_bin_type=True)
    return packed


def decode(kind: type[RecordT], data: bytes | None) -> RecordT:
    """The record that `data` holds.

    Raises: MalformedRecord, naming the field at fault.
    """
    body = _unpack(kind, data)
    values: dict[str, Any] = {}
    for name, (expected, required) in _fields(kind).items():  # type: ignore[arg-type]  # classes do hash
        if name in body:
            values[name] = _checked(kind, name, expected, body[name])
        elif required:
            raise MalformedRecord(f"{kind.__name__}: the field {name!r} is missing")
    record = kind(**values)
    if isinstance(record, Embedding):
        _check_embedding(record)
    return record


def _unpack(kind: type, data: bytes | None) -> dict[str, Any]:
    if data is None or len(data) > MAX_RECORD_BYTES:
        size = "empty" if data is None else f"{len(data)} bytes, the limit is {MAX_RECORD_BYTES}"
        raise MalformedRecord(f"{kind.__name__}: the record is {size}")
    try:
        body = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise MalformedRecord(f"{kind.__name__}: not msgpack ({type(error).__name__}: {error})") from error
    if not isinstance(body, dict):
        raise MalformedRecord(f"{kind.__name__}: a map is wanted, this is {type(body).__name__}")
    return body


@functools.cache
def _fields(kind: type) -> dict[str, tuple[type, bool]]:
    hints = get_type_hints(kind)
    return {
        f.name: (
            _plain(hints[f.name]),
            f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING,
        )
        for f in dataclasses.fields(kind)
    }


def _plain(hint: Any) -> type:
    plain: type = getattr(hint, "__origin__", hint)
    return plain


def _is_exactly(value: Any, kind: type) -> bool:
    return type(value) is kind  # a bool is no int here


def _checked(kind: type, name: str, expected: type, value: Any) -> Any:
    if expected is float and type(value) is int:
        value = float(value)
    if not _is_exactly(value, expected):
        raise MalformedRecord(
            f"{kind.__name__}.{name}: {expected.__name__} is wanted, this is {type(value).__name__}"
        )
    if expected is str and len(value) > _LIMITS.get(name, MAX_NAME_CHARS):
        raise MalformedRecord(f"{kind.__name__}.{name}: longer than {_LIMITS.get(name, MAX_NAME_CHARS)} characters")
    if expected is float and not math.isfinite(value):
        raise MalformedRecord(f"{kind.__name__}.{name}: not a finite number")
    return value


ITEM_BYTES = {"int8": 1, "float16": 2, "float32": 4}


def _check_embedding(record: Embedding) -> None:
    if record.dtype not in ITEM_BYTES:
        raise MalformedRecord(f"Embedding.dtype: {record.dtype!r} is none of {', '.join(ITEM_BYTES)}")
    if record.tokens < 1 or record.hidden < 1:
        raise MalformedRecord(f"Embedding: {record.tokens} tokens of {record.hidden} values")
    wanted = {
        "data": record.tokens * record.hidden * ITEM_BYTES[record.dtype],
        "scales": record.tokens * 4 if record.dtype == "int8" else 0,
        "offsets": record.tokens * 8,
    }
    for name, size in wanted.items():
        if len(getattr(record, name)) != size:
            raise MalformedRecord(f"Embedding.{name}: {size} bytes are wanted, not {len(getattr(record, name))}")
