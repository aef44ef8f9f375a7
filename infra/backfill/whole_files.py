"""Files on this machine that are there whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def put_local(root: Path, place: Path, data: bytes) -> None:
    """Write a file below `root` by way of another name, so that a crash leaves no half of it under its own; without
    data, remove it. Raises: OSError."""
    if not data:
        place.unlink(missing_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
    with partial.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(place)
    for left in place.parent.glob(f".{place.name}.*.tmp"):  # of a process that was killed here
        left.unlink(missing_ok=True)
    for folder in (place.parent, *place.parent.parents):
        _sync(folder)
        if folder == root:
            return


def _sync(folder: Path) -> None:
    """A name is safe once its folder is."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
