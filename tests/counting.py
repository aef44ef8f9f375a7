"""An Apache Kafka with the topics of two cells, and the processes that count their predictions."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from infra.insights.usage import span_of, usage
from infra.insights.windows import GRAINS
from topology import addresses, topics, wire
from topology.errors import Unavailable
from topology.stream.admin import apply_topics
from topology.stream.kafka import Producer, TopicReader
from topology.stream.records import Output

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
        now_us = time.time_ns() // 1_000
        await self.publish([prediction(self.sent + i, now_us) for i in range(count)])

    async def publish(self, made):
        """`made`: (cell, prediction) of each."""
        producer, count = Producer(self.settings.broker), len(made)
        await producer.start()
        try:
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
        """Wait until they are, in windows of each length: all is counted, nothing twice."""
        end = time.monotonic() + SECONDS
        for grain in ("day", "hour", "minute"):
            wanted = await self.on_topics(grain)
            while (found := await self.counted(grain)) != wanted:
                total = sum(c.total() - c["out_of_scope"] for c in found.values())
                said = f"counted {total} of {self.sent} by {grain}: {found} where {wanted} is wanted"
                assert total <= self.sent, said
                assert time.monotonic() < end and self.some_run(), (said, self.logs())
                await asyncio.sleep(0.2)

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


@contextmanager
def counted_by(broker, folder, name):
    """A `System` with topics of its own at this broker; its processes end with it."""
    config = folder / "headrace.toml"
    name = "".join(letter for letter in name if letter.isalnum())[:40]
    config.write_text(f'prefix = "{name}"\n' + CONFIG.format(export=folder / "export"))
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
