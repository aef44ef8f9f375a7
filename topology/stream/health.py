"""Whether a process lives and is ready: told by its event loop, asked by the thread of its page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from topology.pacing import PACING, Pacing
from topology.stream.process import announce_ready


class Health:
    """Lives: the event loop turns. Ready: all that `awaits` named is over, and the process is not stopping.

    A rebalance does not make it unready: all members of a group would be so at once, which stops a rollout and uses up
    a disruption budget, and no traffic goes by readiness.
    """

    def __init__(self, stop: asyncio.Event | None = None, pacing: Pacing = PACING) -> None:
        """`stop`: set when the process begins to stop."""
        self._stop, self._pacing = stop, pacing
        self._awaited: list[str] = []
        self._was_ready = False
        self._turned_s = time.monotonic()

    def follow_loop(self) -> None:
        """To be called on the event loop: from now on it is looked whether that turns."""
        self._turned_s = time.monotonic()
        asyncio.get_running_loop().call_later(self._pacing.turn_s, self.follow_loop)

    def awaits(self, why: str) -> Callable[[], None]:
        """Not ready, with the reason `why`, until what this returns is called."""
        self._awaited.append(why)

        def over() -> None:
            if why in self._awaited:
                self._awaited.remove(why)
                if not self._awaited:
                    self._was_ready = True
                    announce_ready()

        return over

    def not_live(self) -> str:
        """Why the process is to be ended; empty where it lives.

        One batch, however long, is far below the limit. Until it was ready once a process may load for longer.
        """
        still_s = time.monotonic() - self._turned_s
        limit_s = self._pacing.still_s if self._was_ready else self._pacing.load_s
        return f"the event loop has stood still for {still_s:.0f} s" if still_s > limit_s else ""

    def not_ready(self) -> str:
        """Why the process is not ready; empty where it is."""
        if self._stop is not None and self._stop.is_set():
            return "stopping: what was begun is being finished"
        return "; ".join(self._awaited) or self.not_live()
