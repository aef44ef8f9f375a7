"""The page that Prometheus scrapes: the last reading of the load, and the metrics of a stack's workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from infra.autoscale.signals import Signals
from infra.autoscale.signals_metrics import families
from infra.autoscale.signals_reading import Reading
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.health import Health
from topology.stream.page import Page

log = logging.getLogger(__name__)
WORKER_UP = "1 where the worker process told its metrics; 0, and none of its own, where not"


class LagPage(Collector):
    """The last reading. One that is older than three looks is not told."""

    def __init__(self) -> None:
        self._reading: Reading | None = None
        self._until_s = 0.0

    def collect(self) -> Iterable[Metric]:
        """For prometheus_client."""
        return families(self._reading if time.monotonic() < self._until_s else None)

    async def read_on(self, settings: Settings, health: Health, looked: Callable[[], None]) -> None:
        """Look each `pacing.lag_look_s`, until cancelled. `looked`: is called after each look."""
        health.follow_loop()
        signals = Signals(settings)
        try:
            while True:
                begun_s = time.monotonic()
                self._reading = await signals.look(replays=True)
                self._until_s = time.monotonic() + 3 * PACING.lag_look_s + PACING.status_s
                looked()
                if self._reading.away:
                    log.warning("lag cannot be read: %s", self._reading.away)
                await asyncio.sleep(max(0.0, begun_s + PACING.lag_look_s - time.monotonic()))
        finally:
            await signals.stop()


class WorkerPages(Collector):
    """The pages of workers on this machine as one: each sample with its `worker`."""

    def __init__(self, ports: Callable[[], Mapping[str, int]]) -> None:
        """`ports`: of each worker that runs now."""
        self._ports = ports

    def collect(self) -> Iterable[Metric]:
        """For prometheus_client. A worker that does not answer within `pacing.worker_page_s` costs only its own."""
        ports = self._ports()
        up = GaugeMetricFamily("headrace_worker_up", f"{WORKER_UP}.", labels=["worker"])
        found: dict[str, Metric] = {}
        with ThreadPoolExecutor(max(1, len(ports))) as threads:
            for name, page in zip(ports, threads.map(_page, ports.values()), strict=True):
                up.add_metric([name], bool(page))
                for family in text_string_to_metric_families(page):
                    whole = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                    for sample in family.samples:
                        whole.add_sample(sample.name, {**sample.labels, "worker": name}, sample.value)
        return [up, *found.values()]


def _page(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PACING.worker_page_s) as answer:
            return str(answer.read().decode())
    except (OSError, ValueError):  # it starts, or ends, or stands still
        return ""


def serve_beside(host: str, port: int, settings: Settings, ports: Callable[[], Mapping[str, int]]) -> None:
    """Serve lag, and the metrics of the workers at `ports`, from threads that end with the process.

    Raises: Misconfigured, Unavailable.
    """
    reading = _served(host, port, settings, Health(), [WorkerPages(ports)])
    threading.Thread(target=asyncio.run, args=[reading], name="lag", daemon=True).start()


async def serve_until(host: str, port: int, settings: Settings, stop: asyncio.Event) -> None:
    """Serve lag, and nothing else. Raises: Misconfigured, Unavailable."""
    reading = asyncio.ensure_future(_served(host, port, settings, Health(stop), []))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
    for task in (reading, stopping):
        task.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    with contextlib.suppress(asyncio.CancelledError):
        await reading


def _served(
    host: str, port: int, settings: Settings, health: Health, more: Iterable[Collector]
) -> Coroutine[Any, Any, None]:
    """The page is there when this returns; what it returns keeps it up to date."""
    lag, looked = LagPage(), health.awaits("Kafka is being looked at")
    Page(host, port, health).tell([lag, *more])
    return lag.read_on(settings, health, looked)
