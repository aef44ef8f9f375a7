"""The requests of one client that have no reply yet, each under its tenant and id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from producers.reply import ReplyOrError
from topology.errors import ClientClosed, DeadlineExceeded, HeadraceError, IdReused, Unavailable
from topology.keys import OwnedId
from topology.pacing import Pacing


@dataclass(eq=False)
class Call:
    """A request in flight.

    `digest`: of what was asked; empty where this client only waits. `ends_s`: its deadline, on the event loop's clock;
    of the several who may wait for one call each has a deadline of its own.
    """

    id: OwnedId
    digest: str
    ends_s: float
    arrived: asyncio.Future[ReplyOrError] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    published: asyncio.Future[None] | None = None
    waiting: int = 0

    def answer(self, outcome: ReplyOrError) -> None:
        """The reply, or its error: the first one counts."""
        # An earlier attempt under the same id may have expired while this one still has time.
        early = isinstance(outcome, DeadlineExceeded) and asyncio.get_running_loop().time() < self.ends_s
        if not early and not self.arrived.done():
            self.arrived.set_result(outcome)

    async def arrives(self, within_s: float) -> bool:
        """Whether its outcome is there by then. As asyncio.wait for one future at a third of its price, which would be
        a tenth of all that a request costs its client. Several may wait."""
        if self.arrived.done():
            return True
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake(_: object = None) -> None:
            if not woken.done():
                woken.set_result(None)

        timer = loop.call_later(max(0.0, within_s), wake)
        self.arrived.add_done_callback(wake)
        try:
            await woken
        finally:
            timer.cancel()
            self.arrived.remove_done_callback(wake)
        return self.arrived.done()

    def fail(self, error: BaseException) -> None:
        """No reply will come."""
        if not self.arrived.done():
            self.arrived.set_exception(error)
            self.arrived.exception()  # whoever asked may have gone: then nobody is to be told

    def publish(self, published: asyncio.Future[None]) -> None:
        """The request is on its way; what the broker does not take gets no reply."""
        self.published = published
        published.add_done_callback(self._ended)

    async def acknowledged(self) -> None:
        """Until the broker has the request. Raises: why it has not."""
        if self.published is not None:
            await asyncio.wait([self.published])
            if not self.published.cancelled():
                self.published.result()
            elif (error := self.arrived.exception()) is not None:
                raise error

    def _ended(self, published: asyncio.Future[None]) -> None:
        if not published.cancelled() and (error := published.exception()) is not None:
            self.fail(error)


class Calls:
    """The table of calls in flight. `len`: how many."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._calls: dict[OwnedId, Call] = {}
        self._swept_s = 0.0

    def __len__(self) -> int:
        return len(self._calls)

    def ids(self) -> list[OwnedId]:
        """Whose replies are awaited."""
        return list(self._calls)

    def get(self, id: OwnedId) -> Call | None:
        """The call in flight under an id."""
        return self._calls.get(id)

    def begin(self, id: OwnedId, digest: str, seconds: float) -> tuple[Call, bool]:
        """The call under `id`, and whether it is to be published. Raises: IdReused where it asks for another text."""
        self._sweep()
        ends_s = asyncio.get_running_loop().time() + seconds
        if (call := self._calls.get(id)) is None:
            call = self._calls[id] = Call(id, digest, ends_s)
            return call, True
        if digest and call.digest and call.digest != digest:
            raise IdReused(f"the id {id[1]!r} is in flight for another text of tenant {id[0]!r}; use a new one")
        new = not call.digest  # somebody waits here for what nobody here has sent
        call.digest, call.ends_s = call.digest or digest, max(call.ends_s, ends_s)
        return call, new

    def release(self, call: Call) -> None:
        """One less waits for the call; it is forgotten after the last. What is not sent of it then will not be."""
        call.waiting -= 1
        if not call.waiting:
            self._forget(call)
            if call.published is not None and not call.arrived.done():
                call.published.cancel()

    def abandon(self, call: Call, error: BaseException) -> None:
        """The request was not published: tell whoever waits for it."""
        self._forget(call)
        if call.published is not None:
            call.published.cancel()
        known = isinstance(error, HeadraceError)
        call.fail(error if known else Unavailable("the request was not published: its first caller gave up"))

    def _forget(self, call: Call) -> None:
        if self._calls.get(call.id) is call:
            del self._calls[call.id]

    def close(self) -> None:
        """Tell all who wait that the client is closed."""
        for call in self._calls.values():
            call.fail(ClientClosed("the client was closed while this call waited for its reply"))
            if call.published is not None:
                call.published.cancel()
        self._calls.clear()

    def _sweep(self) -> None:
        """Forget replies that nobody asks for."""
        now_s = asyncio.get_running_loop().time()
        if len(self._calls) <= self._pacing.max_at_once or now_s < self._swept_s + self._pacing.swept_every_s:
            return
        self._swept_s = now_s  # looking at all costs more than sending one: not at every one
        old_s = now_s - self._pacing.reply_kept_s
        for call in [c for c in self._calls.values() if c.ends_s < old_s and not c.waiting]:
            del self._calls[call.id]


@asynccontextmanager
async def in_time(ends_s: float, late: Callable[[], HeadraceError]) -> AsyncIterator[None]:
    """Raises: what `late` makes, where the body is not done at `ends_s` on the event loop's clock."""
    limit = asyncio.timeout_at(ends_s)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if isinstance(error, HeadraceError) or not limit.expired():
            raise
        raise late() from None


async def end(task: asyncio.Task[None]) -> None:
    """Cancel `task`. A time-out that races with it can swallow a cancellation: ask until it is heard."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
