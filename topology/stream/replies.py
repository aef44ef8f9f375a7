"""The door to Redis: replies, written once each, and read by the caller from one stream of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from topology import keys
from topology.errors import Misconfigured, Unavailable
from topology.settings import Redis as RedisSettings
from topology.stream.records import Reply
from topology.stream.security import redis_security
from topology.stream.sign_on import redis_refusal

log = logging.getLogger(__name__)

STREAM_LENGTH = 20_000
ERROR_TTL_S = 60
RETRY_S = 30.0

# The first good reply wins; an error never replaces a reply, and a good reply may replace an error. One call writes
# many: KEYS are three a reply (reply, waiters, claim), ARGV the time to live, then three a reply (value, stream, id).
_WRITE = f"""
local told = {{}}
for i = 0, #KEYS / 3 - 1 do
  local reply, waiters, claim = KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3]
  local value, stream, id = ARGV[3 * i + 2], ARGV[3 * i + 3], ARGV[3 * i + 4]
  local old = redis.call('GET', reply)
  local is_error = string.sub(value, 1, 1) == '-'
  if not (old and (is_error or string.sub(old, 1, 1) == '+')) then
    redis.call('SET', reply, value, 'PX', is_error and {ERROR_TTL_S * 1000} or ARGV[1])
    if is_error then redis.call('DEL', claim) end
    local streams = redis.call('SMEMBERS', waiters)
    if stream ~= '' then streams[#streams + 1] = stream end
    local once = {{}}
    for _, name in ipairs(streams) do
      if not once[name] then
        once[name], told[name] = true, true
        redis.call('XADD', name, 'MAXLEN', '~', {STREAM_LENGTH}, '*', 'id', id, 'value', value)
      end
    end
    if #streams > 0 then redis.call('DEL', waiters) end
  end
end
for name in pairs(told) do redis.call('PEXPIRE', name, ARGV[1]) end
return 1
"""

# A caller's own id: the reply if it is there; else wait if somebody's request is on its way; else go.
_CLAIM = """
local reply = redis.call('GET', KEYS[1])
if reply and string.sub(reply, 1, 1) == '+' then return {'reply', reply} end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local held = redis.call('GET', KEYS[3])
if held and tonumber(held) > tonumber(ARGV[2]) then return {'wait', ''} end
if reply then redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
return {'go', ''}
"""

# A late listener: the reply if it is there, else be told when it comes.
_LISTEN = """
local reply = redis.call('GET', KEYS[1])
if reply then return reply end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return false
"""


class ReplyWriter:
    """The workers' side: one round trip for a batch of replies."""

    def __init__(self, settings: RedisSettings, prefix: str) -> None:
        self._redis = connect(settings, alone=True)
        self._prefix = prefix
        self._ttl_ms = settings.reply_ttl_s * 1_000
        self._script = self._redis.register_script(_WRITE)

    async def write(self, replies: Sequence[Reply]) -> None:
        """Write every reply whose id has none yet, and tell who waits.

        Tried again for 30 s while Redis is away. Raises: Unavailable after that.
        """
        if not replies:
            return None
        deadline = asyncio.get_running_loop().time() + RETRY_S
        while True:
            try:
                return await self._write(replies)
            except ResponseError:
                raise
            except (RedisError, OSError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable(f"Redis took no reply for {RETRY_S:.0f} s: {error}") from error
                await asyncio.sleep(0.2)

    async def _write(self, replies: Sequence[Reply]) -> None:
        names: list[str] = []
        values: list[str | bytes | int] = [self._ttl_ms]
        for reply in replies:
            names += [make(self._prefix, reply.request_id) for make in (keys.reply, keys.waiters, keys.claim)]
            values += [(b"+" if reply.ok else b"-") + reply.value, reply.stream, reply.request_id]
        await self._script(keys=names, args=values)

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()


@dataclass(frozen=True)
class Claim:
    """What may be done under a caller's own id: `go` and publish, `wait` for another's, or take the `reply`."""

    verdict: str
    value: bytes


class ReplyReader:
    """A client's side: its own stream, read with one blocking call, and the reply keys as the safety net."""

    def __init__(self, settings: RedisSettings, prefix: str, client_id: str) -> None:
        self._redis, self._reading = connect(settings), connect(settings, alone=True)
        self._prefix = prefix
        self._ttl_ms = settings.reply_ttl_s * 1_000
        self.stream = keys.reply_stream(prefix, client_id)
        self._last: str | bytes = "0"
        self._claim = self._redis.register_script(_CLAIM)
        self._listen = self._redis.register_script(_LISTEN)

    async def ping(self) -> None:
        """Raises: Unavailable where Redis does not answer."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            if (refused := redis_refusal(error)) is not None:
                raise Misconfigured(refused) from error
            raise Unavailable(f"Redis does not answer: {error}") from error

    async def read(self, block_ms: int) -> list[tuple[str, bytes]]:
        """The replies (id, marked value) since the last call; after `block_ms` perhaps none. Raises: Unavailable."""
        try:
            found = await self._reading.xread({self.stream: self._last}, count=500, block=block_ms)
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        replies = []
        for _, entries in found.items() if isinstance(found, dict) else found or ():
            for entry_id, fields in _flat(entries):
                self._last = entry_id
                replies.append((fields[b"id"].decode(), fields[b"value"]))
        return replies

    async def values(self, request_ids: Sequence[str]) -> dict[str, bytes]:
        """The marked values at the reply keys that are there. Raises: Unavailable."""
        if not request_ids:
            return {}
        try:
            values: list[Any] = await self._redis.mget([keys.reply(self._prefix, i) for i in request_ids])
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        return {i: v for i, v in zip(request_ids, values, strict=True) if v is not None}

    async def claim(self, request_id: str, now_us: int, deadline_us: int) -> Claim:
        """Ask for the right to publish under a caller's own id. Raises: Unavailable."""
        try:
            verdict, value = await self._claim(
                keys=self._names(request_id), args=[self.stream, now_us, deadline_us, self._ttl_ms]
            )
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        return Claim(verdict.decode(), value)

    async def listen(self, request_id: str) -> bytes | None:
        """The marked value if it is there; else it will come on this client's stream. Raises: Unavailable."""
        try:
            value: bytes | None = await self._listen(keys=self._names(request_id)[:2], args=[self.stream, self._ttl_ms])
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        return value

    def _names(self, request_id: str) -> list[str]:
        return [make(self._prefix, request_id) for make in (keys.reply, keys.waiters, keys.claim)]

    async def close(self) -> None:
        """Drop the stream and disconnect."""
        try:
            await self._redis.delete(self.stream)
        except (RedisError, OSError) as error:
            log.debug("the reply stream is left to expire: %s", error)
        await self._redis.aclose()
        await self._reading.aclose()


def connect(settings: RedisSettings, alone: bool = False) -> Redis:
    """A connection pool to the Redis that `settings` names. `alone`: one connection for one caller at a time, which
    spares a quarter of a call's cost."""
    return Redis.from_url(
        **redis_security(settings), decode_responses=False, socket_connect_timeout=5, health_check_interval=30,
        single_connection_client=alone,
    )


def _flat(entries: list) -> list[tuple[bytes, dict[bytes, bytes]]]:  # type: ignore[type-arg]
    """Entries as (id, fields): RESP3 answers wrap a stream's entries in one more list than RESP2's."""
    wrapped = entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], tuple | list)
    return entries[0] if wrapped else entries
