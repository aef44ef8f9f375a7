"""A running installation whose workers are taken from release to release, under load from clients of each."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack

from headrace import Headrace
from infra.stack.supervise import Supervisor
from tests import releases
from tests.built import NO_COMPILER
from tests.rolling_client import TEXTS
from tests.small import small_stack
from topology.errors import UnknownTenant
from topology.settings import Settings
from topology.stream.kafka import TopicReader

TENANTS = ["acme", "tenant-1", "tenant-2", "tenant-3"]  # each on a partition of its own
PER_S = 40.0  # of each client
ROLES = {"heads": "head-", "encoders": "encoder-"}


async def until(happened, seconds=120):
    """Until `happened()`, at most so long."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


@dataclass
class Installation:
    """A running stack, and the trees of the releases that it is rolled between."""

    settings: Settings
    supervisor: Supervisor
    config: Path
    head: Path
    trees: dict[str, Path]

    def __post_init__(self):
        self._usual = {child.name: child.command for child in self.supervisor.children}
        self.took_s = {}  # worker → the longest that it was not ready
        self._clients = 0

    def workers(self, role):
        """The children of one role."""
        return [child for child in self.supervisor.children if child.name.startswith(ROLES[role])]

    async def roll(self, child, release, number=signal.SIGTERM):
        """One worker to another release, as an orchestrator does it: a signal, then a new process until it is ready."""
        child.command = releases.command(self.trees[release], self._usual[child.name])
        begun_s = time.monotonic()
        child.process.send_signal(number)
        await until(lambda: child.process.poll() is not None)
        assert number == signal.SIGKILL or child.process.returncode == 0, child.log.read_text()[-2_000:]
        self.supervisor.restart_ended()
        await until(child.ready.exists)
        self.took_s[child.name] = max(self.took_s.get(child.name, 0.0), time.monotonic() - begun_s)

    def publish(self, release, version, tenants=TENANTS):
        """The head under another version's name, published by a release."""
        given = str(self.config), str(self.head), version, ",".join(tenants)
        releases.told_by(self.trees[release], "tests.rolling_head", *given)

    @contextmanager
    def client(self, release):
        """A client of a release that asks on and on, once its first reply is there. Its ids begin with the release."""
        self._clients += 1
        name = f"{release}-{self._clients}"
        module = ["tests.rolling_client", str(self.config), name, ",".join(TENANTS), str(PER_S)]
        asked = releases.command(self.trees[release], [sys.executable, "-m", *module])
        with subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                assert process.stdout.readline() == b"\n", process.stderr.read().decode()[-3_000:]
                yield process
            finally:
                process.kill()

    async def under_load(self, clients, roll):
        """Run `roll()` while clients of these releases ask. Returns (the ids they asked under, the reply to each)."""
        asked, replies = [], {}
        with ExitStack() as stack:
            processes = [stack.enter_context(self.client(release)) for release in clients]
            await roll()
            for process in processes:
                out, errors = await asyncio.to_thread(process.communicate, timeout=180)
                assert process.returncode == 0, errors.decode()[-3_000:]
                told = json.loads(out)
                asked, replies = asked + told["asked"], replies | told["replies"]
        return asked, replies

    async def bodies(self, topic):
        """The records of a topic as (map, headers)."""
        reader = TopicReader(self.settings.broker, topic)
        await reader.start()
        try:
            return [(msgpack.unpackb(r.value), dict(r.headers)) for r in await reader.read_to_end()]
        finally:
            await reader.stop()

    async def answers(self):
        """(tenant, text) → what is answered, asked one after the other while nothing is rolled."""
        found = {}
        async with Headrace(self.settings) as client:
            for tenant in TENANTS:
                for text in TEXTS:
                    found[tenant, text] = content(vars_of(await _known(client, tenant, text)))
        return found


async def _known(client, tenant, text):
    for left in range(100, -1, -1):
        try:
            return await client.predict(tenant, text, lang="en", deadline=60)
        except UnknownTenant:
            assert left
            await asyncio.sleep(0.2)
    return None


def vars_of(reply):
    """As a client of another release prints it."""
    entities = [{"start": one.start, "end": one.end, "label": one.label} for one in reply.entities]
    return {"intent": reply.intent, "out_of_scope": reply.out_of_scope, "entities": entities}


def content(reply):
    """What a reply says, its version and times apart."""
    spans = [(one["start"], one["end"], one["label"]) for one in reply["entities"]]
    return reply["intent"], reply["out_of_scope"], spans


@contextmanager
def installed(home, trees):
    """An installation of this tree with two workers of each role and a head for each of `TENANTS`."""
    precision = "float32" if NO_COMPILER else "int8"
    with small_stack(home, kind="kafka", workers=2, precision=precision) as (settings, supervisor, head):
        one = Installation(settings, supervisor, home / "headrace.toml", head, {"here": releases.HERE, **trees})
        one.publish("here", "v1")
        yield one
