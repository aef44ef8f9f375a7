"""One page for Prometheus: lag, how busy workers are, and the workers' own metrics, of a stack on Apache Kafka."""

import asyncio
import shutil
import subprocess
import time
import urllib.request

import pytest

pytest.importorskip("torch")

from prometheus_client.parser import text_string_to_metric_families

from headrace import Headrace
from infra.autoscale.signals import Signals, tiers
from infra.autoscale.signals_page import serve_beside
from infra.stack import kafka
from infra.stack.embedded import free_port
from tests.built import needs_redis
from tests.prometheus import faults, told_by_promtool
from tests.small import example, small_stack
from tests.unit.test_metrics_documented import documented
from topology.errors import UnknownTenant

pytestmark = [
    pytest.mark.kafka,
    needs_redis,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]


async def predict(settings, count):
    """So many live utterances, each answered; the first of all waits until the head is known."""
    async with Headrace(settings) as client:
        for number in range(count):
            for left in range(300, -1, -1):
                try:
                    await client.predict("acme", f"{example(number).text} {number}", lang="en", deadline=60)
                    break
                except UnknownTenant:
                    assert left
                    await asyncio.sleep(0.2)


def page_at(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return answer.read().decode()


def samples(page):
    return {(one.name, one.labels.get("worker", "")): one.value
            for family in text_string_to_metric_families(page) for one in family.samples}


async def until(ask, wanted, seconds=120):
    end = time.monotonic() + seconds
    while not wanted(found := await ask()):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), kind="kafka", worker_metrics=True) as (settings, supervisor, _):
        yield settings, supervisor


async def test_one_page_tells_lag_and_what_every_worker_does(running):
    settings, supervisor = running
    port = free_port()
    serve_beside("127.0.0.1", port, settings, supervisor.metrics_ports)
    await predict(settings, 20)
    ready = ("headrace_lag_records", "headrace_worker_busy_ratio", "headrace_arrivals_records_per_second")
    page = await until(lambda: asyncio.to_thread(page_at, port),
                       lambda page: all(f"\n{name}{{" in page for name in ready))
    assert list(faults(page)) == [] and told_by_promtool(page) == ""
    told = samples(page)
    assert told["headrace_lag_up", ""] == 1
    assert told["headrace_encoder_delivered_records_total", "encoder-en-0"] >= 20
    assert told["headrace_head_request_seconds_count", "head-en-a-0"] >= 20
    assert told["headrace_encoder_stage_seconds_count", "encoder-en-0"] >= 20
    assert told["headrace_encoder_busy_seconds_total", "encoder-en-0"] > 0
    types = {family.name: family.type for family in text_string_to_metric_families(page)}
    assert types.items() <= documented().items()
    if promtool := shutil.which("promtool"):
        checked = await asyncio.to_thread(
            subprocess.run, [promtool, "check", "metrics"], input=page, text=True, capture_output=True, timeout=60
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr

    signals = Signals(settings)
    await until(signals.look, lambda seen: not seen.away)
    await predict(settings, 20)
    seen = await until(signals.look, lambda seen: not seen.away and all(
        one.workers and one.workers[0].records_per_s for one in seen.groups if one.lane == "live"
    ))
    encoders, heads = tiers(settings, seen)
    assert (encoders.name, encoders.replicas, heads.name, heads.replicas) == ("encoder/en", 1, "head/en/a", 1)
    assert encoders.work_per_record > 5, "tokens of an utterance"
    assert 0 < encoders.busy <= 1 and encoders.arrivals_per_s > 0 and heads.share == 1.0
    await signals.stop()

    worker = next(child for child in supervisor.children if child.name == "head-en-a-0")
    worker.process.kill()
    worker.process.wait()
    told = samples(await asyncio.to_thread(page_at, port))
    assert (told["headrace_worker_up", "head-en-a-0"], told["headrace_worker_up", "encoder-en-0"]) == (0, 1)
