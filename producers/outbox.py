"""Utterances on their way to Kafka: at once where it is quiet, several to a request where it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from topology.stream.kafka import Producer
from topology.stream.records import Output

PACE_S, MOST_PACE_S = 0.001, 0.012


class Outbox:
    """Collects records while a request is on its way, and sends them together in the next.

    A request begins at least PACE_S after the one before for each reply that is being waited for (`unanswered`), and at
    most MOST_PACE_S: who has much on its way loses least by sharing requests.
    """

    def __init__(self, producer: Producer, unanswered: Callable[[], int] = lambda: 1) -> None:
        self._producer, self._unanswered = producer, unanswered
        self._waiting: list[tuple[Output, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._last_s = 0.0

    def post(self, output: Output) -> asyncio.Future[None]:
        """Write one record; done when it is acknowledged, or with Unavailable."""
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((output, acknowledged))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        return acknowledged

    async def _send_all(self) -> None:
        while self._waiting:
            wait_s = self._last_s + min(MOST_PACE_S, PACE_S * self._unanswered()) - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._last_s = time.monotonic()
            batch, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                await self._producer.send([output for output, _ in batch])
            except Exception as caught:
                error = caught
            for _, acknowledged in batch:
                if acknowledged.done():
                    continue  # its caller gave up waiting
                if error is None:
                    acknowledged.set_result(None)
                else:
                    acknowledged.set_exception(error)
        self._sending = None
