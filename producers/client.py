"""The asynchronous client: `async with Headrace() as client: await client.predict("acme", "lights off")`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from producers.calls import Call, Calls, end, in_time
from producers.guess import Guesses
from producers.opened import Opened
from producers.reply import Reply, read_reply
from producers.request import Request, RequestBuilder, check_name, check_tenant, check_texts, now_us, uuid7
from topology import topics, wire
from topology.addresses import load_running
from topology.errors import ClientClosed, DeadlineExceeded, HeadraceError, MalformedRecord, Unavailable
from topology.keys import OwnedId
from topology.pacing import PACING, Pacing
from topology.settings import Settings
from topology.stream.records import Output

if TYPE_CHECKING:
    from producers.outbox import Outbox

log = logging.getLogger(__name__)


class Headrace:
    """A connection to a running stack. Safe for any number of concurrent calls on one event loop.

    `config`: a Settings, or the path of a headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml).

    Whatever is away, a call returns or raises within its deadline (`deadline`, else `limits.deadline_s`), and opening
    within `limits.deadline_s`. Calls raise ClientClosed while it is not open, Misconfigured in another event loop.
    """

    def __init__(self, config: Settings | str | Path | None = None, pacing: Pacing = PACING) -> None:
        # Here, not above: redis and aiokafka take 0.35 s to import, which a service should not pay to import a name.
        from topology.stream.replies import ReplyReader

        self._settings = config if isinstance(config, Settings) else load_running(config)
        self._pacing = pacing
        self._broker_away = f"Kafka at {self._settings.broker.bootstrap} has not answered in time"
        self._replies = ReplyReader(self._settings.redis, self._settings.prefix, uuid7(), pacing)
        self._requests = RequestBuilder(self._settings, self._replies.stream)
        self._guesses = Guesses(self._settings.languages, pacing)
        self._calls = Calls(pacing)
        self._outbox: Outbox | None = None  # while the client is open
        self._place, self._closing = Opened(), AsyncExitStack()

    async def __aenter__(self) -> Headrace:
        """Connect to Kafka and Redis. Raises: Unavailable, naming what is away; Misconfigured, where it is open."""
        from producers.outbox import Outbox  # here, not above, for the same reason
        from topology.stream.producer import Producer

        ends_s = asyncio.get_running_loop().time() + self._settings.limits.deadline_s
        self._closing.callback(self._place.begin())
        self._closing.push_async_callback(self._replies.close)
        try:
            async with in_time(ends_s, lambda: Unavailable(self._replies.away or "Redis does not answer")):
                await self._replies.ping()
            producer = Producer(self._settings.broker)
            self._closing.push_async_callback(producer.stop)
            async with in_time(ends_s, lambda: Unavailable(self._broker_away)):
                await producer.start()
        except BaseException:
            await self._closing.aclose()
            raise
        self._outbox = Outbox(producer, lambda: len(self._calls), self._pacing)
        self._closing.push_async_callback(self._outbox.close)
        listening = asyncio.create_task(self._listen())
        self._closing.push_async_callback(end, listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._place.check()
        self._outbox = None
        self._calls.close()
        await self._closing.aclose()

    async def predict(
        self, tenant: str, text: str, *, lang: str | None = None, deadline: float | None = None,
        id: str | None = None, key: str | None = None,
    ) -> Reply:
        """The tenant's prediction for `text`. Without an `id` of yours, it is forgotten 5 minutes after the deadline.

        `lang`: a BCP 47 tag; where left out, and without an `id`, guessed from the text among the rings where the
        tenant has a head. `deadline`: seconds from now. `id`: your own idempotency key: the same id again gives the
        same reply and computes nothing; it is the tenant's own, and stands for one text in one language. `key`:
        utterances of one conversation under one key are read in order.

        Raises: InvalidUtterance, IdReused, TextTooLong, UnknownLanguage, UnknownTenant, DeadlineExceeded, Unavailable.
        """
        if lang or id or not self._guesses.may_guess(text):
            return await self._predict(tenant, text, lang, deadline, id, key)
        return await self._guesses.first_known(tenant, text, self._requests.deadline(deadline), lambda likely, left_s: (
            self._predict(tenant, text, likely, left_s, id, key, True)))

    async def _predict(
        self, tenant: str, text: str, lang: str | None, deadline: float | None, id: str | None, key: str | None,
        guessed: bool = False,
    ) -> Reply:
        request, ends_s = self._build(tenant, text, lang, deadline, id, key, id is None, guessed)
        return await self._reply(await self._submit(request, ends_s), ends_s)

    async def submit(
        self, tenant: str, text: str, *, lang: str | None = None, deadline: float | None = None,
        id: str | None = None, key: str | None = None,
    ) -> str:
        """Publish without waiting for the reply; returns the id to ask `result` for. Raises: as `predict`."""
        request, ends_s = self._build(tenant, text, lang, deadline, id, key)
        call = await self._submit(request, ends_s)
        call.waiting += 1
        try:
            async with in_time(ends_s, lambda: self._late(call)):
                await call.acknowledged()
        except BaseException:
            self._calls.release(call)
            raise
        call.waiting -= 1
        return request.utterance.id

    async def result(self, tenant: str, id: str, *, deadline: float | None = None) -> Reply:
        """The reply to a tenant's submitted id, also one submitted elsewhere within the reply cache's time.

        `deadline`: seconds from now; default: the one it was submitted with.
        Raises: DeadlineExceeded, Unavailable, or the error that its worker answered with.
        """
        check_tenant(tenant)
        check_name("id", id)
        self._opened()
        seconds = self._requests.deadline(deadline)
        call = self._calls.get((tenant, id))
        if call is None:
            call = await self._join((tenant, id), seconds)
        elif deadline is None:
            return await self._reply(call, call.ends_s)
        return await self._reply(call, asyncio.get_running_loop().time() + seconds)

    async def predict_many(
        self, tenant: str, texts: Iterable[str], *, lang: str | None = None, deadline: float | None = None
    ) -> list[Reply | HeadraceError]:
        """Predictions in the order of `texts`. One that fails costs only itself: its error stands in its place.
        Raises: InvalidUtterance, where `texts` is one text."""
        slots = asyncio.Semaphore(self._pacing.max_at_once)
        async def one(text: str) -> Reply | HeadraceError:
            async with slots:
                try:
                    return await self.predict(tenant, text, lang=lang, deadline=deadline)
                except HeadraceError as error:
                    return error

        return await asyncio.gather(*map(one, check_texts(texts)))

    @property
    def reply_to(self) -> str:
        """The Redis stream on which replies to this client arrive, as `reply_to` of a request names it."""
        return self._replies.stream

    def expect(self, tenant: str, id: str, deadline: float) -> None:
        """Wait from now on for a request that something else publishes with this client's `reply_to`. Raises:
        ClientClosed."""
        self._opened()
        self._calls.begin((tenant, id), "", deadline)

    @property
    def in_flight(self) -> int:
        """Calls without a reply."""
        return len(self._calls)

    def _opened(self) -> Outbox:
        if self._outbox is None:
            raise ClientClosed("the client is not open: use `async with Headrace(...) as client:`")
        self._place.check()
        return self._outbox

    def _build(
        self, tenant: str, text: str, lang: str | None, deadline: float | None, id: str | None, key: str | None,
        one_reader: bool = False, guessed: bool = False,
    ) -> tuple[Request, float]:
        """The request, and when its time is over on the event loop's clock."""
        self._opened()
        request = self._requests.build(tenant, text, lang, deadline, id, key, one_reader, guessed)
        return request, asyncio.get_running_loop().time() + request.seconds

    async def _submit(self, request: Request, ends_s: float) -> Call:
        """The call, its request published unless that was done before."""
        outbox, utterance = self._opened(), request.utterance
        call, new = self._calls.begin((utterance.tenant, utterance.id), request.digest, request.seconds)
        if not new:
            return call
        call.waiting += 1
        try:
            if not request.own_id or await self._claimed(call, utterance, ends_s):
                topic = topics.utterances(self._settings.prefix, request.ring)
                call.publish(outbox.post(Output(topic, request.key, wire.encode(utterance))))
        except BaseException as error:
            self._calls.abandon(call, error)
            raise
        finally:
            call.waiting -= 1
        return call

    async def _claimed(self, call: Call, utterance: wire.Utterance, ends_s: float) -> bool:
        """Whether this client is to publish a request under a caller's own id."""
        async with in_time(ends_s, lambda: self._late(call)):
            claim = await self._replies.claim(call.id, call.digest, utterance.submitted_us, utterance.deadline_us)
        if claim.verdict == "reply":
            self._hear(call.id, claim.value)
        return claim.verdict == "go"

    async def _join(self, id: OwnedId, seconds: float) -> Call:
        """Wait for an id that this client did not submit."""
        call, _ = self._calls.begin(id, "", seconds)
        call.waiting += 1
        try:
            async with in_time(call.ends_s, lambda: self._late(call)):
                value = await self._replies.listen(id)
        except BaseException as error:
            self._calls.abandon(call, error)
            raise
        finally:
            call.waiting -= 1
        if value is not None:
            self._hear(id, value)
        return call

    async def _reply(self, call: Call, ends_s: float) -> Reply:
        """What the call is answered with. Raises: its error, or what `_late` makes."""
        last_look_s = ends_s - self._pacing.last_look_s - asyncio.get_running_loop().time()
        call.waiting += 1
        try:
            if not await call.arrives(last_look_s):
                async with in_time(ends_s, lambda: self._late(call)):
                    await self._look(call)
                    await asyncio.shield(call.arrived)
        finally:
            self._calls.release(call)
        outcome = call.arrived.result()
        if isinstance(outcome, HeadraceError):
            raise outcome
        return outcome

    async def _look(self, call: Call) -> None:
        """Read the reply key, in case the stream was late or trimmed."""
        try:
            found = await self._replies.values([call.id])
        except Unavailable as error:
            raise self._late(call) from error
        for id, value in found.items():
            self._hear(id, value)

    def _late(self, call: Call) -> HeadraceError:
        """What to tell a caller whose time is over."""
        tenant, id = call.id
        if call.published is not None and not call.published.done():
            return Unavailable(f"{self._broker_away}: request {id!r} is not acknowledged")
        if self._replies.away:
            return Unavailable(f"no reply to {id!r} within its deadline: {self._replies.away}")
        return DeadlineExceeded(
            f"no reply to {id!r} in time. It may still come: ask again with result({tenant!r}, {id!r}), give a longer "
            "deadline, or look at the workers' lag with `headrace status`."
        )

    async def _listen(self) -> None:
        """Read this client's reply stream for as long as it is open."""
        away = False
        while True:
            try:
                for id, value in await self._replies.read(block_ms=int(self._pacing.reply_block_s * 1e3)):
                    self._hear(id, value)
                if away:  # the stream may be lost, with what was written to it
                    for id, value in (await self._replies.values(self._calls.ids())).items():
                        self._hear(id, value)
                    log.warning("Redis answers again")
                away = False
            except HeadraceError as error:
                if not away:
                    log.warning("%s; replies are read again when it is back", error)
                away = True
                await asyncio.sleep(self._pacing.redis_pause_s)
            # What comes meanwhile is read together.
            await asyncio.sleep(min(self._pacing.max_reply_poll_s, self._pacing.reply_poll_s * len(self._calls)))

    def _hear(self, id: OwnedId, value: bytes) -> None:
        """The reply to a call in flight. What is no reply to it is its error."""
        call = self._calls.get(id)
        if call is None or call.arrived.done():
            return
        try:
            call.answer(read_reply(id, value, now_us()))
        except MalformedRecord as error:
            log.error("the reply to %r cannot be read: %s", id, error)
            call.answer(error)
