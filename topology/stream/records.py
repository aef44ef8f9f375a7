"""What goes through the loop: records in, outputs and replies out. No client library's types pass this line."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from topology.errors import HeadraceError
from topology.pacing import PACING

HEADER_BYTES = 16  # what a header costs beside its name and value, so that ten thousand empty ones do not fit


@dataclass(frozen=True, slots=True)
class Record:
    """One message as it was read.

    `unreadable`: why the client library could not read it, empty where it could. Then it is to be refused; key and
    value are there as far as they were readable.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One message to write.

    `shorter`: what to write where the broker refuses this one for good. `optional`: refused for good, it is logged and
    counted; there is nobody to tell. `cause`: the record that it came of, which is refused where this one is.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    shorter: Output | None = None
    optional: bool = False
    cause: Record | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An output that the broker refuses for good, and why."""

    output: Output
    error: HeadraceError


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer to a caller. `stream`: the caller's reply stream, empty where none waits."""

    stream: str
    request_id: str
    value: bytes
    ok: bool


def dead_letter(topic: str, record: Record, error: Exception) -> Output:
    """The record with Kafka Connect's error headers (KIP-298) that say where and why, in a form that always fits.

    Value, key and headers are cut where they are too large; `headrace.cut.*` then tell their size before. A topic that
    refuses even this gets the error headers alone.
    """
    code = error.code if isinstance(error, HeadraceError) else "internal"
    where = {"topic": record.topic, "partition": str(record.partition), "offset": str(record.offset), "stage": code}
    message = str(error)[:2_000]
    whole = {
        "exception.class.name": f"{type(error).__module__}.{type(error).__qualname__}",
        "exception.message": message,
        "exception.stacktrace": "".join(traceback.format_exception(error))[-4_000:],
    }
    told, cut = _encoded({**where, **whole}), _cut_sizes(record)
    shortest = Output(topic, None, b"", (*_encoded({**where, "exception.message": message[:200]}), *cut), optional=True)
    value = (record.value or b"")[: PACING.dead_value_bytes]
    key = record.key if record.key is None else record.key[:PACING.dead_key_bytes]
    return Output(topic, key, value, (*_kept(record), *told, *cut), shorter=shortest)


def _encoded(texts: dict[str, str]) -> tuple[tuple[str, bytes], ...]:
    """As headers. A message may quote anything, half of a surrogate pair too."""
    return tuple((f"__connect.errors.{name}", text.encode("utf-8", "backslashreplace")) for name, text in texts.items())


def _kept(record: Record) -> tuple[tuple[str, bytes], ...]:
    """The record's own headers, as many as fit. Some clients write a header without a value."""
    kept: list[tuple[str, bytes]] = []
    left = PACING.dead_header_bytes
    for name, value in record.headers:
        left -= len(name.encode("utf-8", "backslashreplace")) + len(value or b"") + HEADER_BYTES
        if left < 0:
            break
        kept.append((name, value or b""))
    return tuple(kept)


def _cut_sizes(record: Record) -> tuple[tuple[str, bytes], ...]:
    sizes = {
        "value.bytes": (len(record.value or b""), PACING.dead_value_bytes),
        "key.bytes": (len(record.key or b""), PACING.dead_key_bytes),
        "headers": (len(record.headers), len(_kept(record))),
    }
    return tuple((f"headrace.cut.{name}", b"%d" % size) for name, (size, kept) in sizes.items() if size > kept)
