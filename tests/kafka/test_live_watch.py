"""The look at the live path on Apache Kafka: a worker that stands still, slow results, and a broker that is away."""

import asyncio
import dataclasses
import signal
import time

import pytest

pytest.importorskip("torch")

from headrace import Headrace
from infra.backfill.live import LiveWatch
from infra.stack import kafka
from tests.built import needs_redis
from tests.small import example, small_stack
from topology.errors import UnknownTenant
from topology.settings import Backfill

pytestmark = [
    pytest.mark.kafka,
    needs_redis,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
LINES = Backfill(live_p99_ms=60_000, live_age_s=5.0)  # a busy machine is slow; a frozen worker is not confused with it


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), kind="kafka") as (settings, supervisor, _):
        yield dataclasses.replace(settings, backfill=LINES), {c.name: c.process for c in supervisor.children}


async def predicted(client, count):
    """So many live utterances, each answered; the first of all waits until the head is known."""
    for left in range(100, 0, -1):
        try:
            await asyncio.gather(*(client.predict("acme", example(i).text, lang="en", deadline=60)
                                   for i in range(count)))
            return
        except UnknownTenant:
            assert left > 1
            await asyncio.sleep(0.2)


async def told(watch, wanted, seconds=90):
    """The first answer that `wanted` is true of."""
    end = time.monotonic() + seconds
    while not wanted(answer := await watch.look()):
        assert time.monotonic() < end, answer
        await asyncio.sleep(0.1)
    return answer


async def test_live_is_late_while_a_worker_stands_still_and_in_time_again_once_it_goes_on(running):
    settings, processes = running
    watch, head = LiveWatch(settings, "en"), processes["head-en-a-0"]
    await watch.start()
    async with Headrace(settings) as client:
        await predicted(client, 8)
        assert await told(watch, lambda answer: not answer) == ""
        head.send_signal(signal.SIGSTOP)
        try:
            ids = [await client.submit("acme", example(i).text, lang="en", deadline=240) for i in range(8)]
            late = await told(watch, bool)
        finally:
            head.send_signal(signal.SIGCONT)
        assert late.startswith("the oldest live record on headrace.en.a.embeddings has waited for "), late
        assert late.endswith(" s, longer than backfill.live_age_s = 5")
        await asyncio.gather(*(client.result("acme", one) for one in ids))
        assert (await told(watch, lambda answer: answer != late)).startswith(("live is in time again", "the oldest"))
        assert await told(watch, lambda answer: not answer) == ""
    await watch.stop()


async def test_live_is_late_while_its_results_take_longer_than_the_line(running):
    settings, _ = running
    lines = dataclasses.replace(LINES, live_p99_ms=0.01)
    watch = LiveWatch(dataclasses.replace(settings, backfill=lines), "en")
    async with Headrace(settings) as client:
        await predicted(client, 40)  # of before the watch began: a watch that begins reads none of it
        await watch.start()
        assert await watch.look() == ""
        answer = ""
        async with asyncio.timeout(60):
            while not answer:
                await predicted(client, 40)
                answer = await watch.look()
    assert answer.startswith("live p99 is ") and answer.endswith(" ms, above backfill.live_p99_ms = 0.01")
    assert await told(watch, lambda answer: not answer) == ""  # nobody asks any more
    await watch.stop()


async def test_a_broker_that_answers_nothing_is_not_taken_for_a_late_live_path(running):
    settings, processes = running
    watch, broker = LiveWatch(settings, "en"), next(p for name, p in processes.items() if name.startswith("kafka"))
    await watch.start()
    assert await told(watch, lambda answer: not answer) == ""
    broker.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            while watch._groups._clients is not None:  # parted with once it answers nothing
                watch._next_s = 0.0
                assert await watch.look() == ""
    finally:
        broker.send_signal(signal.SIGCONT)
    async with Headrace(settings) as client:
        await predicted(client, 1)
    assert await told(watch, lambda answer: not answer) == ""
    await watch.stop()
