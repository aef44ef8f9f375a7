"""Replies in Redis: written once each by workers, and read by the caller from one stream of its own.

Whatever a request names (its id, its tenant, its `reply_to`) costs that one reply at most. What Redis says of this
moment (it is away, frozen, full, read-only, loading) is waited for, in the time of whoever waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from topology import keys, wire
from topology.errors import BadRecord, HeadraceError, IdReused, Misconfigured, Unavailable
from topology.keys import OwnedId
from topology.pacing import PACING, Pacing
from topology.settings import Redis as RedisSettings
from topology.stream import reply_scripts
from topology.stream.records import OutgoingReply
from topology.stream.redis import ask, close, connect, reconnect, told_as

log = logging.getLogger(__name__)

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class RefusedReply:
    """A reply that Redis will never take, and why. Its record is finished all the same."""

    reply: OutgoingReply
    error: HeadraceError


@dataclass(frozen=True)
class Answer:
    """A good prediction, and its bytes as they were written: with the fields that a later release knows."""

    prediction: wire.Prediction
    value: bytes


class ReplyWriter:
    """The workers' side: one round trip for a batch of replies."""

    def __init__(self, settings: RedisSettings, prefix: str, pacing: Pacing = PACING) -> None:
        self._redis, self._looking = connect(settings, alone=True), connect(settings, alone=True)
        self._prefix, self._pacing = prefix, pacing
        self._ttl_ms = settings.reply_ttl_s * 1_000
        self._script = self._redis.register_script(reply_scripts.WRITE)

    async def write(self, replies: Sequence[OutgoingReply]) -> list[RefusedReply]:
        """Write every reply whose request has none yet, and tell who waits. Returns those that are refused for good.

        Tried again for `reply_retry_s` while Redis is away or takes no writes. Raises: Unavailable after that,
        Misconfigured where Redis does not let us in.
        """
        refused: list[RefusedReply] = []
        left = [self._addressed(reply, refused) for reply in replies]
        ends_s = asyncio.get_running_loop().time() + self._pacing.reply_retry_s
        while left:
            results = list(zip(left, await self._results(left), strict=True))
            refused += [RefusedReply(reply, error) for reply, error in results if isinstance(error, BadRecord)]
            waits = [(reply, error) for reply, error in results if isinstance(error, Unavailable)]
            left = [reply for reply, _ in waits]
            if waits:
                await self._wait(waits[0][1], ends_s)
        return refused

    async def good(self, ids: Sequence[OwnedId]) -> dict[OwnedId, Answer]:
        """The good replies that are there already. A Redis that does not answer within `lookup_s` counts as none."""
        if not ids:
            return {}
        names = [keys.reply(self._prefix, *one) for one in ids]
        try:
            values: list[Any] = await ask(lambda: self._looking.mget(names), self._pacing.lookup_s)
        except HeadraceError as error:
            log.debug("replies of before are not looked up: %s", error)
            return {}
        found = {one: _answer(value) for one, value in zip(ids, values, strict=True)}
        return {one: answer for one, answer in found.items() if answer is not None}

    def _addressed(self, reply: OutgoingReply, refused: list[RefusedReply]) -> OutgoingReply:
        """`reply` to a stream that may be written. Workers refuse others at the door; nothing passes here."""
        try:
            keys.check_reply_stream(self._prefix, reply.stream)
        except BadRecord as error:
            refused.append(RefusedReply(reply, error))
            return replace(reply, stream="")
        return reply

    async def _wait(self, error: HeadraceError, ends_s: float) -> None:
        if asyncio.get_running_loop().time() > ends_s:
            raise Unavailable(f"Redis took no reply for {self._pacing.reply_retry_s:.0f} s: {error}") from error
        await reconnect(self._redis, error, self._pacing.close_s)
        await asyncio.sleep(self._pacing.redis_pause_s)

    async def _results(self, replies: Sequence[OutgoingReply]) -> list[HeadraceError | None]:
        """What became of each: None where it is written. Raises: Misconfigured."""
        results: list[HeadraceError | None]
        try:
            results = await self._write(replies)
        except BadRecord as error:
            if len(replies) > 1:  # it is one of them, and Redis does not say which
                return [result for reply in replies for result in await self._results([reply])]
            results = [error]
        except Unavailable as error:
            results = [error] * len(replies)
        for result in results:
            if isinstance(result, Misconfigured):
                raise result
        return results

    async def _write(self, replies: Sequence[OutgoingReply]) -> list[HeadraceError | None]:
        """One call of the script, and what it says of each reply. Raises: what `ask` raises."""
        names: list[str] = []
        error_ms = int(self._pacing.error_kept_s * 1e3)
        args: list[str | bytes | int] = [self._ttl_ms, error_ms, self._pacing.reply_stream_length]
        now_ms = time.time() * 1e3
        for r in replies:
            names += _names(self._prefix, (r.tenant, r.request_id))
            value = (b"+" if r.ok else b"-") + r.value
            args += [value, r.stream, r.tenant, r.request_id, r.digest, self._kept_ms(r, now_ms)]
        said = await ask(lambda: self._script(keys=names, args=args), self._pacing.redis_attempt_s)
        results: list[HeadraceError | None] = []
        for reply, one in zip(replies, said, strict=True):
            if one == reply_scripts.REUSED:
                results.append(await self._tell_reused(reply))
            else:
                results.append(told_as(one, unknown=BadRecord) if isinstance(one, Exception) else None)
        return results

    def _kept_ms(self, reply: OutgoingReply, now_ms: float) -> int:
        """How long a good reply is kept: where its caller alone reads it, until its deadline, and as long after it as
        its record may come again."""
        left_ms = max(0.0, reply.until_us / 1e3 - now_ms) + self._pacing.reply_once_s * 1e3
        return min(self._ttl_ms, int(left_ms)) if reply.until_us else self._ttl_ms

    async def _tell_reused(self, reply: OutgoingReply) -> IdReused:
        """The error, to the stream of who used an id again for another text while the first was in flight."""
        error = _reused((reply.tenant, reply.request_id))
        value = b"-" + wire.encode(wire.Prediction(
            reply.request_id, reply.tenant, ring="", lang="", text="", error=error.code, message=str(error)
        ))
        if reply.stream:
            fields: dict[Any, Any] = {"id": reply.request_id, "value": value, "tenant": reply.tenant}
            most = self._pacing.reply_stream_length
            await ask(lambda: self._redis.xadd(reply.stream, fields, maxlen=most), self._pacing.redis_attempt_s)
        return error

    async def close(self) -> None:
        """Disconnect."""
        await close(self._pacing.close_s / 2, self._redis.aclose, self._looking.aclose)


@dataclass(frozen=True)
class Claim:
    """What may be done under a caller's own id: `go` and publish, `wait` for another's, or take the `reply`."""

    verdict: str
    value: bytes


class ReplyReader:
    """A client's side: its own stream, read with one blocking call, and the reply keys as the safety net.

    `away`: what was wrong with Redis at the last call; empty where it answers. `claim`, `listen` and `ping` ask again
    while Redis is away: their caller sets the time (`asyncio.timeout`).
    """

    def __init__(self, settings: RedisSettings, prefix: str, client_id: str, pacing: Pacing = PACING) -> None:
        self._redis = connect(settings, connections=pacing.redis_connections)
        self._reading = connect(settings, alone=True)
        self._prefix, self._pacing = prefix, pacing
        self._ttl_ms = settings.reply_ttl_s * 1_000
        self.stream = keys.reply_stream(prefix, client_id)
        self.away = ""
        self._last: str | bytes = "0"
        self._claim = self._redis.register_script(reply_scripts.CLAIM)
        self._listen = self._redis.register_script(reply_scripts.LISTEN)

    async def ping(self) -> None:
        """Return once Redis answers. Raises: Misconfigured."""
        await self._patiently(lambda: self._redis.ping())

    async def read(self, block_ms: int) -> list[tuple[OwnedId, bytes]]:
        """The replies (whose, marked value) since the last call; after `block_ms` perhaps none. Raises: Unavailable."""
        found = await self._ask(
            lambda: self._reading.xread({self.stream: self._last}, count=500, block=block_ms), block_ms / 1e3
        )
        replies = []
        for _, entries in found.items() if isinstance(found, dict) else found or ():
            for entry_id, fields in _flat(entries):
                self._last = entry_id
                try:
                    replies.append(((fields[b"tenant"].decode(), fields[b"id"].decode()), fields[b"value"]))
                except (KeyError, ValueError):
                    log.warning("entry %r of the reply stream is no reply", entry_id)
        return replies

    async def values(self, ids: Sequence[OwnedId]) -> dict[OwnedId, bytes]:
        """The marked values at the reply keys that are there. Raises: Unavailable."""
        if not ids:
            return {}
        names = [keys.reply(self._prefix, *one) for one in ids]
        values: list[Any] = await self._ask(lambda: self._redis.mget(names))
        return {one: value for one, value in zip(ids, values, strict=True) if value is not None}

    async def claim(self, owned: OwnedId, digest: str, now_us: int, deadline_us: int) -> Claim:
        """Ask for the right to publish under a caller's own id. Raises: IdReused, BadRecord."""
        args: list[str | int] = [self.stream, now_us, deadline_us, self._ttl_ms, digest]
        verdict, value = await self._patiently(lambda: self._claim(keys=_names(self._prefix, owned), args=args))
        if verdict == b"reused":
            raise _reused(owned)
        return Claim(verdict.decode(), value)

    async def listen(self, owned: OwnedId) -> bytes | None:
        """The marked value if it is there; else it will come on this client's stream. Raises: BadRecord."""
        names = _names(self._prefix, owned)[:2]
        args: list[str | int] = [self.stream, self._ttl_ms]
        value: bytes | None = await self._patiently(lambda: self._listen(keys=names, args=args))
        return value

    async def _patiently(self, call: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """What Redis answers, asked again while it is away."""
        pause_s = self._pacing.redis_pause_s
        while True:
            try:
                return await self._ask(call)
            except Unavailable as error:
                await reconnect(self._redis, error, self._pacing.close_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._pacing.max_redis_pause_s)

    async def _ask(self, call: Callable[[], Awaitable[AnswerT]], blocks_s: float = 0.0) -> AnswerT:
        try:
            answer = await ask(call, self._pacing.redis_attempt_s + blocks_s)
        except Unavailable as error:
            self.away = str(error)
            raise
        except asyncio.CancelledError:  # the caller's time is over
            self.away = self.away or "Redis has not answered yet"
            raise
        self.away = ""
        return answer

    async def close(self) -> None:
        """Drop the stream and disconnect."""
        within_s = self._pacing.close_s / 3
        await close(within_s, lambda: self._redis.delete(self.stream), self._redis.aclose, self._reading.aclose)


def _reused(owned: OwnedId) -> IdReused:
    return IdReused(f"the id {owned[1]!r} stands for another text of tenant {owned[0]!r}; use a new one")


def _names(prefix: str, owned: OwnedId) -> list[str]:
    return [make(prefix, *owned) for make in (keys.reply, keys.waiters, keys.claim)]


def _answer(value: bytes | None) -> Answer | None:
    """The good prediction of a marked value. What cannot be read counts as none."""
    if value is None or value[:1] != b"+":
        return None
    try:
        return Answer(wire.decode(wire.Prediction, value[1:]), value[1:])
    except BadRecord:
        return None


def _flat(entries: list) -> list[tuple[bytes, dict[bytes, bytes]]]:  # type: ignore[type-arg]
    """Entries as (id, fields): RESP3 answers wrap a stream's entries in one more list than RESP2's."""
    wrapped = entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], tuple | list)
    return entries[0] if wrapped else entries
