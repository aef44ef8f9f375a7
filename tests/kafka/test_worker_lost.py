"""One encoder worker of two is lost: the other has its partitions within the session timeout."""

import asyncio
import os
import signal
import time

import pytest

pytest.importorskip("torch")

from headrace import Headrace
from infra.stack import kafka
from tests.built import needs_redis
from tests.small import example, small_stack

pytestmark = [
    pytest.mark.kafka, needs_redis, pytest.mark.timeout(600),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
BOUND_S = 45  # beside the session timeout, for a machine that is busy


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), kind="kafka", workers=2) as (settings, supervisor, _):
        yield settings, supervisor


async def ask_all(client, deadline):
    """Utterances for every partition: those without a key go four to each in turn."""
    return await asyncio.gather(*(
        client.predict("acme", example(n).text, lang="en", deadline=deadline) for n in range(64)))


@pytest.mark.parametrize("number", [
    pytest.param(signal.SIGKILL, id="killed"), pytest.param(signal.SIGSTOP, id="frozen"),
    pytest.param(signal.SIGTERM, id="left", marks=pytest.mark.long),
])
async def test_the_worker_that_is_left_replies_to_everything_after_the_session_timeout(running, number):
    settings, supervisor = running
    lost = next(child for child in supervisor.children if child.name == "encoder-en-0")
    async with Headrace(settings) as client:
        await ask_all(client, 120)
        os.kill(lost.process.pid, number)  # and nobody calls `restart_ended`
        try:
            replies = await ask_all(client, settings.broker.session_timeout_ms / 1e3 + BOUND_S)
        finally:
            os.kill(lost.process.pid, signal.SIGCONT)
        assert [one.intent for one in replies] == [example(n).intent for n in range(64)]
    lost.process.kill()
    lost.process.wait()
    lost.ready.unlink(missing_ok=True)
    supervisor.restart_ended()
    end = time.monotonic() + 120
    while not lost.ready.exists():
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
