"""Where results go, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from infra.backfill.job import Part, Row, Span


class Target(Protocol):
    """Takes the rows of one part after the other; a part is there whole after `finish`, or not at all.

    A row has `id` (derived), `utterance_id`, `tenant`, `ring`, `lang`, `text`, `submitted_us` (when it was said,
    microseconds), `intent`, `confidence`, `out_of_scope`, `entities` (maps of start, end, label, text, confidence,
    value), `head_version`, `space`, `truncated`, `error`, `message` (empty where there is an intent), `source`,
    `partition`, `offset`.
    """

    async def start(self) -> None:
        """Connect, and see that it can be written to. Raises: Unavailable, Misconfigured."""
        ...

    async def write(self, span: Span, part: Part, rows: Sequence[Row]) -> None:
        """More rows of the part, in the order of their offsets. Raises: Unavailable."""
        ...

    async def finish(self, span: Span, part: Part) -> None:
        """The part is complete: returns when all of it is safe. A part without rows may leave nothing behind.
        Raises: Unavailable."""
        ...

    async def stop(self) -> None:
        """Disconnect; what was not finished is given up."""
        ...
