"""What a format is: how it is known by its content, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.training.formats.found import Found
from infra.training.formats.source import Source


@dataclass(frozen=True)
class Format:
    """`knows` says by content whether a file is of it. `read` takes all such files of one command at once."""

    name: str
    knows: Callable[[Source], bool]
    read: Callable[[Sequence[Source], Found], None]
