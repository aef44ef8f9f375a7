"""A call to Redis ends when its caller's time is over, whatever the library makes of a cancellation."""

import asyncio
import contextlib

import pytest

from topology.stream.redis import ask


async def swallows():
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return "an answer"


async def turns_it_into_an_error():
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        raise ConnectionError("closed") from error


@pytest.mark.parametrize("call", [swallows, turns_it_into_an_error])
async def test_a_cancellation_comes_through(call):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await ask(call, 60)
            raise AssertionError("it went on")
