"""What goes through the loop: records in, outputs and replies out. No client library's types pass this line."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from topology.errors import HeadraceError
from topology.pacing import PACING

ERRORS, CUT = "__connect.errors.", "headrace.cut."  # how the headers of dead letters begin
REPLAYS = "headrace.replays"  # how often a record was sent again from the dead letters
HEADER_BYTES = 16  # what a header costs beside its name and value, so that ten thousand empty ones do not fit


@dataclass(frozen=True, slots=True)
class Record:
    """One message as it was read.

    `unreadable`: why the client library could not read it, empty where it could. Then it is to be refused; key and
    value are there as far as they were readable. `timestamp_ms`: when it was written, -1 where nobody tells.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    unreadable: str = ""
    timestamp_ms: int = -1


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
class OutgoingReply:
    """One reply on its way to a caller.

    `stream`: the caller's reply stream, empty where none waits. `digest`: `keys.request_digest` of what was asked,
    empty where a record did not tell. `until_us`: a deadline after which nobody asks for it, 0 where somebody may.
    """

    stream: str
    tenant: str
    request_id: str
    value: bytes
    ok: bool
    digest: str = ""
    until_us: int = 0


def dead_letter(topic: str, record: Record, error: Exception) -> Output:
    """The record with Kafka Connect's error headers (KIP-298) that say where and why, in a form that always fits.

    Value, key and headers are cut where they are too large; `headrace.cut.*` then tell their size before. A topic that
    refuses even this gets the error headers alone. A letter has these headers once, however often it was replayed.
    """
    code = error.code if isinstance(error, HeadraceError) else "internal"
    where = {"topic": record.topic, "partition": str(record.partition), "offset": str(record.offset), "stage": code}
    message = str(error)[:2_000]
    whole = {
        "exception.class.name": f"{type(error).__module__}.{type(error).__qualname__}",
        "exception.message": message,
        "exception.stacktrace": "".join(traceback.format_exception(error))[-4_000:],
    }
    short = _encoded({**where, "exception.message": message[:200]})
    shortest = Output(topic, None, b"", (*short, *_cut(record, b"", None, ())), optional=True)
    value = (record.value or b"")[: PACING.dead_value_bytes]
    key = record.key if record.key is None else record.key[:PACING.dead_key_bytes]
    kept = _kept(record)
    headers = (*kept, *_encoded({**where, **whole}), *_cut(record, value, key, kept))
    return Output(topic, key, value, headers, shorter=shortest)


def own_headers(record: Record) -> tuple[tuple[str, bytes], ...]:
    """The record's headers without those of a dead letter that it was: whoever sends one again as it is writes them
    too. Some clients write a header without a value."""
    return tuple((name, value or b"") for name, value in record.headers if not name.startswith((ERRORS, CUT)))


def _encoded(texts: dict[str, str]) -> tuple[tuple[str, bytes], ...]:
    """As headers. A message may quote anything, half of a surrogate pair too."""
    return tuple((f"{ERRORS}{name}", text.encode("utf-8", "backslashreplace")) for name, text in texts.items())


def _kept(record: Record) -> tuple[tuple[str, bytes], ...]:
    """The record's own headers, as many as fit."""
    kept: list[tuple[str, bytes]] = []
    left = PACING.dead_header_bytes
    for name, value in own_headers(record):
        left -= len(name.encode("utf-8", "backslashreplace")) + len(value) + HEADER_BYTES
        if left < 0:
            break
        kept.append((name, value))
    return tuple(kept)


def _cut(
    record: Record, value: bytes, key: bytes | None, kept: tuple[tuple[str, bytes], ...]
) -> tuple[tuple[str, bytes], ...]:
    """A header for each part of the record that is not kept whole, with its size before."""
    sizes = {
        "value.bytes": (len(record.value or b""), len(value)),
        "key.bytes": (len(record.key or b""), len(key or b"")),
        "headers": (len(own_headers(record)), len(kept)),
    }
    told = {name: b"%d" % before for name, (before, after) in sizes.items() if before > after}
    if record.unreadable:  # what was read of it is not all of it
        told["unreadable"] = record.unreadable[:200].encode("utf-8", "backslashreplace")
    return tuple((f"{CUT}{name}", size) for name, size in told.items())
