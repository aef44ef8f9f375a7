"""One stack for each state directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topology.errors import Misconfigured

FILE = "up.pid"


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the directory while a stack is up; the kernel lets go of it however this process ends.

    Raises: Misconfigured where another process holds it, with its number.
    """
    with (state / FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise Misconfigured(
                f"already up: process {file.read().strip() or '?'} runs the stack of {state}; stop it first"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
