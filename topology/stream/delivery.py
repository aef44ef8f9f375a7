"""Outcomes on their way: outputs to Kafka and replies to Redis, each in batches, with one request in flight.

A request costs far more than the records in it. So while a request to a destination is in flight, what comes meanwhile
waits, and goes together in the next (as in Kafka's own producer with one request in flight). A kind of output that no
caller waits for lingers besides, for a batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from topology.errors import HeadraceError
from topology.stream.kafka import Producer
from topology.stream.outcomes import Outcome
from topology.stream.records import Record
from topology.stream.replies import ReplyWriter

log = logging.getLogger(__name__)


class Progress:
    """Something happened: whoever waits looks again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def made(self) -> None:
        """Wake whoever waits."""
        self._event.set()

    async def reaches(self, state: Callable[[], bool], within_s: float | None = None) -> None:
        """Until `state()`, which is asked again at every progress; at most `within_s`."""
        if state():
            return
        over = False

        def end() -> None:
            nonlocal over
            over = True
            self.made()

        # The timer says that it is over, not the clock: uvloop's counts milliseconds, and a timer may be one early.
        timer = None if within_s is None else asyncio.get_running_loop().call_later(within_s, end)
        while not over:
            self._event.clear()
            await self._event.wait()
            if state():
                break
        if timer is not None:
            timer.cancel()


@dataclass
class _Entry:
    outcome: Outcome
    left: int  # of its outputs and replies, how many kinds are not acknowledged


class _Destination:
    """One place that outcomes go to. `linger_s`: how long a batch waits for `batch` records before it goes."""

    def __init__(self, linger_s: float, batch: int, progress: Progress) -> None:
        self._linger_s, self._batch, self._progress = linger_s, batch, progress
        self._pending: list[_Entry] = []
        self._in_socket = True  # what was taken for a request has been written to its socket

    def add(self, entry: _Entry) -> None:
        self._pending.append(entry)

    @property
    def has_left(self) -> bool:
        """Whether nothing waits here that should go at once."""
        return self._in_socket and (bool(self._linger_s) or not self._pending)

    def note_in_socket(self) -> None:
        self._in_socket = True
        self._progress.made()

    async def send_batches(self, send: Callable[[Sequence[_Entry]], Awaitable[None]]) -> None:
        """A request after the other, until cancelled. Raises: whatever `send` raises."""
        while True:
            await self._progress.reaches(lambda: bool(self._pending))
            if self._linger_s:
                await self._progress.reaches(lambda: len(self._pending) >= self._batch, self._linger_s)
            batch, self._pending, self._in_socket = self._pending, [], False
            await send(batch)
            self.note_in_socket()


class Delivery:
    """Delivers outcomes. `on_done` hears of each whose outputs are acknowledged and whose replies are written.

    `refuse`: the outcome of a record whose output the broker will never take. `linger_s`, `batch`: of outputs to Kafka;
    replies do not linger.
    """

    def __init__(
        self, producer: Producer, replies: ReplyWriter, linger_s: float, batch: int, progress: Progress,
        refuse: Callable[[Record, HeadraceError], Outcome], on_done: Callable[[Outcome], None],
    ) -> None:
        self._producer, self._writer, self._progress = producer, replies, progress
        self._refuse, self._on_done = refuse, on_done
        self._outputs, self._replies = _Destination(linger_s, batch, progress), _Destination(0.0, 1, progress)
        producer.on_request_left = self._outputs.note_in_socket
        self.undelivered = self.undelivered_bytes = 0  # records, and bytes of their values
        self.requests = 0
        self.replies_refused = 0

    def add(self, outcome: Outcome) -> None:
        """Deliver an outcome, soon."""
        entry = _Entry(outcome, bool(outcome.outputs) + bool(outcome.replies))
        self.undelivered += len(outcome.done)
        self.undelivered_bytes += sum(len(record.value or b"") for record in outcome.done)
        if outcome.outputs:
            self._outputs.add(entry)
        if outcome.replies:
            self._replies.add(entry)
        if not entry.left:
            self._finish(entry)
        self._progress.made()

    async def left(self, within_s: float) -> None:
        """Until what should go at once is in its socket; at most `within_s`, where a request before it is not
        acknowledged yet."""
        await self._progress.reaches(lambda: self._outputs.has_left and self._replies.has_left, within_s)

    async def send_outputs(self) -> None:
        """Write outputs to Kafka until cancelled. Raises: Unavailable."""
        await self._outputs.send_batches(self._send)

    async def send_replies(self) -> None:
        """Write replies to Redis until cancelled. Raises: Unavailable."""
        await self._replies.send_batches(self._write)

    async def _send(self, batch: Sequence[_Entry]) -> None:
        refused = await self._producer.send([output for entry in batch for output in entry.outcome.outputs])
        self.requests += 1
        for one in refused:
            if one.output.cause is not None:
                # Its dead letter fits always. It is acknowledged before the record is finished.
                instead = self._refuse(one.output.cause, one.error)
                await self._producer.send(instead.outputs)
                await self._writer.write(instead.replies)
        self._acknowledge(batch)

    async def _write(self, batch: Sequence[_Entry]) -> None:
        # The call below writes to its socket before it first waits, and what is called soon runs when it waits.
        asyncio.get_running_loop().call_soon(self._replies.note_in_socket)
        refused = await self._writer.write([reply for entry in batch for reply in entry.outcome.replies])
        for one in refused:
            self.replies_refused += 1
            log.warning("no reply to %r of tenant %r: %s", one.reply.request_id, one.reply.tenant, one.error)
        self._acknowledge(batch)

    def _acknowledge(self, batch: Sequence[_Entry]) -> None:
        for entry in batch:
            entry.left -= 1
            if not entry.left:
                self._finish(entry)
        self._progress.made()

    def _finish(self, entry: _Entry) -> None:
        self.undelivered -= len(entry.outcome.done)
        self.undelivered_bytes -= sum(len(record.value or b"") for record in entry.outcome.done)
        self._on_done(entry.outcome)
