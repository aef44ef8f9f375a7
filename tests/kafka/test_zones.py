"""Three zones on Apache Kafka, each a broker, an encoder worker and a head worker: one is lost under load, and back."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

pytest.importorskip("torch")

from benchmarks.arrivals import Arrival
from benchmarks.zone_faults import ZONES, Fault, Zones, drive
from headrace import Headrace
from infra.observe import observe
from infra.stack import kafka
from infra.status import troubles
from tests.built import needs_kernels
from tests.kafka.test_delivery import warm
from tests.small import example, small_stack
from topology import topics
from topology.errors import Misconfigured
from topology.settings import Topics
from topology.stream.admin import apply_topics
from topology.stream.bounded import BoundedReader, Replaced
from topology.stream.kafka import GroupConsumer, Producer, Rebalances, TopicReader
from topology.stream.production import apply_production
from topology.stream.records import Output

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
    needs_kernels,
]
BROKERS = '[broker]\nkind = "kafka"\nbrokers = 3'
TOPICS = "[topics]\nreplication = 3\nmin_insync_replicas = 2\n"
PER_S = 20


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with small_stack(home, connections=BROKERS, extra=TOPICS, workers=3, precision="int8", zones=ZONES) as parts:
        yield parts


def load(seconds):
    return [Arrival(n / PER_S, "acme", example(n).text) for n in range(int(seconds * PER_S))]


def told(run):
    """What happened, printed for who reads the log, and what must not have happened."""
    for what, part in run.summary()["parts"].items():
        print(f"{what}: {part['asked']} asked, p50 {part['p50_ms']:.0f} ms, p99 {part['p99_ms']:.0f} ms, recovered "
              f"after {part['recovery_s']:.1f} s")
    print(f"{sum(one.times > 1 for one in run.asked)} were told `unavailable` and asked again under the same id")
    print(f"{len(run.twice)} ids twice, in flight when it happened: {', '.join(run.twice) or 'none'}")
    assert (run.lost, run.refused, run.twice_unexplained) == ([], {}, [])
    assert [one.id for one in run.asked if one.times > 1] == []


async def lose(running, number, act, seconds, name, meanwhile=None):
    """Let `act` happen to a zone after a sixth of the load, and bring it back at two thirds."""
    settings, supervisor, _ = running
    zones, looking = Zones(supervisor), []

    def lost():
        act(zones, number)
        looking.append(asyncio.create_task(meanwhile()))

    faults = [Fault(1 / 6, "lost", lost if meanwhile else lambda: act(zones, number)),
              Fault(2 / 3, "back", lambda: zones.bring_back(number))]
    async with Headrace(settings) as client:
        await warm(client)
        told(await drive(client, zones, settings, "en", load(seconds), faults, name))
    await asyncio.gather(*looking)


async def test_production_names_every_topic_that_a_lost_zone_would_hurt(running):
    settings = running[0]
    found = await apply_production(settings)
    assert [one.differences for one in found.topics if one.differences] == [] and found.advice == []
    weak = replace(settings, prefix="weak", topics=Topics())
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker.bootstrap)
    await admin.start()
    unclean = {"min.insync.replicas": "2", "unclean.leader.election.enable": "true"}
    doubtful, shut = topics.dead_letters("weak"), topics.shadows("weak")
    await admin.create_topics([NewTopic(doubtful, 1, 3, topic_configs=unclean),
                               NewTopic(shut, 1, 1, topic_configs={"min.insync.replicas": "2"})])
    while not {doubtful, shut} <= set(await admin.list_topics()):
        pass
    await admin.close()
    assert {one.name: one.differences for one in await apply_topics(weak, topics.wanted(weak))}[shut] == (
        "min.insync.replicas 2 of 1 replicas: every write is refused",)
    told = {one.name: "; ".join(one.differences) for one in (await apply_production(weak)).topics}
    assert set(told) == {spec.name for spec in topics.wanted(weak)}
    assert "unclean.leader.election.enable: true, wanted false" in told.pop(doubtful)
    assert "every write is refused" in told.pop(shut)
    assert all("replication: 1, wanted 3; min.insync.replicas: 1, wanted 2" in one for one in told.values())
    config = Path(settings.state_dir).parent / "headrace.toml"
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "topics", "apply", "--production"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


async def test_a_worker_that_knows_its_zone_fetches_there(running):
    settings, topic = running[0], topics.utterances("headrace", "en", "backfill")
    producer, shares = Producer(settings.broker), {}
    await producer.start()
    for rack in ("", "b", "nowhere"):
        consumer = GroupConsumer(replace(settings.broker, rack=rack), topic, f"readers-{rack}")
        await consumer.start(Rebalances())
        try:
            async with asyncio.timeout(60):
                read = 0
                for part in range(20):
                    await producer.send([Output(topic, b"%d" % i, b"x" * 1_000) for i in range(20)])
                    while read < 20 * (part + 1) * (len(shares) + 1):
                        read += len(await consumer.take(100, wait_ms=100))
        finally:
            await consumer.stop()
        told = consumer.zones.stats()
        shares[rack] = told.get("fetched_bytes_b", 0) / told["fetched_bytes"], told["other_zone_bytes"]
    await producer.stop()
    assert shares["b"] == (1.0, 0.0)
    assert shares[""][0] < 0.8 and shares[""][1] == 0
    assert shares["nowhere"][0] < 0.8 and shares["nowhere"][1] > 400_000


async def test_a_replica_that_is_behind_its_leader_is_no_lost_record(running, caplog):
    """What a replica says where it has no such offset yet: the leader's log decides."""
    settings, topic = running[0], topics.predictions("headrace", "en", "a", "backfill")
    producer, place = Producer(settings.broker), TopicPartition(topic, 0)
    await producer.start()
    await producer.send([Output(topic, b"%d" % i, b"x") for i in range(200)])
    await producer.stop()
    reader, bounded = TopicReader(settings.broker, topic), BoundedReader(settings.broker, None)
    await reader.start()
    await bounded.start()
    try:
        read = [record for record in await reader.read_to_end() if record.partition == 0]
        await reader._jumped(place, 5)
        again = [record for record in await reader.read_to_end() if record.partition == 0]
        assert [one.offset for one in again] == [one.offset for one in read if one.offset >= 5]
        await bounded._jumped(place, 5)  # raises Replaced where the leader has no such offset
        with pytest.raises(Replaced):
            await bounded._jumped(place, 1_000)
    finally:
        await reader.stop()
        await bounded.stop()
    assert "made anew" not in caplog.text


async def test_a_zone_is_killed_whole_and_comes_back_and_every_id_is_replied_and_in_the_results(running):
    settings = running[0]

    async def looked_at():
        """While it is away: `status` names its broker and says what goes on, and production refuses the cluster."""
        async with asyncio.timeout(60):
            while not (seen := await observe(settings)).replicas.away:
                pass
        assert seen.replicas.away == (2,) and not seen.replicas.leaderless and not seen.replicas.refusing
        assert any("broker 2 is away" in one and "Nothing is lost" in one for one in troubles(settings, seen))
        with pytest.raises(Misconfigured, match="has 2 of the 3 brokers"):
            await apply_production(settings)

    await lose(running, 1, Zones.kill, 24, "killed", looked_at)


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(ZONES)))
@pytest.mark.parametrize("act", [Zones.kill, Zones.freeze], ids=["killed", "broker frozen"])
async def test_each_zone_may_be_lost_and_its_broker_may_freeze(running, number, act):
    await lose(running, number, act, 60, f"{act.__name__}-{number}")
