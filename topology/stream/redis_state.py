"""Redis as an operator sees it: whether it answers and takes writes, and how full it is."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from redis.exceptions import RedisError

from topology import keys
from topology.errors import Unavailable
from topology.pacing import PACING
from topology.settings import Redis as RedisSettings
from topology.stream.redis import connect


@dataclass(frozen=True)
class RedisState:
    """What Redis says of itself. `max_bytes` 0: no limit. `refusal`: why it takes no write, in its own words."""

    version: str
    used_bytes: int
    max_bytes: int
    policy: str
    refusal: str = ""


async def read_redis(settings: RedisSettings, prefix: str) -> RedisState:
    """The state of Redis, after a write that it forgets in a second: full, read-only and forbidden ones all refuse it.

    Raises: Unavailable where it does not answer within `pacing.status_s`.
    """
    redis = connect(settings)
    try:
        async with asyncio.timeout(PACING.status_s):
            await redis.ping()
            refusal = ""
            try:
                await redis.set(keys.status(prefix), b"", px=1_000)
            except RedisError as error:
                refusal = str(error)
            told: dict[str, object] = {}
            with contextlib.suppress(RedisError):  # an ACL user may be forbidden to ask
                told = await redis.info()
    except TimeoutError as error:
        raise Unavailable(f"Redis did not answer in {PACING.status_s:g} s") from error
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis does not answer: {str(error).rstrip('.')}") from error
    finally:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(PACING.status_close_s):
                await redis.aclose()
    return RedisState(
        str(told.get("redis_version", "?")), int(str(told.get("used_memory", 0))), int(str(told.get("maxmemory", 0))),
        str(told.get("maxmemory_policy", "?")), refusal,
    )
