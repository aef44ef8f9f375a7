"""The synchronous twin: the same client on an event loop of its own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from producers.client import Headrace
from producers.reply import Reply
from topology.errors import HeadraceError
from topology.settings import Settings

ResultT = TypeVar("ResultT")


class SyncHeadrace:
    """`with SyncHeadrace() as client: client.predict("acme", "lights off")`. Safe to share between threads.

    Every method promises what the method of that name on `Headrace` does.
    """

    def __init__(self, config: Settings | str | Path | None = None) -> None:
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headrace-client", daemon=True)

    def __enter__(self) -> SyncHeadrace:
        self._thread.start()
        try:
            self._client = self._call(self._open())
        except BaseException:
            self._end()
            raise
        return self

    async def _open(self) -> Headrace:
        return await Headrace(self._config).__aenter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call(self._client.__aexit__(kind, error, trace))
        finally:
            self._end()

    def predict(self, tenant: str, text: str, **options: Any) -> Reply:
        """As `Headrace.predict`."""
        return self._call(self._client.predict(tenant, text, **options))

    def submit(self, tenant: str, text: str, **options: Any) -> str:
        """As `Headrace.submit`."""
        return self._call(self._client.submit(tenant, text, **options))

    def result(self, id: str, **options: Any) -> Reply:
        """As `Headrace.result`."""
        return self._call(self._client.result(id, **options))

    def predict_many(self, tenant: str, texts: Iterable[str], **options: Any) -> list[Reply | HeadraceError]:
        """As `Headrace.predict_many`."""
        return self._call(self._client.predict_many(tenant, texts, **options))

    def _call(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
