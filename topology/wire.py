"""The records on the topics, as msgpack maps.

Decoding is strict where it protects (sizes and types are checked before anything is built) and lenient
where it lets versions live together: unknown fields are ignored, and a new field goes last with a
default, so that old bytes keep decoding (`tests/upgrade`). Times are microseconds since the epoch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

import msgpack

from topology.errors import MalformedRecord

MAX_RECORD_BYTES = 4 << 20
MAX_TEXT_CHARS = 65_536
MAX_NAME_CHARS = 256
MAX_STAGES = 64
MAX_ITEMS = 65_536  # of one array or map: checked before memory is taken for them
LAST_US = 253_402_300_799_000_000  # the end of the year 9999, the last that a datetime holds


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
    one_reader: bool = False  # nobody but its caller reads the reply, by its deadline: then it is soon forgotten
    guessed: bool = False  # the client chose the ring from the text, and asks another where the tenant is unknown there


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
    one_reader: bool = False  # as of the utterance
    guessed: bool = False  # as of the utterance


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
    # Of a replay: whose result it is and when it was said. `id` is then derived from the record and the head's version.
    utterance_id: str = ""
    submitted_us: int = 0


RecordT = TypeVar("RecordT", Utterance, Embedding, Prediction)

_LIMITS = {"text": MAX_TEXT_CHARS, "message": MAX_TEXT_CHARS}


def encode(record: Utterance | Embedding | Prediction) -> bytes:
    """The record's bytes: a msgpack map of field names to values; without `guessed` where it is false, as of most."""
    names, values = _reader(type(record))  # type: ignore[arg-type]  # classes do hash
    body = dict(zip(names, values(record), strict=True))
    if body.get("guessed") is False:
        del body["guessed"]  # 9 bytes would be 1 % of what brokers keep
    packed: bytes = msgpack.packb(body, use_bin_type=True)
    return packed


def decode(kind: type[RecordT], data: bytes | None) -> RecordT:
    """The record that `data` holds.

    Raises: MalformedRecord, naming the field at fault.
    """
    body = unpack_map(kind.__name__, data)
    values = []
    for name, expected, limit, default in _fields(kind):  # type: ignore[arg-type]  # classes do hash
        value: Any = body.get(name, _ABSENT)
        right = value.__class__ is expected  # a bool is no int here
        if not right or expected is float or (limit and len(value) > limit):
            value = _checked(kind, name, expected, limit, value, default)
        values.append(value)
    record = kind(*values)
    if isinstance(record, Prediction):
        _check_prediction(record)
    else:
        _check_times(record)
    if isinstance(record, Embedding):
        _check_embedding(record)
    return record


def rewritten(kind: type[Utterance | Embedding | Prediction], data: bytes | None, **changes: str | int) -> bytes:
    """The record's bytes with some of its fields changed; what a later release has beside stays as it is.

    Raises: MalformedRecord, where they are no record of `kind`.
    """
    decode(kind, data)  # type: ignore[type-var]  # it is one of them
    packed: bytes = msgpack.packb({**unpack_map(kind.__name__, data), **changes}, use_bin_type=True)
    return packed


def unpack_map(what: str, data: bytes | None) -> dict[str, Any]:
    """The msgpack map in `data`, its fields unchecked. `what` begins the error. Raises: MalformedRecord."""
    if data is None or len(data) > MAX_RECORD_BYTES:
        size = "empty" if data is None else f"{len(data)} bytes, the limit is {MAX_RECORD_BYTES}"
        raise MalformedRecord(f"{what}: the record is {size}")
    try:
        body = msgpack.unpackb(
            data, raw=False, strict_map_key=True, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS, max_ext_len=64
        )
    except Exception as error:  # a decoder of foreign bytes: whatever it raises is their fault
        raise MalformedRecord(f"{what}: not msgpack ({type(error).__name__}: {str(error)[:200]})") from error
    if not isinstance(body, dict):
        raise MalformedRecord(f"{what}: a map is wanted, this is {type(body).__name__}")
    return body


_ABSENT: Any = object()


@functools.cache
def _fields(kind: type) -> list[tuple[str, type, int, Callable[[], Any] | None]]:
    """(name, type, characters at most or 0, what makes its default or None) of every field."""
    hints = get_type_hints(kind)
    found: list[tuple[str, type, int, Callable[[], Any] | None]] = []
    for f in dataclasses.fields(kind):
        expected: type = getattr(hints[f.name], "__origin__", hints[f.name])
        limit = _LIMITS.get(f.name, MAX_NAME_CHARS) if expected is str else 0
        default = None if f.default is dataclasses.MISSING else functools.partial(_same, f.default)
        factory = None if f.default_factory is dataclasses.MISSING else f.default_factory
        found.append((f.name, expected, limit, default or factory))
    return found


@functools.cache
def _reader(kind: type) -> tuple[tuple[str, ...], Callable[[object], tuple[Any, ...]]]:
    """The names of the fields, and what reads their values from a record."""
    names = tuple(f.name for f in dataclasses.fields(kind))
    return names, operator.attrgetter(*names)


def _same(value: Any) -> Any:
    return value


def _checked(
    kind: type, name: str, expected: type, limit: int, value: Any, default: Callable[[], Any] | None
) -> Any:
    """The value of a field that is absent, a float or wrong. Raises: MalformedRecord."""
    if value is _ABSENT:
        if default is None:
            raise MalformedRecord(f"{kind.__name__}: the field {name!r} is missing")
        return default()
    if expected is float and value.__class__ is int:
        value = float(value)  # msgpack's have 64 bits
    right = value.__class__ is expected
    if not right:
        raise MalformedRecord(
            f"{kind.__name__}.{name}: {expected.__name__} is wanted, this is {type(value).__name__}"
        )
    if limit and len(value) > limit:
        raise MalformedRecord(f"{kind.__name__}.{name}: longer than {limit} characters")
    if expected is float and not math.isfinite(value):
        raise MalformedRecord(f"{kind.__name__}.{name}: not a finite number")
    return value


ITEM_BYTES = {"int8": 1, "float16": 2, "float32": 4}


def _check_times(record: Utterance | Embedding) -> None:
    """Dates count from these: what no datetime holds would fail far from here."""
    for name in ("submitted_us", "deadline_us"):
        if not 0 <= getattr(record, name) <= LAST_US:
            raise MalformedRecord(f"{type(record).__name__}.{name}: microseconds of the years 1970 to 9999 are wanted")


def _check_stages(kind: str, stages: dict[str, int]) -> None:
    """Stages travel on into the next record, which must be encodable."""
    if len(stages) > MAX_STAGES or not all(k.__class__ is str and v.__class__ is int for k, v in stages.items()):
        raise MalformedRecord(f"{kind}.stages: at most {MAX_STAGES} names, each with a whole number, are wanted")


def _check_prediction(record: Prediction) -> None:
    _check_stages("Prediction", record.stages)
    if not all(one.__class__ is dict for one in record.entities):
        raise MalformedRecord("Prediction.entities: a list of maps is wanted")


def _check_embedding(record: Embedding) -> None:
    if record.dtype not in ITEM_BYTES:
        raise MalformedRecord(f"Embedding.dtype: {record.dtype!r} is none of {', '.join(ITEM_BYTES)}")
    if record.tokens < 1 or record.hidden < 1:
        raise MalformedRecord(f"Embedding: {record.tokens} tokens of {record.hidden} values")
    _check_stages("Embedding", record.stages)
    wanted = {
        "data": record.tokens * record.hidden * ITEM_BYTES[record.dtype],
        "scales": record.tokens * 4 if record.dtype == "int8" else 0,
        "offsets": record.tokens * 8,
    }
    for name, size in wanted.items():
        if len(getattr(record, name)) != size:
            raise MalformedRecord(f"Embedding.{name}: {size} bytes are wanted, not {len(getattr(record, name))}")
