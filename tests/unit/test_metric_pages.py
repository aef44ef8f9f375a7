"""Pages for Prometheus by the rules of its own checker, `promtool check metrics`; where it is installed, by it too."""

import pytest

pytest.importorskip("faust")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from infra.autoscale.scaler_metrics import ScalerMetrics
from infra.autoscale.signals_metrics import families
from infra.autoscale.signals_page import WorkerPages
from infra.autoscale.signals_rates import WorkerLoad
from infra.autoscale.signals_reading import GroupLag, PartitionLag, Reading
from infra.autoscale.tiers import Advice
from infra.insights.counting import Counting
from infra.insights.gauges import Gauges
from infra.insights.metrics import InsightsCollector
from infra.insights.windows import Said
from infra.stack.embedded import free_port
from tests.prometheus import faults, told_by_promtool
from topology.stream.health import Health
from topology.stream.metrics import FIGURES, STAGES_OF, Stages, of_worker
from topology.stream.page import Page


class Once(Collector):
    """What was collected before."""

    def __init__(self, found):
        self.found = list(found)

    def collect(self):
        return self.found


def worker(kind):
    """As a worker serves it, and as the page of a stack gives it on."""
    port, stages = free_port(), Stages(kind, {"ring": "en"})
    for stage in STAGES_OF[kind]:
        stages.took(stage, 3_000)
    figures = dict.fromkeys(FIGURES[kind], 3.0)
    Page("127.0.0.1", port, Health()).tell(of_worker(kind, lambda: figures, {"ring": "en"}, stages))
    return [WorkerPages(lambda: {f"{kind}-en-0": port, "starts": 1})]


def lag():
    partition = PartitionLag(0, 0, 9, 4, 5, 1.0, 3.0, 2.0)
    group = GroupLag("g", "t", "encoder", "en", "", "live", "Stable", 1, (partition,),
                     (WorkerLoad("w", (0,), 0.5, 1.0, 2.0, 30.0, 9, 135),))
    return [Once(families(Reading(1.0, (group,))))]


def scaler():
    metrics = ScalerMetrics(["GetMetrics"])
    metrics.decided([Advice("encoder/en", 0.0, 2, 1, "as the test says")])
    return [metrics]


def insights():
    counting = Counting("topic", None, None)
    counting.totals.add(Said("acme", 0, stages={"submitted": 1_000, "received": 3_000, "predicted": 9_000}))
    gauges = {("a", "acme"): Gauges(0, 0.1, 0.9, -0.1, 0.2, 0.3)}
    return [InsightsCollector("en", {"a": counting}, lambda: gauges)]


PAGES = {"encoder": lambda: worker("encoder"), "head": lambda: worker("head"), "lag": lag, "scaler": scaler,
         "insights": insights}


def page(name):
    registry = CollectorRegistry()
    for one in PAGES[name]():
        registry.register(one)
    return generate_latest(registry).decode()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_the_rules_of_prometheus(name):
    text = page(name)
    assert text.count("# TYPE") > 3 and list(faults(text)) == []
    assert told_by_promtool(text) == ""


@pytest.mark.parametrize("text, said", [
    ("# TYPE a_b counter\na_b 1\n", "no help"), ("# HELP a x\n# TYPE a_ms gauge\na_ms 1\n", "a unit in short"),
    ("# HELP a_total x\n# TYPE a_total gauge\na_total 1\n", "only a counter does"),
    ("# HELP a_milliseconds x\n# TYPE a_milliseconds gauge\na_milliseconds 1\n", "not a base unit"),
    ("# HELP aB x\n# TYPE aB gauge\naB 1\n", "not in snake case"),
    ('# HELP a x\n# TYPE a gauge\na{b="1"} 1\na{b="1"} 2\n', "twice"),
])
def test_what_breaks_a_rule_is_found(text, said):
    assert any(one.endswith(said) for one in faults(text))
