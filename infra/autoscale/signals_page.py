"""The page that Prometheus scrapes: the last reading of the load, and the metrics of a stack's workers."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from infra.autoscale.signals import Signals
from infra.autoscale.signals_metrics import families
from infra.autoscale.signals_reading import Reading
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.metrics import serve_collectors

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

    async def read_on(self, settings: Settings) -> None:
        """Look each `pacing.lag_look_s`, until cancelled."""
        signals = Signals(settings)
        try:
            while True:
                begun_s = time.monotonic()
                self._reading = await signals.look(replays=True)
                self._until_s = time.monotonic() + 3 * PACING.lag_look_s + PACING.status_s
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


def serve_beside(port: int, settings: Settings, ports: Callable[[], Mapping[str, int]]) -> None:
    """Serve lag, and the metrics of the workers at `ports`, from threads that end with the process.

    Raises: Misconfigured, Unavailable.
    """
    page = LagPage()
    serve_collectors(port, [page, WorkerPages(ports)])
    threading.Thread(target=asyncio.run, args=[page.read_on(settings)], name="lag", daemon=True).start()


async def serve_until_cancelled(port: int, settings: Settings) -> None:
    """Serve lag, and nothing else. Raises: Misconfigured, Unavailable."""
    page = LagPage()
    serve_collectors(port, [page])
    await page.read_on(settings)
