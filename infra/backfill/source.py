"""Where a job's records come from."""

from __future__ import annotations

from typing import Protocol

from infra.backfill.job import Asked, Span
from topology.stream.bounded import Replaced as Replaced
from topology.stream.bounded import RestLost as RestLost
from topology.stream.bounded import Taken as Taken


class Source(Protocol):
    """Reads one partition after the other, in order. A topic's is `topology.stream.bounded`, a file's `files`.

    A record's value is a `wire.Utterance` or `wire.Embedding`; `unreadable` says why it is none. `topic`, `partition`
    and `offset` are the span's source, its partition, and the record's offset: a file's row, from 0.
    """

    async def start(self) -> None:
        """Connect. Raises: Unavailable, Misconfigured."""
        ...

    async def spans(self, asked: Asked) -> list[Span]:
        """The bounds of what is asked for, as they are now. Raises: Misconfigured, Unavailable."""
        ...

    async def seek(self, span: Span, position: int) -> None:
        """Read this span next, from `position`. Raises: Replaced where its identity is another one now."""
        ...

    async def take(self, most: int) -> Taken:
        """What comes next of the span, at most `most` records; after a while perhaps none. A file's position stands
        at `END_OF_FILE` once nothing is left. Raises: RestLost, Unavailable."""
        ...

    async def stop(self) -> None:
        """Disconnect."""
        ...


END_OF_FILE = 1 << 62  # a file's position once nothing is left of it
