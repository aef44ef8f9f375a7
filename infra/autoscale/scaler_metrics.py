"""What `headrace scaler` decided and was asked, for Prometheus. Every name, its labels and its meaning: `METRICS`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from infra.autoscale.tiers import Advice


class Named(NamedTuple):
    """A counter or a gauge, its labels, and what a figure of it means."""

    kind: type[Counter] | type[Gauge]
    labels: tuple[str, ...]
    help: str


METRICS = {
    "headrace_scale_replicas": Named(Gauge, ("tier",), "Workers that the tier is to have"),
    "headrace_scale_held": Named(Gauge, ("tier",), "1 where the last look decided nothing, and the count stays"),
    "headrace_scale_decisions": Named(
        Counter, ("tier", "change"), "Decisions: up, down, stay; hold, where nothing could be decided"
    ),
    "headrace_scaler_calls": Named(
        Counter, ("call", "result"), "Calls of KEDA: ok; error, where it was told one. A stream counts once"
    ),
}


class ScalerMetrics(Collector):
    """Counts of one process."""

    def __init__(self, calls: Sequence[str]) -> None:
        """`calls`: names that may come; each stands on the page from the beginning."""
        self._all = CollectorRegistry()
        made = {name: one.kind(name, f"{one.help}.", one.labels, registry=self._all) for name, one in METRICS.items()}
        self._gauges = {name: one for name, one in made.items() if isinstance(one, Gauge)}
        self._counters = {name: one for name, one in made.items() if isinstance(one, Counter)}
        for call in calls:
            for result in ("ok", "error"):
                self._counters["headrace_scaler_calls"].labels(call, result)

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client."""
        yield from self._all.collect()

    def decided(self, advices: Sequence[Advice]) -> None:
        """Count what was decided at one look."""
        for one in advices:
            self._gauges["headrace_scale_replicas"].labels(one.tier).set(one.replicas)
            self._gauges["headrace_scale_held"].labels(one.tier).set(one.held)
            self._counters["headrace_scale_decisions"].labels(one.tier, _change(one)).inc()

    def called(self, call: str, answered: bool) -> None:
        """Count one call."""
        self._counters["headrace_scaler_calls"].labels(call, "ok" if answered else "error").inc()


def _change(advice: Advice) -> str:
    if advice.held:
        return "hold"
    more = advice.replicas - advice.running
    return "stay" if not more else "up" if more > 0 else "down"
