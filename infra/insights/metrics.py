"""The counts for Prometheus: counters of this process, gauges of its tenants. HELP says what each figure means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from infra.insights.counting import Counting
from infra.insights.gauges import Gauges
from infra.insights.windows import LIMITS_MS

GAUGES = {
    "out_of_scope_share": "share of predictions out of scope in the tenant's newest hour with enough of them",
    "confidence": "mean confidence in that hour",
    "confidence_drift": "mean confidence in that hour less that of the heads' own evaluation; below 0: less sure",
    "label_shift_before": "share of that hour's utterances that differ in intent from the hour before it, 0 to 1",
    "label_shift_evaluation": "the same against the mix of intents in the heads' own evaluation, 0 to 1",
}
KINDS = {
    "repeats": "records read again and not counted again", "late": "records too late for a window of some size",
    "read_again": "times that Faust left a record out and it was read again",
    "records_lost": "records that the topic's retention deleted before they were counted",
    "rebuilt": "times that windows were counted anew since the changelog's beginning was deleted",
    "topic_made_anew": "times that the topic began anew", "without_row": "errors of tenants beyond the bound of rows",
}


class InsightsCollector(Collector):
    """Reads counts when Prometheus asks, on a thread of its own: it takes copies."""

    def __init__(
        self, ring: str, cells: Mapping[str, Counting], gauges: Callable[[], Mapping[tuple[str, str], Gauges]]
    ) -> None:
        self.ring, self._cells, self._gauges = ring, cells, gauges

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        utterances = CounterMetricFamily(
            "headrace_insights_utterances", "utterances counted by this process; code: ok, or the error's",
            labels=["ring", "cell", "tenant", "code"],
        )
        outside = CounterMetricFamily(
            "headrace_insights_out_of_scope", "of them, predictions out of scope", labels=["ring", "cell", "tenant"]
        )
        latency = HistogramMetricFamily(
            "headrace_insights_latency_seconds", "from the stage before to this one; all: from submitted to predicted",
            labels=["ring", "cell", "stage"],
        )
        for cell, one in self._cells.items():
            for (tenant, code), count in list(one.totals.utterances.items()):
                utterances.add_metric([self.ring, cell, tenant, code], count)
            for tenant, count in list(one.totals.out_of_scope.items()):
                outside.add_metric([self.ring, cell, tenant], count)
            for stage, counts in list(one.totals.buckets.items()):
                limits = [*(str(ms / 1e3) for ms in LIMITS_MS), "+Inf"]
                latency.add_metric([self.ring, cell, stage], list(zip(limits, accumulate(counts), strict=True)),
                                   one.totals.seconds[stage])
        yield from (utterances, outside, latency)
        yield from self._kinds()
        yield from self._of_tenants()

    def _kinds(self) -> Iterable[Metric]:
        for kind, text in KINDS.items():
            family = CounterMetricFamily(f"headrace_insights_{kind}", text, labels=["ring", "cell"])
            for cell, one in self._cells.items():
                family.add_metric([self.ring, cell], one.tally[kind])
            yield family

    def _of_tenants(self) -> Iterable[Metric]:
        known = self._gauges()
        for name, text in GAUGES.items():
            family = GaugeMetricFamily(f"headrace_insights_{name}", text, labels=["ring", "cell", "tenant"])
            for (cell, tenant), one in known.items():
                if (value := getattr(one, name)) is not None:
                    family.add_metric([self.ring, cell, tenant], value)
            yield family
