"""Cells and tenants under load on Apache Kafka: what is added, moved and drained loses nothing, repeats nothing, and
keeps the order of each conversation."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from headrace import Headrace
from infra.fleet.cells import add_cell, drain_cell, list_cells
from infra.fleet.tenants import find, move
from infra.stack import kafka
from tests.fleet import Load, fleet, known, latency_ms, out_of_order, repeated, results_of
from tests.small import example
from topology import topics
from topology.pacing import PACING
from topology.stream.admin import apply_topics
from topology.stream.positions import Positions
from topology.stream.process import now_us

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
TENANTS = [f"tenant-{n}" for n in range(6)]
CONVERSATIONS = [(tenant, f"talk-{n}") for tenant in TENANTS for n in range(2)]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with fleet(tmp_path_factory.mktemp("home"), TENANTS) as found:
        yield found


async def add(running, cell):
    await add_cell(running.settings, running.ring, cell, 90.0, "headrace.toml", running.said.append)


async def drain(running, cell):
    await drain_cell(running.settings, running.ring, cell, "headrace.toml", running.said.append)


def check(load, results):
    """Every id has its reply, stands in the result topics once, and no conversation is out of order."""
    assert {one: reply.id for one, reply in load.replies.items()} == {one: one[1] for one in load.ids}
    assert repeated(results) == {}
    assert out_of_order(load, results) == []


async def wander(running, moves, seed, cells=("a", "b")):
    """Move tenants back and forth. Returns (who, from when until when) of each move, in microseconds."""
    choose, moved = random.Random(seed), []
    for _ in range(moves):
        begun_us = now_us()
        tenant, cell = choose.choice(TENANTS), choose.choice(cells)
        if (await find(running.settings, running.ring, tenant)).cell != cell:
            await move(running.settings, running.ring, tenant, cell, True, running.said.append)
            moved.append((tenant, begun_us, now_us()))
    return moved


async def test_under_load_a_cell_is_added_tenants_move_back_and_forth_and_a_cell_is_drained(running):
    before = [one.share for one in await list_cells(running.settings)]
    assert before == [1.0]
    running.describe("b")
    running.start("b")
    phases = {}
    async with Headrace(running.settings) as client:
        async with Load(client, CONVERSATIONS, pause_s=0.15) as load:
            phases["before"] = now_us()
            await load.answered(40)
            phases["add"] = now_us()
            await add(running, "b")
            shares = {one.cell: one.share for one in await list_cells(running.settings)}
            phases["move"] = now_us()
            moved = await wander(running, 10, seed=1)
            phases["drain"] = now_us()
            await drain(running, "a")
            phases["after"] = now_us()
            where = {(await find(running.settings, running.ring, tenant)).cell for tenant in TENANTS}
        results = await results_of(running, load, "a", "b")
    print("\n".join(running.said))
    took_s = [(end - begin) / 1e6 for _, begin, end in moved]
    print(f"{len(moved)} moves took {min(took_s):.2f} to {max(took_s):.2f} s; {len(load.ids)} ids")
    of_moved = {one: told for one, told in results.items() for tenant, begin, end in moved
                if one[0] == tenant and begin <= told[0][2].stages["submitted"] < end}
    p50, p99 = latency_ms(of_moved, 0.5), latency_ms(of_moved, 0.99)
    print(f"of tenants while they move: {len(of_moved)} utterances, p50 {p50:.0f} p99 {p99:.0f} ms")
    for name, begin, end in zip(phases, phases.values(), [*list(phases.values())[1:], 2**63], strict=True):
        some = {i: r for i, r in results.items() if begin <= r[0][2].stages["submitted"] < end}
        print(f"{name}: {len(some)} utterances, p50 {latency_ms(some, 0.5):.0f} p99 {latency_ms(some, 0.99):.0f} ms")
    assert shares == {"a": 0.5, "b": 0.5} and where == {"b"}
    check(load, results)
    cells = {one.cell: one for one in await list_cells(running.settings)}
    assert (cells["a"].state, cells["a"].lag, cells["a"].share) == ("draining", 0, 0.0)


async def test_a_drained_cells_topics_grow_when_it_is_added_again_and_those_of_others_say_why_not(running, monkeypatch):
    monkeypatch.setattr("infra.fleet.cells.PACING", replace(PACING, metadata_max_age_s=0.5))  # nobody writes here
    partitions = {"b": 2, "a": 4}
    for cell, there in partitions.items():
        running.edit(f"[rings.en.cells.{cell}]\npartitions = {there}", f"[rings.en.cells.{cell}]\npartitions = 6")
    reports = {one.name: one for one in await apply_topics(running.settings, topics.wanted(running.settings))}
    for cell, there in partitions.items():
        (why,) = reports[topics.embeddings(running.settings.prefix, "en", cell)].differences
        assert f"partitions: {there}, wanted 6; not grown, as later records of a key" in why
        assert f"headrace cell drain {cell} --ring en" in why
    await add(running, "a")
    positions = Positions(running.settings.broker)
    found = {cell: len(await positions.ends(topics.embeddings(running.settings.prefix, "en", cell))) for cell in "ab"}
    await positions.stop()
    assert found == {"a": 6, "b": 2}


async def test_a_cell_whose_head_workers_die_keeps_only_its_own_tenants_waiting(running):
    settings, ring = running.settings, running.ring
    for number, tenant in enumerate(TENANTS):
        await move(settings, ring, tenant, "ab"[number % 2], True, running.said.append)
    dead = [one for one in running.supervisor.children if one.name.startswith("head-en-a-")]
    async with Headrace(settings) as client:
        for tenant in TENANTS:
            await known(client, tenant)
        for one in dead:
            one.process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(one.process.wait)
        waiting = [await client.submit(tenant, example(n).text, lang="en", deadline=120)
                   for n, tenant in enumerate(TENANTS[::2] * 3)]
        for n in range(10):
            for tenant in TENANTS[1::2]:
                await client.predict(tenant, example(n).text, lang="en", deadline=10)
        running.supervisor.restart_ended()
        told = [await client.result(tenant, id) for id, tenant in zip(waiting, TENANTS[::2] * 3, strict=True)]
    assert [one.id for one in told] == waiting


def headrace(running, *args):
    command = [sys.executable, "-m", "infra.cli", "--config", str(running.config), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


async def test_the_commands_say_where_tenants_live_move_them_and_name_what_is_wrong(running):
    async def run(*args):
        return await asyncio.to_thread(headrace, running, *args)

    where = json.loads((await run("tenant", "where", "tenant-0", "--json")).stdout)
    to = "b" if where["cell"] == "a" else "a"
    done = await run("tenant", "move", "tenant-0", "--to", to)
    assert (done.returncode, f"en/tenant-0: {where['cell']} -> {to}" in done.stdout) == (0, True), done.stderr
    assert "settled after" in done.stdout and f"en/tenant-0: {to}, pinned by a command" in done.stdout
    listed = json.loads((await run("tenant", "list", "--cell", to, "--json")).stdout)
    assert "tenant-0" in {one["tenant"] for one in listed} and {one["cell"] for one in listed} == {to}
    cells = {one["cell"]: one for one in json.loads((await run("cell", "list", "--json")).stdout)}
    assert cells["a"]["heads"] + cells["b"]["heads"] == len(TENANTS) + 1  # acme too
    assert cells["a"]["max_heads"] == 1_000 and cells["a"]["settled"]
    for args, why in (
        (("tenant", "move", "tenant-0", "--to", "nowhere"), "those that do: a, b"),
        (("cell", "add", "nowhere"), "[rings.en.cells.nowhere]"), (("cell", "drain", "nowhere"), "takes no tenants"),
        (("tenant", "list", "--cell", "nowhere"), "has no cell 'nowhere'"),
        (("tenant", "move", "../x", "--to", "a"), "tenant: a name has no '/'"),
    ):
        done = await run(*args)
        assert (done.returncode, why in done.stderr) == (2, True), done.stderr
    assert (await run("tenant", "unpin", "tenant-0")).returncode == 0
    assert json.loads((await run("tenant", "where", "tenant-0", "--json")).stdout)["why"] == "share"


async def test_cells_that_are_nearly_full_are_told_and_nobody_is_refused(running):
    running.edit("[rings.en.cells.a]\n", "[rings.en.cells.a]\nmax_heads = 1\n")
    done = await asyncio.to_thread(headrace, running, "cell", "list")
    assert (done.returncode, "WRONG    cell en/a is full" in done.stdout) == (1, True), done.stdout + done.stderr
    done = await asyncio.to_thread(headrace, running, "status")
    assert "cell en/a is full" in done.stdout and "headrace cell add" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def three(tmp_path):
    """As `running`, with head workers of cells `b` and `c`, which take no tenants yet."""
    with fleet(tmp_path, TENANTS) as found:
        for cell in "bc":
            found.describe(cell)
            found.start(cell)
        yield found


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
async def test_tenants_move_at_random_while_cells_come_and_go_and_encoder_workers_restart(three, seed):
    choose, taking = random.Random(seed), {"a"}
    async with Headrace(three.settings) as client:
        async with Load(client, CONVERSATIONS, pause_s=0.1) as load:
            for cell in "bc":
                await add(three, cell)
                taking.add(cell)
            for _ in range(60):
                await step(three, choose, taking)
        results = await results_of(three, load, "a", "b", "c")
    print(f"seed {seed}: {len(load.ids)} ids, p99 {latency_ms(results, 0.99):.0f} ms")
    check(load, results)


async def step(running, choose, taking):
    """One random thing."""
    what = choose.random()
    if what < 0.1 and len(taking) > 1:
        cell = choose.choice(sorted(taking))
        taking.discard(cell)
        await drain(running, cell)
    elif what < 0.2 and len(taking) < 3:
        cell = choose.choice(sorted({"a", "b", "c"} - taking))
        taking.add(cell)
        await add(running, cell)
    elif what < 0.3:
        one = choose.choice([c for c in running.supervisor.children if c.name.startswith("encoder-")])
        one.process.terminate()
        await asyncio.to_thread(one.process.wait)
        running.supervisor.restart_ended()
    else:
        tenant, cell = choose.choice(TENANTS), choose.choice(sorted(taking))
        await move(running.settings, running.ring, tenant, cell, choose.random() < 0.7, running.said.append)
