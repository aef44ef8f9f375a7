"""The door to Redis: connections, and what a failed call means to whoever made it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, MasterDownError, ReadOnlyError, RedisError

from topology.errors import BadRecord, HeadraceError, Misconfigured, Unavailable
from topology.pacing import PACING
from topology.settings import Redis as RedisSettings
from topology.stream.failures import Fate, fate_of
from topology.stream.security import redis_security
from topology.stream.sign_on import redis_refusal

log = logging.getLogger(__name__)

AnswerT = TypeVar("AnswerT")


def connect(settings: RedisSettings, alone: bool = False, connections: int = PACING.redis_connections) -> Redis:
    """A Redis client of so many connections; a call beyond them waits for one, in its caller's own time.

    `alone`: one connection for one caller at a time, which spares a quarter of a call's cost.
    """
    retry = Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))  # a connection that went away while idle
    options: dict[str, Any] = {
        "decode_responses": False, "socket_connect_timeout": 5, "health_check_interval": 30, "retry": retry,
    }
    if alone:
        return Redis.from_url(**redis_security(settings), single_connection_client=True, **options)
    pool = BlockingConnectionPool.from_url(
        **redis_security(settings), max_connections=connections, timeout=None, **options
    )
    return Redis.from_pool(pool)


async def ask(call: Callable[[], Awaitable[AnswerT]], within_s: float) -> AnswerT:
    """What Redis answers. Raises: BadRecord, Misconfigured, Unavailable (also after `within_s` without an answer).

    A cancellation always comes through: redis-py swallows some (2 in 100 of calls whose time ends while they wait for a
    connection), and who was cancelled once is not cancelled again: it would wait on, beyond its deadline.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        async with asyncio.timeout(within_s):
            answer = await call()
    except (RedisError, OSError, TimeoutError) as error:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise told_as(error) from error
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


def told_as(error: BaseException, unknown: type[HeadraceError] = Unavailable) -> HeadraceError:
    """What an error of Redis means to whoever called. `unknown`: an error of which nothing is known."""
    if (refused := redis_refusal(error)) is not None:
        return Misconfigured(refused)
    said = str(error) or "no answer in time"
    match fate_of(error):
        case Fate.RECORD:
            told: HeadraceError = BadRecord(f"Redis refuses it: {said}")
        case Fate.CONFIGURATION:
            told = Misconfigured(f"[redis]: {said}")
        case Fate.MOMENT:
            told = Unavailable(f"Redis: {said}")
        case Fate.PROCESS:
            told = unknown(f"Redis: {said}")
    told.__cause__ = error
    return told


async def reconnect(redis: Redis, after: HeadraceError, within_s: float) -> None:
    """Leave a server that became a replica: another one may have its address now."""
    if isinstance(after.__cause__, ReadOnlyError | MasterDownError):
        alone = redis.single_connection_client
        await close(within_s, lambda: redis.connection_pool.disconnect(inuse_connections=alone))


async def close(within_s: float, *steps: Callable[[], Awaitable[object]]) -> None:
    """Take each step, in so many seconds: a Redis that is away keeps nobody from closing."""
    for step in steps:
        try:
            async with asyncio.timeout(within_s):
                await step()
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("left to expire: %s", error)
