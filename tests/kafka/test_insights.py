"""Insights on Apache Kafka: counts equal those taken from the topic, whatever happens to the processes that count."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

pytest.importorskip("faust")
pytest.importorskip("pyarrow")

from infra.insights.usage import span_of, usage
from infra.insights.windows import GRAINS
from infra.stack import kafka
from infra.stack.supervise import Supervisor
from topology import addresses, topics, wire
from topology.errors import Unavailable
from topology.stream.admin import apply_topics
from topology.stream.kafka import Producer, TopicReader
from topology.stream.records import Output

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
CONFIG = """
state_dir = "state"
[broker]
kind = "kafka"
[redis]
kind = "external"
url = "redis://127.0.0.1:1"
[insights]
export = "{export}"
[rings.en]
languages = ["en"]
encoder = "none"
[rings.en.cells.a]
partitions = 4
[rings.en.cells.b]
partitions = 2
"""
CELLS = ("a", "b")
DAY_S = 86_400
SECONDS = 90  # for a machine that is busy


def prediction(number, now_us):
    """One of a mix of tenants, intents, errors and times: of today, and of the hours before."""
    dice = random.Random(number)
    tenant, cell = f"tenant-{dice.randrange(12)}", dice.choice(CELLS)
    submitted = now_us - dice.randrange(3 * 3_600) * 1_000_000
    if dice.random() < 0.1:
        code = dice.choice(("deadline_exceeded", "overloaded", "unknown_tenant"))
        return cell, wire.Prediction(f"id-{number}", tenant, "en", "en", "", error=code, message="no")
    stages = {"submitted": submitted, "received": submitted + 900, "encoded": submitted + 9_000,
              "predicted": submitted + 12_000}
    return cell, wire.Prediction(
        f"id-{number}", tenant, "en", "en", "text", intent=dice.choice(("on", "off", "wait")),
        confidence=dice.random(), out_of_scope=dice.random() < 0.2, head_version="v1", stages=stages,
    )


class System:
    """An Apache Kafka with its topics, and the processes that count."""

    def __init__(self, config, settings):
        self.config, self.settings, self.processes, self.sent = config, settings, [], 0

    def topic(self, cell):
        return topics.predictions(self.settings.prefix, "en", cell)

    def changelog(self, cell):
        return topics.insights(self.settings.prefix, "en", cell)

    def start(self, *more):
        place = self.config.parent / f"insights-{len(self.processes)}"
        log = place.with_suffix(".log").open("w+")
        process = subprocess.Popen([sys.executable, "-m", "infra.insights", "--config", str(self.config), *more],
                                   stdout=log, stderr=subprocess.STDOUT,
                                   env={**os.environ, "HEADRACE_READY_FILE": str(place.with_suffix(".ready"))})
        process.log, process.ready = log, place.with_suffix(".ready")
        self.processes.append(process)
        return process

    async def until_ready(self, process):
        end = time.monotonic() + SECONDS
        while not process.ready.exists():
            assert process.poll() is None and time.monotonic() < end, self.logs()
            await asyncio.sleep(0.1)

    async def send(self, count):
        producer = Producer(self.settings.broker)
        await producer.start()
        try:
            now_us = time.time_ns() // 1_000
            made = [prediction(self.sent + i, now_us) for i in range(count)]
            outputs = [Output(self.topic(cell), one.tenant.encode(), wire.encode(one)) for cell, one in made]
            for at in range(0, count, 500):
                assert not await producer.send(outputs[at:at + 500])
        finally:
            await producer.stop()
        self.sent += count

    async def on_topics(self, grain):
        """(tenant, start) → counts, taken from the topics themselves."""
        found = {}
        for cell in CELLS:
            reader = TopicReader(self.settings.broker, self.topic(cell))
            await reader.start()
            for record in await reader.read_to_end():
                one = wire.decode(wire.Prediction, record.value)
                us = one.stages.get("submitted") or record.timestamp_ms * 1_000
                start = us // 1_000_000 // GRAINS[grain].seconds * GRAINS[grain].seconds
                told = found.setdefault((one.tenant, start), Counter())
                told[one.error or "ok"] += 1
                told["out_of_scope"] += one.out_of_scope
            await reader.stop()
        return {key: +told for key, told in found.items()}

    async def counted(self, grain):
        """The same, as the insights' tables have it."""
        now_s = time.time()
        rows = await usage(self.settings, ["en"], span_of(now_s - 2 * DAY_S, now_s + 3_600, now_s, grain), each=True)
        return {(row.tenant, row.start_s): +Counter({
            **row.window.errors, "ok": row.window.predictions, "out_of_scope": row.window.out_of_scope,
        }) for row in rows}

    async def counts_are_right(self):
        """Wait until the days are, then look at the smaller windows: all is counted, nothing twice."""
        wanted, end = await self.on_topics("day"), time.monotonic() + SECONDS
        while (found := await self.counted("day")) != wanted:
            total = sum(c.total() - c["out_of_scope"] for c in found.values())
            assert total <= self.sent, f"counted {total} of {self.sent}"
            assert time.monotonic() < end and self.some_run(), (f"counted {total} of {self.sent}", self.logs())
            await asyncio.sleep(0.2)
        for grain in ("hour", "minute"):
            assert await self.counted(grain) == await self.on_topics(grain)

    async def until_the_topics_are_made_anew(self):
        end = time.monotonic() + SECONDS
        while True:
            try:
                await apply_topics(self.settings, topics.wanted(self.settings))
                return
            except Unavailable:  # it is still being deleted
                assert time.monotonic() < end
                await asyncio.sleep(0.2)

    async def until_some_are_counted(self, more):
        end = time.monotonic() + SECONDS
        while sum(c.total() - c["out_of_scope"] for c in (await self.counted("day")).values()) < more:
            assert time.monotonic() < end and self.some_run(), self.logs()
            await asyncio.sleep(0.05)

    def some_run(self):
        return any(one.poll() is None for one in self.processes)

    def ended(self, process, seconds=30):
        code = process.wait(seconds)
        process.log.seek(0)
        return code, process.log.read()

    def logs(self):
        return "\n".join(f"--- {one.args} {one.poll()}\n{_tail(one.log)}" for one in self.processes)


def _tail(log):
    return Path(log.name).read_text()[-4_000:]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    home = tmp_path_factory.mktemp("kafka")
    supervisor = Supervisor(home)
    try:
        yield kafka.start_brokers(supervisor, home, 1)
    finally:
        supervisor.stop()


@pytest.fixture
def system(broker, tmp_path, request):
    config = tmp_path / "headrace.toml"
    name = "".join(letter for letter in request.node.name if letter.isalnum())[:40]
    config.write_text(f'prefix = "{name}"\n' + CONFIG.format(export=tmp_path / "export"))
    addresses.write(addresses.load_placed(config), broker, "")
    settings = addresses.load_running(config)
    asyncio.run(apply_topics(settings, topics.wanted(settings)))
    it = System(config, settings)
    try:
        yield it
    finally:
        for one in it.processes:
            one.kill()
            one.wait()


async def test_counts_are_those_of_the_topic_and_sigterm_ends_it(system):
    process = system.start()
    await system.send(3_000)
    await system.counts_are_right()
    process.send_signal(signal.SIGTERM)
    code, log = system.ended(process)
    assert code == 0, log


async def test_a_kill_in_mid_window_and_a_restart_count_nothing_twice_and_leave_nothing_out(system):
    await system.send(6_000)
    for some in (500, 2_500):
        process = system.start()
        await system.until_some_are_counted(some)
        process.kill()
        process.wait()
        await system.send(500)
    system.start()
    await system.counts_are_right()


@pytest.mark.long
async def test_a_second_process_that_joins_and_leaves_or_is_killed_changes_no_count(system):
    system.start()
    await system.send(1_500)
    await system.until_some_are_counted(500)
    second = system.start()
    await system.send(1_500)
    await system.until_ready(second)
    await system.counts_are_right()
    second.send_signal(signal.SIGTERM)
    await system.send(1_500)
    assert system.ended(second)[0] == 0
    third = system.start()
    await system.until_ready(third)
    await system.send(1_500)
    await system.until_some_are_counted(5_000)
    third.kill()
    await system.send(1_500)
    await system.counts_are_right()


@pytest.mark.long
async def test_a_process_that_was_frozen_while_another_counted_on_changes_no_count(system):
    frozen = system.start()
    await system.until_ready(frozen)
    await system.send(1_000)
    await system.until_some_are_counted(300)
    frozen.send_signal(signal.SIGSTOP)
    await system.send(1_000)
    other = system.start()
    await system.until_some_are_counted(2_000)
    frozen.send_signal(signal.SIGCONT)
    await system.send(1_000)
    await system.counts_are_right()
    other.kill()
    frozen.kill()
    system.start()
    await system.send(100)
    await system.counts_are_right()


@pytest.mark.long
async def test_a_topic_made_anew_is_counted_beside_the_one_before(system):
    process = system.start()
    await system.send(1_000)
    await system.counts_are_right()
    before = await system.counted("day")
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.broker.bootstrap)
    await admin.start()
    await admin.delete_topics([system.topic(cell) for cell in CELLS])
    await admin.close()
    await system.until_the_topics_are_made_anew()
    await system.send(1_500)
    now, end = await system.on_topics("day"), time.monotonic() + SECONDS
    wanted = {key: before.get(key, Counter()) + now.get(key, Counter()) for key in {*before, *now}}
    while (found := await system.counted("day")) != wanted:
        assert time.monotonic() < end, (found, wanted, system.logs())
        if process.poll() is not None:  # it saw the new topic before its group formed anew
            assert process.returncode == 75, system.logs()
            process = system.start()
        await asyncio.sleep(0.2)


@pytest.mark.long
async def test_windows_lost_with_the_changelogs_beginning_are_counted_anew(system):
    process = system.start()
    await system.send(2_000)
    await system.counts_are_right()
    process.send_signal(signal.SIGTERM)
    assert system.ended(process)[0] == 0
    await delete_half(system)
    assert await system.counted("day") != await system.on_topics("day")
    process = system.start()
    await system.send(1_000)
    await system.counts_are_right()
    process.kill()
    process.wait()
    system.start()
    await system.send(100)
    await system.counts_are_right()


async def delete_half(system):
    """Of every changelog: its beginning; of the second cell's everything."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.broker.bootstrap)
    await admin.start()
    try:
        for cell in CELLS:  # Kafka deletes no records of a topic that is compacted alone
            policy = {"cleanup.policy": "compact,delete"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, system.changelog(cell), policy)])
            reader = TopicReader(system.settings.broker, system.changelog(cell))
            await reader.start()
            ends = Counter()
            for record in await reader.read_to_end():
                ends[record.partition] = max(ends[record.partition], record.offset + 1)
            await reader.stop()
            await admin.delete_records({
                TopicPartition(system.changelog(cell), number): RecordsToDelete(end if cell == "b" else end * 2 // 3)
                for number, end in ends.items()
            })
    finally:
        await admin.close()


def typed(system, *words):
    command = [sys.executable, "-m", "infra.cli", "--config", str(system.config), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_usage_as_typed_and_exported_says_the_same(system):
    process = system.start()
    await system.send(800)
    await system.counts_are_right()
    process.send_signal(signal.SIGTERM)
    assert system.ended(process)[0] == 0
    told = json.loads(await asyncio.to_thread(typed, system, "usage", "--from", "2d", "--json"))
    assert sum(row["utterances"] for row in told["usage"]) == 800
    assert "800 utterances of 12 tenants" in await asyncio.to_thread(typed, system, "usage", "--from", "2d")
    wanted, end = Counter(), time.monotonic() + SECONDS
    for (tenant, _), counts in (await system.on_topics("day")).items():
        wanted[tenant] += counts.total() - counts["out_of_scope"]
    system.start()  # exports what the one before did not, first of all
    while (exported := [_exported(system, grain) for grain in GRAINS]) != [wanted] * len(GRAINS):
        assert time.monotonic() < end and system.some_run(), (exported, wanted, system.logs())
        await asyncio.sleep(0.2)


def _exported(system, grain):
    found = Counter()
    from pyarrow.parquet import read_table  # here: the rest needs no pyarrow

    for place in (system.config.parent / "export" / grain).rglob("*.parquet"):
        for row in read_table(place, partitioning=None).to_pylist():
            found[row["tenant"]] += row["utterances"]
    return found


async def test_topics_that_do_not_fit_are_named_and_end_it_at_once(system):
    wrong = system.config.read_text().replace("partitions = 4", "partitions = 3")
    system.config.write_text(wrong)
    code, log = system.ended(system.start())
    assert code == 2
    assert "partitions: 4, wanted 3: headrace topics apply" in log.splitlines()[-1]
