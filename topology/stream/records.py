"""What goes through the loop: records in, outputs and replies out. No client library's types pass this line."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from topology.errors import HeadraceError


@dataclass(frozen=True, slots=True)
class Record:
    """One message as it was read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    unreadable: str = ""  # why the client library could not read it; its value is None then


@dataclass(frozen=True, slots=True)
class Output:
    """One message to write."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    cause: Record | None = None  # the record that it came of, which is refused where the broker never takes the output


@dataclass(frozen=True)
class Refused:
    """An output that the broker will never take, and why."""

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
    """The record as it was, with Kafka Connect's error headers (KIP-298) that say where and why."""
    code = error.code if isinstance(error, HeadraceError) else "internal"
    told = "".join(traceback.format_exception(error))[-4_000:]
    headers = {
        "__connect.errors.topic": record.topic,
        "__connect.errors.partition": str(record.partition),
        "__connect.errors.offset": str(record.offset),
        "__connect.errors.stage": code,
        "__connect.errors.exception.class.name": f"{type(error).__module__}.{type(error).__qualname__}",
        "__connect.errors.exception.message": str(error)[:2_000],
        "__connect.errors.exception.stacktrace": told,
    }
    encoded = tuple((name, value.encode()) for name, value in headers.items())
    return Output(topic, record.key, record.value or b"", (*record.headers, *encoded))
