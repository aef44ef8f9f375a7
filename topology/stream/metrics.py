"""A worker's counts for Prometheus, read when its page is asked. Every metric stands in `FIGURES` or in `Stages`, with
what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from prometheus_client import Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from topology.release import VERSION

Stats = Callable[[], Mapping[str, float]]
Kind = Literal["encoder", "head"]
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
US = 1e-6
disable_created_metrics()  # type: ignore[no-untyped-call]


class Figure(NamedTuple):
    """How a worker's figure is served. `name`: after `headrace_{kind}_`; a counter's ends in `_total` on the page.
    `scale`: from the worker's unit to the name's."""

    name: str
    help: str
    scale: float = 1
    counts: bool = True


BOTH = {
    "delivered": Figure("delivered_records", "Records whose outputs and replies are acknowledged"),
    "fetches": Figure("fetches", "Fetches that were taken from Kafka"),
    "requests": Figure("output_requests", "Requests to Kafka that carried outputs"),
    "fetched_bytes": Figure("fetched_bytes", "Bytes of records that fetches brought, compressed as they came"),
    "other_zone_bytes": Figure("fetched_other_zone_bytes", "Of these, from brokers of other zones than broker.rack"),
    "records_lost": Figure("lost_records", "Records that the broker deleted before they were read"),
    "letters_lost": Figure("lost_letters", "Dead letters and error results that the broker never took"),
    "replies_refused": Figure("refused_replies", "Replies that Redis never took"),
    "letters_over_bound": Figure("letters_over_bound", "Dead letters left out, above limits.dead_letters_per_minute"),
    "busy_us": Figure("busy_seconds", "Time in which anything was computed", US),
}
FIGURES: dict[Kind, dict[str, Figure]] = {
    "encoder": {
        **BOTH,
        "batches": Figure("batches", "Batches computed"),
        "rows": Figure("rows", "Texts computed; equal ones of a batch once"),
        "tokens": Figure("tokens", "Tokens computed, padding left out"),
        "computed": Figure("padded_tokens", "Tokens computed, padding included"),
        "engine_us": Figure("engine_seconds", "Time of batches, of all threads together; on a CPU processor time", US),
        "padding_share": Figure("padding_ratio", "Padding in what was computed so far", counts=False),
        "fixed_us": Figure("batch_fixed_seconds", "Fitted cost of a batch whatever its size", US, False),
        "per_token_us": Figure("token_seconds", "Fitted cost of a token", US, False),
        "held": Figure("held_records", "Records that wait for others of their conversation now", counts=False),
        "overdue": Figure("overdue_fences", "Cells that did not finish in time what tenants that left had sent"),
        "cache_hits": Figure("cache_hits", "Texts found in the embedding cache"),
        "cache_misses": Figure("cache_misses", "Texts not found in the embedding cache"),
    },
    "head": {
        **BOTH,
        "utterances": Figure("utterances", "Utterances scored"),
        "calls": Figure("batches", "Batches scored, each by one head"),
        "shadow_failed": Figure("shadow_failures", "Batches that a version in the shadow failed on"),
        "hits": Figure("hits", "Asks for a head that was in memory"),
        "loads": Figure("loads", "Heads loaded into memory"),
        "evictions": Figure("evictions", "Heads that left memory for others"),
        "failed": Figure("load_failures", "Heads that could not be loaded"),
        "wrong_space": Figure("wrong_space_heads", "Heads refused, made for another encoder"),
        "entities_left_out": Figure("texts_without_system_entities", "Texts whose system entities took too long"),
        "heads": Figure("heads", "Heads in memory now", counts=False),
        "cell_heads": Figure("cell_heads", "Tenants with heads that live in the worker's cell", counts=False),
        "cell_max_heads": Figure("cell_heads_limit", "max_heads of the worker's cell", counts=False),
        "bytes": Figure("heads_bytes", "Memory of heads now", counts=False),
        "stuck_loads": Figure("stuck_loads", "Loads that wait for the store for too long now", counts=False),
    },
}
STAGES_OF: dict[Kind, tuple[str, ...]] = {"encoder": ("wait", "encode"), "head": ("score",)}
STAGES = "How long a record took: wait, from its submission until a worker has it; encode, from then until it is \
encoded; score, from then until it is predicted, with its way to the head worker"
REQUEST = "From the submission of an utterance until it is predicted"


class Stages:
    """How long records took, as histograms. `labels`: of every sample."""

    def __init__(self, kind: Kind, labels: Mapping[str, str]) -> None:
        names, given = list(labels), list(labels.values())
        stages = Histogram(
            f"headrace_{kind}_stage_seconds", STAGES, [*names, "stage"], buckets=BUCKETS, registry=None
        )
        self._children = {stage: stages.labels(*given, stage) for stage in STAGES_OF[kind]}
        self.collectors: list[Collector] = [stages]
        if kind == "head":
            whole = Histogram("headrace_head_request_seconds", REQUEST, names, buckets=BUCKETS, registry=None)
            self._children[""] = whole.labels(*given)
            self.collectors.append(whole)

    def took(self, stage: str, us: int) -> None:
        """A record took so many microseconds in a stage; the empty one is the whole way. Clocks of machines may differ:
        what comes out below 0 counts as 0."""
        self._children[stage].observe(max(0, us) * US)


BUILD = "Always 1: which release of Headrace this worker runs"


class Build(Collector):
    """Which release serves the page."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = {**labels, "version": VERSION}

    def collect(self) -> Iterable[Metric]:
        """As Prometheus's own exporters tell it: a version is a label."""
        family = GaugeMetricFamily("headrace_build_info", f"{BUILD}.", labels=list(self._labels))
        family.add_metric(list(self._labels.values()), 1)
        return [family]


class _Stats(Collector):
    def __init__(self, kind: Kind, stats: Stats, labels: Mapping[str, str]) -> None:
        self._kind, self._stats, self._labels = kind, stats, labels

    def collect(self) -> Iterable[Metric]:
        """Every figure of this kind of worker; what has not been counted yet is 0."""
        told = self._stats()
        for key, figure in FIGURES[self._kind].items():
            family = (CounterMetricFamily if figure.counts else GaugeMetricFamily)(
                f"headrace_{self._kind}_{figure.name}", f"{figure.help}.", labels=list(self._labels)
            )
            family.add_metric(list(self._labels.values()), told.get(key, 0) * figure.scale)
            yield family


def of_worker(
    kind: Kind, stats: Stats, labels: Mapping[str, str], stages: Stages | None = None
) -> Iterable[Collector]:
    """What a worker's page tells: its figures and its stages."""
    return [Build(labels), _Stats(kind, stats, labels), *(stages.collectors if stages else ())]
