"""Replies survive a Redis that goes and comes back: who writes and who reads each has one connection, made anew."""

import asyncio

import pytest

from infra.stack.embedded import start_redis
from infra.stack.supervise import Supervisor
from tests.built import needs_redis
from topology.errors import Unavailable
from topology.settings import Redis
from topology.stream.records import Reply
from topology.stream.replies import ReplyReader, ReplyWriter, connect

pytestmark = needs_redis


async def test_a_redis_that_is_killed_and_comes_back_is_written_and_read_again(tmp_path):
    supervisor = Supervisor(tmp_path)
    settings = Redis(url=start_redis(supervisor, tmp_path, "embedded"))
    writer, reader = ReplyWriter(settings, "p"), ReplyReader(settings, "p", "me")
    redis = supervisor.children[0]
    try:
        await writer.write([Reply(reader.stream, "first", b"1", ok=True)])
        assert await reader.read(block_ms=1_000) == [("first", b"+1")]
        redis.process.kill()
        redis.process.wait(10)
        with pytest.raises(Unavailable):
            await reader.read(block_ms=1_000)
        writing = asyncio.create_task(writer.write([Reply(reader.stream, "second", b"2", ok=True)]))
        assert supervisor.restart_ended() == ["redis"]
        await asyncio.wait_for(writing, 20)
        assert await reader.read(block_ms=1_000) == [("second", b"+2")]
    finally:
        await writer.close()
        await reader.close()
        supervisor.stop()


async def somebody_is_blocked(settings):
    """Returns once Redis holds a blocking call."""
    redis = connect(settings)
    while (await redis.info("clients"))["blocked_clients"] == 0:
        pass  # each question is a round trip
    await redis.aclose()


async def test_a_read_that_was_cancelled_leaves_nothing_behind_for_the_next(tmp_path):
    supervisor = Supervisor(tmp_path)
    settings = Redis(url=start_redis(supervisor, tmp_path, "embedded"))
    writer, reader = ReplyWriter(settings, "p"), ReplyReader(settings, "p", "me")
    try:
        assert await reader.read(block_ms=1) == []
        reading = asyncio.create_task(reader.read(block_ms=60_000))
        await asyncio.wait_for(somebody_is_blocked(settings), 10)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await writer.write([Reply(reader.stream, "first", b"1", ok=True)])
        assert await reader.read(block_ms=1_000) == [("first", b"+1")]
    finally:
        await writer.close()
        await reader.close()
        supervisor.stop()
