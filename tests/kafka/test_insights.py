"""Insights on Apache Kafka: counts equal those taken from the topic, whatever happens to the processes that count."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytest.importorskip("faust")
pytest.importorskip("pyarrow")

from infra.insights.windows import GRAINS
from infra.stack import kafka
from infra.stack.embedded import free_port
from infra.stack.supervise import Supervisor
from tests.counting import SECONDS, counted_by
from topology import wire
from topology.heads import HeadManifest

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]


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
    with counted_by(broker, tmp_path, request.node.name) as it:
        yield it


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


def gauges_of(port, tenant):
    """Name → value of every gauge of a tenant."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        found = list(text_string_to_metric_families(page.read().decode()))
    return {one.name.removeprefix("headrace_insights_"): one.value for family in found if family.type == "gauge"
            for one in family.samples if one.labels.get("tenant") == tenant}


def evaluated(system, tenant, **metrics):
    """A version in the head store whose own evaluation said so."""
    manifest = HeadManifest(tenant, "en", "v1", "space", 32, ("on", "off"), ("O",), "0" * 64, metrics=metrics)
    place = Path(system.settings.heads.store, "en", tenant, "v1")
    place.mkdir(parents=True)
    (place / "head.json").write_text(manifest.to_json())


async def test_drift_and_shift_of_a_tenant_stand_on_the_page_that_prometheus_reads(system):
    evaluated(system, "acme", calibration_bins=[[0.9, 0.9, 30], [0.7, 0.7, 10]],  # a mean confidence of 0.85
              confusion=[["on", "on", 30], ["off", "off", 10]])
    hour_us = 3_600_000_000
    now = time.time_ns() // 1_000 // hour_us * hour_us

    def said(number, hour, intent, confidence):
        return "a", wire.Prediction(
            f"{hour}-{number}", "acme", "en", "en", "text", intent=intent, confidence=confidence, head_version="v1",
            out_of_scope=number < 20 and hour == now, stages={"submitted": hour, "predicted": hour + 9_000},
        )

    before = [said(i, now - hour_us, "on", 0.85) for i in range(100)]
    await system.publish([*before, *(said(i, now, "on" if i < 40 else "off", 0.65) for i in range(100))])
    process = system.start()
    await system.counts_are_right()
    process.send_signal(signal.SIGTERM)
    assert system.ended(process)[0] == 0
    port = free_port()
    await system.until_ready(system.start("--metrics-port", str(port)))  # it looks at once, and each minute after that
    wanted, end = {
        "out_of_scope_share": 0.2, "confidence": 0.65, "confidence_drift": -0.2,
        "label_shift_before": 0.6,  # all were `on`
        "label_shift_evaluation": 0.35,  # 75 in 100 were `on`
    }, time.monotonic() + SECONDS
    while (found := await asyncio.to_thread(gauges_of, port, "acme")) != pytest.approx(wanted):
        assert time.monotonic() < end and system.some_run(), (found, system.logs())
        await asyncio.sleep(0.2)


async def test_topics_that_do_not_fit_are_named_and_end_it_at_once(system):
    wrong = system.config.read_text().replace("partitions = 4", "partitions = 3")
    system.config.write_text(wrong)
    code, log = system.ended(system.start())
    assert code == 2
    assert "partitions: 4, wanted 3; Kafka takes none away" in log.splitlines()[-1]
