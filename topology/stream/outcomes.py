"""What a worker makes of its records, step by step, and the face that the loop drives it by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from topology.stream.records import OutgoingReply, Output, Record


@dataclass(frozen=True, slots=True)
class Outcome:
    """Records that are finished once `outputs` are acknowledged and `replies` written."""

    done: Sequence[Record]
    outputs: Sequence[Output] = ()
    replies: Sequence[OutgoingReply] = ()


@dataclass(frozen=True, slots=True)
class Computing:
    """Records that a thread computes: the loop goes on and delivers `outcome` when it is there."""

    records: Sequence[Record]
    outcome: Awaitable[Outcome]


@dataclass(frozen=True, slots=True)
class Parked:
    """Records that cannot be processed yet: they come again, before others, when `until` is done."""

    records: Sequence[Record]
    until: Awaitable[object]


Step = Outcome | Computing | Parked


class Worker(Protocol):
    """What the loop drives."""

    def process(self, records: Sequence[Record]) -> AsyncIterator[Step]:
        """Yield steps that together account for every record, in any order.

        What it computes between two steps keeps the event loop: before it is asked for the next, what it gave has left.
        Unavailable or Misconfigured raised here ends the process without a commit, and so does a MemoryError over one
        record; any other error is bisected to the record at fault.
        """
        ...

    def takes_more(self) -> bool:
        """Whether another call of `process` may begin now. One runs at a time; threads may still compute for former
        ones."""
        ...

    def tenant(self, record: Record) -> str:
        """Whose record it is, as far as it tells: records of different tenants are taken in turn."""
        ...

    def admit(self, tenant: str, queued: int) -> None:
        """Called once for each record read, where `queued` of its tenant's wait already.

        Raises: Overloaded where the tenant asks for more than its quota or its queue lets.
        """
        ...

    def refuse(self, record: Record, error: Exception) -> Outcome:
        """The outcome for a record that `process` failed on: its dead letter and its caller's error reply."""
        ...
