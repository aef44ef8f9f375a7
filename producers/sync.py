"""The synchronous twin: the same client on an event loop of its own thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from producers.client import Headrace
from producers.opened import TWICE
from producers.reply import Reply
from topology.errors import ClientClosed, HeadraceError, Misconfigured
from topology.pacing import PACING
from topology.settings import Settings

ResultT = TypeVar("ResultT")


class SyncHeadrace:
    """`with SyncHeadrace() as client: client.predict("acme", "lights off")`. Safe to share between threads.

    Every method promises what the method of that name on `Headrace` does. After a fork each process opens its own.
    """

    def __init__(self, config: Settings | str | Path | None = None) -> None:
        self._config = config
        self._client: Headrace | None = None  # while it is open
        self._opening_or_closing = threading.Lock()
        self._process = 0  # that has its thread; a fork has none

    def __enter__(self) -> SyncHeadrace:
        with self._opening_or_closing:
            if self._client is not None:
                raise Misconfigured(TWICE)
            self._process, self._loop = os.getpid(), asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="headrace-client", daemon=True)
            self._thread.start()
            try:
                self._client = self._run(self._open()).result()
            except BaseException:
                self._end()
                raise
        return self

    async def _open(self) -> Headrace:
        return await Headrace(self._config).__aenter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forked():  # its thread and its connections are the other process's
            return
        with self._opening_or_closing:
            client, self._client = self._client, None
        if client is None:  # it was never opened, or is closed
            return
        try:
            self._run(client.__aexit__(kind, error, trace)).result()
        finally:
            self._end()

    def predict(self, tenant: str, text: str, **options: Any) -> Reply:
        """As `Headrace.predict`."""
        return self._call(lambda client: client.predict(tenant, text, **options))

    def submit(self, tenant: str, text: str, **options: Any) -> str:
        """As `Headrace.submit`."""
        return self._call(lambda client: client.submit(tenant, text, **options))

    def result(self, tenant: str, id: str, **options: Any) -> Reply:
        """As `Headrace.result`."""
        return self._call(lambda client: client.result(tenant, id, **options))

    def predict_many(self, tenant: str, texts: Iterable[str], **options: Any) -> list[Reply | HeadraceError]:
        """As `Headrace.predict_many`."""
        return self._call(lambda client: client.predict_many(tenant, texts, **options))

    def _call(self, ask: Callable[[Headrace], Coroutine[Any, Any, ResultT]]) -> ResultT:
        if self._forked():
            raise Misconfigured("the client was opened before this process was forked: open one in each process")
        with self._opening_or_closing:  # what begins before the closing is told of it
            if self._client is None:
                raise ClientClosed("the client is not open: use `with SyncHeadrace(...) as client:`")
            asked = self._run(ask(self._client))
        try:
            return asked.result()
        except CancelledError:
            raise ClientClosed("the client was closed while this call was in flight") from None

    def _forked(self) -> bool:
        return self._process not in (0, os.getpid())

    def _run(self, work: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _finish(self) -> None:
        """End what still runs, so that no thread waits for it for ever."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=PACING.close_s)

    def _end(self) -> None:
        self._run(self._finish()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
