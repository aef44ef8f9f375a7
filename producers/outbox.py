"""Utterances on their way to Kafka: at once where it is quiet, several to a request where it is not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from topology.pacing import PACING, Pacing
from topology.stream.producer import Producer
from topology.stream.records import Output

log = logging.getLogger(__name__)


class Outbox:
    """One request in flight; records posted meanwhile share the next.

    A request begins at least `request_linger_s` after the one before for each reply that is awaited, and at most
    `max_request_linger_s`: who has much in flight loses least by sharing requests.
    """

    def __init__(self, producer: Producer, awaited: Callable[[], int] = lambda: 1, pacing: Pacing = PACING) -> None:
        self._producer, self._awaited, self._pacing = producer, awaited, pacing
        self._batch: list[tuple[Output, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._began_s = 0.0  # the last request
        self._away = False
        if (chatty := logging.getLogger("aiokafka")).level == logging.NOTSET:  # five lines a second of an outage
            chatty.setLevel(logging.CRITICAL)

    def post(self, output: Output) -> asyncio.Future[None]:
        """Write one record; done when it is acknowledged, or with Unavailable. Cancel it to keep it from being sent."""
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._batch.append((output, acknowledged))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        return acknowledged

    async def _send_all(self) -> None:
        try:
            while self._batch:
                await self._linger()
                batch, self._batch = [one for one in self._batch if not one[1].done()], []
                await self._send(batch)
        finally:
            self._sending = None

    async def _linger(self) -> None:
        linger_s = min(self._pacing.max_request_linger_s, self._pacing.request_linger_s * self._awaited())
        if (left_s := self._began_s + linger_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)
        self._began_s = time.monotonic()

    async def _send(self, batch: list[tuple[Output, asyncio.Future[None]]]) -> None:
        failed: Exception | None = None
        refused: dict[int, Exception] = {}
        try:
            for one in await self._producer.send([output for output, _ in batch]):
                refused[id(one.output)] = one.error
        except Exception as caught:
            failed = caught
        self._note(failed)
        for output, acknowledged in batch:
            error = failed or refused.get(id(output))
            if acknowledged.done():
                continue  # its caller gave up waiting
            if error is None:
                acknowledged.set_result(None)
            else:
                acknowledged.set_exception(error)

    def _note(self, failed: Exception | None) -> None:
        """An outage is one line where it begins, and one where it ends."""
        if failed is not None and not self._away:
            log.warning("%s; requests are tried anew until it is back", failed)
        elif failed is None and self._away:
            log.warning("Kafka answers again")
        self._away = failed is not None

    async def close(self) -> None:
        """Give up what is not acknowledged."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
