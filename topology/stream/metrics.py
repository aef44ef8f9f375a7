"""A worker's counts for Prometheus: `http://HOST:PORT/metrics`, read when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from topology.errors import Misconfigured, Unavailable

Stats = Callable[[], Mapping[str, float]]


class _Stats(Collector):
    def __init__(self, kind: str, stats: Stats, labels: Mapping[str, str]) -> None:
        self._kind, self._stats, self._labels = kind, stats, labels

    def collect(self) -> Iterable[Metric]:
        """Each of the worker's figures as `headrace_{kind}_{name}`."""
        for name, value in self._stats().items():
            family = GaugeMetricFamily(
                f"headrace_{self._kind}_{name}", f"{name} of this {self._kind} worker", labels=list(self._labels)
            )
            family.add_metric(list(self._labels.values()), value)
            yield family


def serve(port: int, kind: str, stats: Stats, labels: Mapping[str, str]) -> None:
    """Serve a worker's figures on every interface, from a thread of its own. `port` 0 serves nothing.

    Raises: Misconfigured; Unavailable where another process has the port: it may be the one before this.
    """
    if port:
        registry = CollectorRegistry()
        registry.register(_Stats(kind, stats, labels))
        try:
            start_http_server(port, registry=registry)
        except (OverflowError, PermissionError) as error:
            raise Misconfigured(f"--metrics-port {port}: {error}") from error
        except OSError as error:
            raise Unavailable(f"--metrics-port {port}: {error}; each worker needs a port of its own") from error
