"""What goes through the loop: records in, outcomes out. No client library's types pass this line."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True, slots=True)
class Output:
    """One message to write."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class OutgoingReply:
    """One reply on its way to a caller.

    `stream`: the caller's reply stream, empty where none waits. `digest`: `keys.request_digest` of what was asked,
    empty where a record did not tell.
    """

    stream: str
    tenant: str
    request_id: str
    value: bytes
    ok: bool
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Records that are finished once `outputs` are acknowledged and `replies` written.

    `later`: records that cannot be processed yet; they come again, before others, when `until` is done. What is not
    `hurried` may wait a moment longer for others to share a request with.
    """

    done: Sequence[Record]
    outputs: Sequence[Output] = ()
    replies: Sequence[OutgoingReply] = ()
    later: Sequence[Record] = ()
    until: Awaitable[object] | None = None
    hurried: bool = True


class Worker(Protocol):
    """What the loop drives."""

    def process(self, records: Sequence[Record]) -> AsyncIterator[Outcome]:
        """Yield outcomes that together finish every record, in any order. One of no records says that `calls` has
        grown: this call waits for threads, and the loop has time for another.

        An Unavailable raised here ends the process without a commit; any other error is bisected to the
        record at fault.
        """
        ...

    def calls(self, waiting: int) -> int:
        """How many calls of `process` may run at once where `waiting` records are queued."""
        ...

    def tenant(self, record: Record) -> str:
        """Whose record it is, as far as it tells: records of different tenants are taken in turn."""
        ...

    def most_waiting(self, tenant: str) -> int:
        """How many records of a tenant may wait here; those beyond are refused as overloaded."""
        ...

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """The outcome for a record that `process` failed on: its dead letter and its caller's error reply."""
        ...


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
