"""Three zones on Apache Kafka, each a broker, an encoder worker and a head worker: one is lost under load, and back."""

import pytest

pytest.importorskip("torch")

from benchmarks.arrivals import Arrival
from benchmarks.zone_faults import ZONES, Fault, Zones, drive
from headrace import Headrace
from infra.stack import kafka
from tests.built import needs_kernels
from tests.kafka.test_delivery import warm
from tests.small import example, small_stack

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
    print(f"{len(run.twice)} ids twice, in flight when it happened: {', '.join(run.twice) or 'none'}")
    assert [(one.id, one.error) for one in run.asked if one.error] == []
    assert (run.lost, run.twice_unexplained) == ([], [])


async def lose(running, number, act, seconds, name):
    """Let `act` happen to a zone after a sixth of the load, and bring it back at two thirds."""
    settings, supervisor, _ = running
    zones = Zones(supervisor)
    faults = [Fault(1 / 6, "lost", lambda: act(zones, number)), Fault(2 / 3, "back", lambda: zones.bring_back(number))]
    async with Headrace(settings) as client:
        await warm(client)
        told(await drive(client, zones, settings, "en", load(seconds), faults, name))


async def test_a_zone_is_killed_whole_and_comes_back_and_every_id_is_replied_and_in_the_results(running):
    await lose(running, 1, Zones.kill, 24, "killed")


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(ZONES)))
@pytest.mark.parametrize("act", [Zones.kill, Zones.freeze], ids=["killed", "broker frozen"])
async def test_each_zone_may_be_lost_and_its_broker_may_freeze(running, number, act):
    await lose(running, number, act, 60, f"{act.__name__}-{number}")
