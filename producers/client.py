"""The asynchronous client: `async with Headrace() as client: await client.predict("acme", "lights off")`."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from producers.reply import Outcome, Reply, outcome_of
from producers.request import Request, RequestBuilder, now_us, uuid7
from topology import topics, wire
from topology.addresses import load_running
from topology.errors import DeadlineExceeded, HeadraceError, MalformedRecord, Unavailable
from topology.settings import Settings
from topology.stream.records import Output

if TYPE_CHECKING:
    from producers.outbox import Outbox
    from topology.stream.kafka import Producer

log = logging.getLogger(__name__)

LAST_LOOK_S = 0.05  # before the deadline, the reply key is read once in case the stream was late
PAUSE_S, MOST_PAUSE_S = 0.0003, 0.004  # between two reads of replies, for each that is being waited for
KEPT_S = 120.0  # a reply that nobody asks for is forgotten after this long
LOOKED_EVERY_S = 5.0
MAX_AT_ONCE = 512


class Headrace:
    """A connection to a running stack. Safe for any number of concurrent calls on one event loop.

    `config`: a Settings, or the path of a headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml).
    """

    def __init__(self, config: Settings | str | Path | None = None) -> None:
        # Here, not above: redis and aiokafka take 0.35 s to import, which a service should not pay to import a name.
        from topology.stream.replies import ReplyReader

        self._settings = config if isinstance(config, Settings) else load_running(config)
        self._replies = ReplyReader(self._settings.redis, self._settings.prefix, uuid7())
        self._requests = RequestBuilder(self._settings, self._replies.stream)
        self._producer: Producer | None = None
        self._outbox: Outbox | None = None
        self._waiting: dict[str, tuple[asyncio.Future[Outcome], int]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._looked_us = 0

    async def __aenter__(self) -> Headrace:
        """Connect to Kafka and Redis. Raises: Unavailable."""
        from producers.outbox import Outbox
        from topology.stream.kafka import Producer

        await self._replies.ping()
        self._producer = Producer(self._settings.broker)
        await self._producer.start()
        self._outbox = Outbox(self._producer, lambda: len(self._waiting))
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            # A Redis time-out that races with the cancellation can swallow it: ask until it is heard.
            while not self._listener.done():
                self._listener.cancel()
                await asyncio.wait([self._listener], timeout=0.1)
        if self._producer is not None:
            await self._producer.stop()
        await self._replies.close()

    async def predict(
        self, tenant: str, text: str, *, lang: str | None = None, deadline: float | None = None,
        id: str | None = None, key: str | None = None,
    ) -> Reply:
        """The tenant's prediction for `text`.

        `lang`: a BCP 47 tag; identified from the text where left out. `deadline`: seconds from now. `id`: your own
        idempotency key: the same id again gives the same reply and computes nothing. `key`: utterances of one
        conversation under one key are read in order.

        Raises: InvalidUtterance, TextTooLong, UnknownLanguage, UnknownTenant, DeadlineExceeded, Unavailable.
        """
        request = self._requests.build(tenant, text, lang, deadline, id, key)
        published = await self._submit(request)
        if published is not None:  # what is wrong with it is told where the reply is waited for: one waking up, not two
            published.add_done_callback(functools.partial(_fail, self._waiting[request.utterance.id][0]))
        return await self.result(request.utterance.id)

    async def submit(
        self, tenant: str, text: str, *, lang: str | None = None, deadline: float | None = None,
        id: str | None = None, key: str | None = None,
    ) -> str:
        """Publish without waiting for the reply; returns the id to ask `result` for. Raises: as `predict`."""
        request = self._requests.build(tenant, text, lang, deadline, id, key)
        published = await self._submit(request)
        try:
            if published is not None:
                await published
        except BaseException:
            self._waiting.pop(request.utterance.id, None)
            raise
        return request.utterance.id

    async def _submit(self, request: Request) -> asyncio.Future[None] | None:
        """Expect the reply and publish the request; None where it was published before. Else done when acknowledged."""
        utterance = request.utterance
        self._forget_old()
        if utterance.id in self._waiting and request.own_id:
            return None  # this client already waits for it
        future = self._expect(utterance.id, utterance.deadline_us)
        try:
            return self._publish(request) if not request.own_id or await self._claimed(request, future) else None
        except BaseException:
            self._waiting.pop(utterance.id, None)
            raise

    async def result(self, id: str, *, deadline: float | None = None) -> Reply:
        """The reply to a submitted id, also one submitted elsewhere within the reply cache's time.

        `deadline`: seconds from now; default: the one it was submitted with.
        Raises: DeadlineExceeded, Unavailable, or the error that its worker answered with.
        """
        if id not in self._waiting:
            await self._join(id, deadline)
        future, deadline_us = self._waiting[id]
        seconds = deadline if deadline is not None else (deadline_us - now_us()) / 1e6
        try:
            outcome = await self._arrived(id, future, seconds)
        finally:
            self._waiting.pop(id, None)
        if isinstance(outcome, HeadraceError):
            raise outcome
        return outcome

    async def predict_many(
        self, tenant: str, texts: Iterable[str], *, lang: str | None = None, deadline: float | None = None
    ) -> list[Reply | HeadraceError]:
        """Predictions in the order of `texts`. One that fails costs only itself: its error stands in its place."""
        slots = asyncio.Semaphore(MAX_AT_ONCE)

        async def one(text: str) -> Reply | HeadraceError:
            async with slots:
                try:
                    return await self.predict(tenant, text, lang=lang, deadline=deadline)
                except HeadraceError as error:
                    return error

        return await asyncio.gather(*map(one, texts))

    def _expect(self, request_id: str, deadline_us: int) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = (future, deadline_us)
        return future

    async def _claimed(self, request: Request, future: asyncio.Future[Outcome]) -> bool:
        """Whether this client is to publish a request under a caller's own id."""
        utterance = request.utterance
        claim = await self._replies.claim(utterance.id, utterance.submitted_us, utterance.deadline_us)
        if claim.verdict == "reply" and not future.done():
            future.set_result(outcome_of(claim.value, now_us()))
        return claim.verdict == "go"

    def _publish(self, request: Request) -> asyncio.Future[None]:
        if self._outbox is None:
            raise Unavailable("the client is not open: use `async with Headrace(...) as client:`")
        topic = topics.utterances(self._settings.prefix, request.ring)
        return self._outbox.post(Output(topic, request.key, wire.encode(request.utterance)))

    async def _join(self, request_id: str, deadline_s: float | None) -> None:
        """Wait for an id that this client did not submit."""
        seconds = deadline_s if deadline_s is not None else self._settings.limits.deadline_s
        future = self._expect(request_id, now_us() + int(seconds * 1e6))
        value = await self._replies.listen(request_id)
        if value is not None and not future.done():
            future.set_result(outcome_of(value, now_us()))

    async def _arrived(self, request_id: str, future: asyncio.Future[Outcome], seconds: float) -> Outcome:
        if await _done(future, seconds - LAST_LOOK_S):
            return future.result()
        late = await self._replies.values([request_id])
        if request_id in late:
            return outcome_of(late[request_id], now_us())
        if await _done(future, min(LAST_LOOK_S, seconds)):
            return future.result()
        raise DeadlineExceeded(
            f"no reply to {request_id} in time. It may still come: ask again with result({request_id!r}), give a "
            "longer deadline, or look at the workers' lag with `headrace status`."
        )

    async def _listen(self) -> None:
        """Read this client's reply stream for as long as it is open."""
        while True:
            try:
                arrived = await self._replies.read(block_ms=2_000)
            except Unavailable as error:
                log.warning("%s; replies are read again when it is back", error)
                await asyncio.sleep(0.3)
                arrived = await self._missed()
            for request_id, value in arrived:
                self._resolve(request_id, value)
            # What comes meanwhile is read together.
            await asyncio.sleep(min(MOST_PAUSE_S, PAUSE_S * len(self._waiting)))

    async def _missed(self) -> list[tuple[str, bytes]]:
        """After a lost connection: whatever stands at the keys of those who wait."""
        try:
            return list((await self._replies.values(list(self._waiting))).items())
        except Unavailable:
            return []

    def _resolve(self, request_id: str, value: bytes) -> None:
        future, deadline_us = self._waiting.get(request_id, (None, 0))
        if future is None or future.done():
            return
        try:
            outcome = outcome_of(value, now_us())
        except MalformedRecord as error:
            log.error("reply to %s cannot be read: %s", request_id, error)
            return
        # An earlier attempt under the same id may have expired while this one still has time.
        if not (isinstance(outcome, DeadlineExceeded) and now_us() < deadline_us):
            future.set_result(outcome)

    def _forget_old(self) -> None:
        now = now_us()
        if len(self._waiting) > MAX_AT_ONCE and now >= self._looked_us + LOOKED_EVERY_S * 1e6:
            self._looked_us = now  # looking at all that wait costs more than sending one: not at every one
            limit = now - int(KEPT_S * 1e6)
            for request_id in [i for i, (_, deadline_us) in self._waiting.items() if deadline_us < limit]:
                del self._waiting[request_id]


async def _done(future: asyncio.Future[Outcome], within_s: float) -> bool:
    """As asyncio.wait for one future, for a tenth less of all that a request costs its client. Several may wait for the
    same one: who is cancelled leaves it to the others."""
    if future.done():
        return True
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = loop.call_later(max(0.0, within_s), wake)
    future.add_done_callback(wake)
    try:
        await woken
    finally:
        timer.cancel()
        future.remove_done_callback(wake)
    return future.done()


def _fail(future: asyncio.Future[Outcome], published: asyncio.Future[None]) -> None:
    """What was not published gets no reply."""
    if not published.cancelled() and (error := published.exception()) is not None and not future.done():
        future.set_exception(error)
        future.exception()  # whoever asked may have gone: then nobody is to be told
