"""Every metric that is served stands in OPERATIONS.md with its type, and no other does."""

import re
from pathlib import Path

from infra.autoscale import scaler_metrics
from infra.autoscale.signals_metrics import METRICS
from infra.insights.metrics import InsightsCollector
from topology.stream.metrics import FIGURES, Stages

OPERATIONS = (Path(__file__).parents[2] / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")


def documented():
    """Metric → type, as OPERATIONS.md has them; counters without `_total`, as prometheus_client names families."""
    rows = re.findall(r"^\| `(headrace_\w+|kafka_\w+)` \| (\w+) \| [^|]+ \| [^|]+ \|$", OPERATIONS, re.MULTILINE)
    return {name.removesuffix("_total") if kind == "counter" else name: kind for name, kind in rows}


def served():
    """Metric → type, as the code has them."""
    found = dict.fromkeys(METRICS, "gauge") | dict.fromkeys(("headrace_worker_up", "headrace_build_info"), "gauge")
    found |= {name: one.kind.__name__.lower() for name, one in scaler_metrics.METRICS.items()}
    for kind, figures in FIGURES.items():
        found |= {f"headrace_{kind}_{one.name}": "counter" if one.counts else "gauge" for one in figures.values()}
        found |= {one.describe()[0].name: "histogram" for one in Stages(kind, {"ring": "en"}).collectors}
    return found | {one.name: one.type for one in InsightsCollector("en", {}, dict).collect()}


def test_every_metric_is_documented_with_its_type():
    assert documented() == served()


def test_a_name_ends_in_its_unit_and_only_a_counter_in_total():
    for name, kind in served().items():
        assert not name.endswith(("_total", "_us", "_ms", "_mb", "_count", "_sum", "_bucket")), name
        if kind == "histogram":
            assert name.endswith("_seconds")
