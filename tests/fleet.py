"""A ring whose cells come and go under a load that knows its ids: conversations of several tenants, submitted ahead."""

import asyncio
import json
import shutil
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

from infra import announce
from infra.stack import up
from tests.small import example, small_stack
from topology import topics, wire
from topology.errors import UnknownTenant
from topology.settings import load
from topology.stream.kafka import TopicReader

CELL = "\n[rings.en.cells.{name}]\npartitions = {partitions}\n"
DEADLINE_S = 120.0


class Fleet:
    """A running stack of one cell, `a`, and tenants with the same head; other cells come into its headrace.toml."""

    def __init__(self, settings, supervisor, home, tenants):
        self.settings, self.supervisor, self.home, self.tenants = settings, supervisor, home, tenants
        self.config = home / "headrace.toml"
        self.said = []

    @property
    def ring(self):
        return self.settings.rings["en"]

    def describe(self, cell, partitions=2):
        """Put a cell into headrace.toml, as an operator does."""
        with self.config.open("a") as file:
            file.write(CELL.format(name=cell, partitions=partitions))
        self.read()

    def edit(self, text, by):
        """Change headrace.toml, as an operator does."""
        before = self.config.read_text()
        assert text in before
        self.config.write_text(before.replace(text, by))
        self.read()

    def read(self):
        """Read headrace.toml anew, as each command does."""
        self.settings = replace(self.settings, rings=load(self.config).rings)

    def start(self, cell, number=0):
        """Start a head worker of a cell; not waited for."""
        what = ["head_worker", "--ring", "en", "--cell", cell]
        return up.start_worker(self.supervisor, str(self.config), f"head/en/{cell}", what, number)

    async def results(self, *cells):
        """Every good result of cells, by (tenant, id): the predictions, each with its cell, in the topics' order."""
        found = defaultdict(list)
        for cell in cells:
            reader = TopicReader(self.settings.broker, topics.predictions(self.settings.prefix, "en", cell))
            await reader.start()
            try:
                for record in await reader.read_to_end():
                    told = wire.decode(wire.Prediction, record.value)
                    found[told.tenant, told.id].append((cell, record, told))
            finally:
                await reader.stop()
        return found


@contextmanager
def fleet(home, tenants, kind="kafka", workers=2, **more):
    """A running `Fleet`. The heads are copies of one that was trained."""
    up.WORKER_START_S = max(up.WORKER_START_S, 300.0)  # others may use the machine too
    with small_stack(home, kind=kind, workers=workers, **more) as (settings, supervisor, out):
        for tenant in tenants:
            copy = home / f"head-{tenant}"
            shutil.copytree(out, copy)
            body = json.loads((copy / "head.json").read_text())
            (copy / "head.json").write_text(json.dumps({**body, "tenant": tenant}))
            asyncio.run(announce.publish(settings, copy))
        yield Fleet(settings, supervisor, home, tenants)


class Load:
    """Conversations that submit ahead of their replies until they are told to stop. Texts of one conversation differ in
    length, so that what is computed first is not what was said first."""

    def __init__(self, client, conversations, pause_s):
        self._client, self._pause_s, self._stop = client, pause_s, asyncio.Event()
        self.said = {conversation: [] for conversation in conversations}  # (tenant, key) → ids, as submitted
        self.replies = {}
        self._talks, self._came = [], asyncio.Event()

    async def __aenter__(self):
        for tenant in {tenant for tenant, _ in self.said}:
            await known(self._client, tenant)
        self._talks = [asyncio.create_task(self._talk(*one)) for one in self.said]
        return self

    async def __aexit__(self, *error):
        self._stop.set()
        await asyncio.gather(*self._talks)

    async def answered(self, count):
        """Until so many replies have come."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.replies) < count:
                self._came.clear()
                await self._came.wait()

    async def _talk(self, tenant, key):
        waiting = []
        while not self._stop.is_set():
            number = len(self.said[tenant, key])
            text = example(number).text + " the kitchen" * (number * 7 % 5)
            id = await self._client.submit(tenant, text, lang="en", key=key, deadline=DEADLINE_S)
            self.said[tenant, key].append(id)
            waiting.append(asyncio.create_task(self._reply(tenant, id)))
            await asyncio.sleep(self._pause_s)
        await asyncio.gather(*waiting)

    async def _reply(self, tenant, id):
        self.replies[tenant, id] = await self._client.result(tenant, id)
        self._came.set()

    @property
    def ids(self):
        return {(tenant, id) for (tenant, _), ids in self.said.items() for id in ids}


async def known(client, tenant, tries=100, lang="en"):
    """Until a tenant's head is heard of."""
    for left in range(tries, 0, -1):
        try:
            await client.predict(tenant, example(0).text, lang=lang, deadline=60)
            return
        except UnknownTenant:
            if left == 1:
                raise
            await asyncio.sleep(0.2)


async def results_of(running, load, *cells):
    """The results of a load; they follow its replies, so it waits until all are there."""
    for _ in range(100):
        found = await running.results(*cells)
        if load.ids <= found.keys():
            break
        await asyncio.sleep(0.2)
    return {one: found[one] for one in load.ids}


def out_of_order(load, results):
    """(conversation, id before, id) wherever a later utterance has a result before an earlier one."""
    found = []
    for (tenant, key), ids in load.said.items():
        told = [results[tenant, id][0] for id in ids]
        for before, after in pairwise(told):
            late = before[2].stages["predicted"] > after[2].stages["predicted"]
            same = before[0] == after[0]
            if late or (same and before[1].offset > after[1].offset):
                found.append((tenant, key, before[2].id, after[2].id, before[0], after[0]))
    return found


def repeated(results):
    """The ids that stand in the result topics more than once."""
    return {one: len(told) for one, told in results.items() if len(told) != 1}


def latency_ms(results, share):
    """A quantile of the time from submission to prediction."""
    times = sorted((t[0][2].stages["predicted"] - t[0][2].stages["submitted"]) / 1e3 for t in results.values())
    return times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")
