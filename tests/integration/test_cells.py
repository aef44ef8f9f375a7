"""Cells on the embedded broker: tenants move, replays follow, and a cell that comes into headrace.toml is started."""

import asyncio
import json
import shutil
import time
import tomllib

import pytest

pytest.importorskip("torch")

from headrace import Headrace
from infra.announce import publish
from infra.backfill.job import Part, Span
from infra.backfill.topic import TopicTarget
from infra.fleet.cells import add_cell, list_cells
from infra.fleet.tenants import find, list_tenants, move
from infra.stack.up import NewTiers
from tests.built import needs_redis
from tests.fleet import Load, fleet, known, out_of_order, repeated, results_of
from topology import addresses, topics
from topology.errors import Misconfigured
from topology.stream.admin import apply_topics
from topology.stream.kafka import TopicReader
from topology.stream.refusals import asker_of

pytestmark = [pytest.mark.integration, needs_redis, pytest.mark.timeout(240)]
ROW = {"id": "1", "tenant": "acme", "text": "x", "intent": "on", "entities": [], "raw": ""}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with fleet(tmp_path_factory.mktemp("home"), [], kind="embedded", workers=1) as found:
        yield found


async def rows_of(running, cell):
    reader = TopicReader(running.settings.broker, topics.predictions(running.settings.prefix, "en", cell, "backfill"))
    await reader.start()
    try:
        return len(await reader.read_to_end())
    finally:
        await reader.stop()


async def test_a_cell_that_comes_into_headrace_toml_is_started_and_a_tenant_and_its_replays_move_to_it(running):
    looked = NewTiers(running.settings, str(running.config))
    assert looked.start(running.supervisor) == []
    running.describe("b")
    assert await asyncio.to_thread(looked.start, running.supervisor) == ["started: head-en-b-0"]
    cell = topics.embeddings(running.settings.prefix, "en", "b")
    there = await apply_topics(addresses.load_running(running.config), topics.wanted(running.settings), create=False)
    assert [one.differences for one in there if one.name == cell] == [()]
    async with Headrace(running.settings) as client:
        await known(client, "acme")
        assert (await find(running.settings, running.ring, "acme")).cell == "a"
        async with Load(client, [("acme", "talk")], pause_s=0.1) as load:
            await add_cell(running.settings, running.ring, "b", 90.0, "headrace.toml", running.said.append)
            await move(running.settings, running.ring, "acme", "b", True, running.said.append)
        results = await results_of(running, load, "a", "b")
    assert {one[1] for one in load.ids} == {reply.id for reply in load.replies.values()}
    assert repeated(results) == {} and out_of_order(load, results) == []
    assert {cell for told in results.values() for cell, _, _ in told} == {"a", "b"}
    with pytest.raises(Misconfigured, match="no cell 'nowhere'; known: a, b"):
        await list_tenants(running.settings, running.ring, "nowhere")
    cells = {one.cell: one for one in await list_cells(running.settings)}
    assert (cells["a"].heads, cells["b"].heads, cells["b"].share, cells["b"].alarm) == (0, 1, 0.5, "")
    target = TopicTarget(running.settings, running.ring, "job")
    await target.start()
    await target.write(Span("t", 0, 0, 1), Part(0, 1), [ROW])
    await target.stop()
    ends_s = time.monotonic() + 30
    while not await rows_of(running, "b"):
        assert time.monotonic() < ends_s
    assert not await rows_of(running, "a")


async def test_a_ring_that_comes_into_headrace_toml_is_started_whole_and_answers(running, tmp_path):
    looked = NewTiers(running.settings, str(running.config))
    body = tomllib.loads(running.config.read_text())["rings"]["en"]
    with running.config.open("a") as file:
        file.write(f'\n[rings.de]\nlanguages = ["de"]\nencoder = {json.dumps(body["encoder"])}\nworkers = 1\n')
    said = await asyncio.to_thread(looked.start, running.supervisor)
    assert said == ["started: encoder-de-0", "started: head-de-a-0"]
    assert await asyncio.to_thread(looked.start, running.supervisor) == []
    settings = addresses.load_running(running.config)
    head = shutil.copytree(next(running.home.rglob("head.json")).parent, tmp_path / "head")
    manifest = json.loads((head / "head.json").read_text())
    (head / "head.json").write_text(json.dumps({**manifest, "tenant": "guest", "ring": "de"}))
    await publish(settings, head)
    async with Headrace(settings) as client:
        await known(client, "guest", lang="de")
        reply = await client.predict("guest", "turn on the light please", deadline=60)  # English, by its text
    assert (reply.ring, reply.lang) == ("de", "de")
    letters = TopicReader(settings.broker, topics.dead_letters(settings.prefix))
    await letters.start()
    try:
        told = [asker_of(record.value) for record in await letters.read_to_end()]
    finally:
        await letters.stop()
    assert [one for one in told if (one.tenant, one.lang) == ("guest", "en")] == []
