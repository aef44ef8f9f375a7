"""Loads run on threads beside the event loop, each within a time: files that do not come cost only their own head.

A thread that waits for a hung mount cannot be ended. It is left behind, so the threads are daemons (the process ends
without them) and their number is bounded.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from topology.errors import HeadUnavailable
from topology.pacing import Pacing
from topology.stream.process import step_back

T = TypeVar("T")


class Loaders(Generic[T]):
    """`head_loaders` at a time; whoever waits longer than `head_load_s` for a turn and a result is told."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._turns = asyncio.Semaphore(pacing.head_loaders)
        self._running: set[Hashable] = set()
        self._stuck: set[Hashable] = set()  # of these, the ones that nobody waits for any more

    @property
    def stuck(self) -> int:
        """Threads that were left behind and have not come back."""
        return len(self._stuck)

    async def run(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` returns. A `key` whose last `read` has not come back is not read again meanwhile.

        Raises: HeadUnavailable; what `read` raises.
        """
        if key in self._stuck:
            raise HeadUnavailable("its files still do not come from the head store")
        if len(self._stuck) >= self._pacing.max_stuck_loads:
            raise HeadUnavailable(f"the head store does not give the files of {len(self._stuck)} other heads either")
        started: asyncio.Future[T] | None = None
        try:
            async with asyncio.timeout(self._pacing.head_load_s), self._turns:
                started = self._start(key, read)
                return await started
        except TimeoutError as error:
            if started is not None and not started.cancelled():
                raise  # the reading's own
            if key in self._running:
                self._stuck.add(key)
            what = "too many heads are being loaded" if started is None else "its files do not come from the head store"
            raise HeadUnavailable(f"{what} ({self._pacing.head_load_s:g} s)") from error

    def _start(self, key: Hashable, read: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._running.discard(key)
            self._stuck.discard(key)
            if future.done():
                return  # nobody waits any more
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # None only if T is

        def work() -> None:
            step_back()  # loading yields to scoring
            try:
                told: tuple[T | None, BaseException | None] = (read(), None)
            except BaseException as error:  # whatever it is, somebody waits for it
                told = (None, error)
            try:
                loop.call_soon_threadsafe(settle, *told)
            except RuntimeError:  # the loop is closed: the process is ending
                return

        self._running.add(key)
        threading.Thread(target=work, name="head-loader", daemon=True).start()
        return future
