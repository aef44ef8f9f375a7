"""Where a client is open: in one event loop, whose sockets and tasks it has, from its opening to its closing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from topology.errors import Misconfigured

TWICE = "the client is open already: share it, or make another one"


class Opened:
    """In which event loop a client is open, if it is."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> Callable[[], None]:
        """It is opened in the running loop. Returns what to call once it is closed; then it may be opened again.

        Raises: Misconfigured where it is open.
        """
        if self._loop is not None:
            raise Misconfigured(TWICE)
        self._loop = asyncio.get_running_loop()
        return self._end

    def _end(self) -> None:
        self._loop = None

    def check(self) -> None:
        """Raises: Misconfigured where it is open in another event loop, where its calls would wait for ever."""
        if self._loop not in (None, asyncio.get_running_loop()):
            raise Misconfigured("the client was opened in another event loop: open one in each, or use SyncHeadrace")
