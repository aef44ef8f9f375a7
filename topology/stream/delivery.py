"""What came out of a worker on its way: outputs to Kafka, replies to Redis, each sharing requests.

A request costs far more than the records in it. So where more is being computed, what came out waits a moment for
company; where nothing is, it goes at once. Replies and outputs go their own ways: a caller waits for the reply only.
What nobody hurries for (results that callers have as replies, refusals of a tenant's flood) waits in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from topology.stream.kafka import Producer
from topology.stream.records import Outcome
from topology.stream.replies import ReplyWriter

UNHURRIED_S = 0.03  # that what nobody hurries for waits at most for something that is hurried


@dataclass(frozen=True)
class Company:
    """How long what came out waits for company, while more is being computed.

    `hurried`: whether it goes at once where nothing is.
    """

    wait_s: float
    full: int = 16  # records that are worth a request by themselves
    hurried: bool = True


@dataclass
class _Due:
    outcome: Outcome
    left: int  # of its outputs and replies, what has not arrived
    hurried: bool


@dataclass
class _Box:
    company: Company
    due: list[_Due] = field(default_factory=list)
    sent: list[_Due] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return sum(len(due.outcome.done) for due in self.due) >= self.company.full

    @property
    def hurried(self) -> bool:
        """Whether something is in it that goes as soon as nothing more is being computed."""
        return self.full or (self.company.hurried and any(due.hurried for due in self.due))


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


class Delivery:
    """Delivers outcomes. `on_done` hears of each whose outputs are acknowledged and whose replies are written.

    `busy`: whether more is being computed. `linger_s`: seconds that requests wait to be full, where records queue up.
    """

    def __init__(
        self, producer: Producer, replies: ReplyWriter, outputs: Company, answers: Company, progress: Progress,
        busy: Callable[[], bool], linger_s: Callable[[], float], on_done: Callable[[Outcome], None],
    ) -> None:
        self._producer, self._replies, self._progress = producer, replies, progress
        self._busy, self._linger_s, self._on_done = busy, linger_s, on_done
        self._outputs, self._answers = _Box(outputs), _Box(answers)
        self.undelivered = 0  # records
        self.requests = 0

    def add(self, outcome: Outcome) -> None:
        """What came out just now."""
        due = _Due(outcome, bool(outcome.outputs) + bool(outcome.replies), outcome.hurried)
        self.undelivered += len(outcome.done)
        if outcome.outputs:
            self._outputs.due.append(due)
        if outcome.replies:
            self._answers.due.append(due)
        if not due.left:
            self._arrived(due)
        self._progress.made()

    async def send_often(self) -> None:
        """Write outputs to Kafka until cancelled. Raises: Unavailable."""
        while True:
            outcomes = await self._worth_a_request(self._outputs)
            await self._producer.send([output for outcome in outcomes for output in outcome.outputs])
            self.requests += 1
            self._written(self._outputs)

    async def answer_often(self) -> None:
        """Write replies to Redis until cancelled. Raises: Unavailable."""
        while True:
            outcomes = await self._worth_a_request(self._answers)
            await self._replies.write([reply for outcome in outcomes for reply in outcome.replies])
            self._written(self._answers)

    async def _worth_a_request(self, box: _Box) -> list[Outcome]:
        await self._progress.reaches(lambda: bool(box.due))
        await self._progress.reaches(lambda: box.hurried, UNHURRIED_S)
        await self._progress.reaches(lambda: not self._busy() or box.full, self._linger_s() or box.company.wait_s)
        box.sent, box.due = box.due, []
        return [due.outcome for due in box.sent]

    def _written(self, box: _Box) -> None:
        for due in box.sent:
            due.left -= 1
            if not due.left:
                self._arrived(due)
        self._progress.made()

    def _arrived(self, due: _Due) -> None:
        self.undelivered -= len(due.outcome.done)
        self._on_done(due.outcome)
