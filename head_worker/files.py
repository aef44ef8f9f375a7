"""A head's two files, opened with care: they come from a place that others write."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from topology.errors import BadHead
from topology.pacing import PACING

FILES = ("head.json", "head.safetensors")


def open_regular(place: Path) -> BinaryIO:
    """A file of a head, for reading. Anything else under its name is refused before it can block: a FIFO or a device
    has no end and may never begin.

    Raises: BadHead, without the path: it may reach a caller.
    """
    try:
        file = os.fdopen(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise BadHead(f"{place.name} cannot be read: {getattr(error, 'strerror', error)}") from error
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_size <= PACING.max_head_mb << 20:
        return file
    file.close()
    if not stat.S_ISREG(found.st_mode):
        raise BadHead(f"{place.name} is no regular file")
    raise too_large(place.name, found.st_size)


def too_large(name: str, size: int) -> BadHead:
    """A file that is refused unread: one head must not take the memory of all."""
    return BadHead(f"{name} has {size >> 20} MB, the limit is {PACING.max_head_mb} MB")
