"""Utterances on their way to Kafka: at once where it is quiet, several to a request where it is not."""

from __future__ import annotations

import asyncio
import time

from topology.stream.kafka import Producer
from topology.stream.records import Output

PACE_S = 0.004  # a request begins at least so long after the one before: at 1,000 utterances/s four share one


class Outbox:
    """Collects records while a request is on its way, and sends them together in the next."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._waiting: list[tuple[Output, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._last_s = 0.0

    async def send(self, output: Output) -> None:
        """Write one record and return when it is acknowledged. Raises: Unavailable."""
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((output, acknowledged))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        await acknowledged

    async def _send_all(self) -> None:
        while self._waiting:
            wait_s = self._last_s + PACE_S - time.monotonic()
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
