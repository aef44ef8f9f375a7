"""A reading of the load as Prometheus metrics: every name, its labels and what it means stand in `METRICS`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric

from infra.autoscale.signals_reading import GroupLag, Reading

GROUP = ("group", "topic", "role", "ring", "cell", "lane")
PARTITION, WORKER = (*GROUP, "partition"), (*GROUP, "worker")


class Named(NamedTuple):
    """A gauge: its labels, and what a figure of it means."""

    labels: tuple[str, ...]
    help: str


METRICS = {
    "headrace_lag_up": Named((), "1 where the last look at Kafka was answered; 0, and none of the rest, where not"),
    "headrace_lag_read_timestamp_seconds": Named((), "When the last look was taken (Unix time)"),
    "headrace_lag_records": Named(PARTITION, "Records that wait: end - max(commit, start), not markers at the end"),
    "headrace_lag_oldest_age_seconds": Named(PARTITION, "Age of the oldest record that waits; 0 where none does"),
    "headrace_lag_stuck": Named(PARTITION, "1 where the position stands still although a worker has time for it"),
    "headrace_arrivals_records_per_second": Named(PARTITION, "Records that came, mean of the last 15 s"),
    "headrace_finished_records_per_second": Named(PARTITION, "Records that were finished, mean of the last 15 s"),
    "headrace_group_lag_tokens": Named(GROUP, "Of encoders: records that wait times tokens computed for a mean record"),
    "headrace_group_members": Named(GROUP, "Members of the consumer group"),
    "headrace_group_drain_seconds": Named(GROUP, "Until nothing waits, as things are; +Inf where lag grows or stands"),
    "headrace_worker_busy_ratio": Named(WORKER, "Share of the last 30 s in which its event loop or engine was busy"),
    "headrace_worker_records_per_second": Named(WORKER, "Records that it finished, mean of the last 30 s"),
    "headrace_worker_true_records_per_second": Named(WORKER, "Records that it would finish, busy all the time"),
    "headrace_worker_true_tokens_per_second": Named(WORKER, "Of encoders: the same in tokens"),
    "headrace_replay_remaining_records": Named(("replay", "state"), "Records before the ends of a replay"),
    "kafka_consumergroup_lag": Named(
        ("consumergroup", "topic", "partition"), "headrace_lag_records, under the name that kafka_exporter gives"
    ),
    "kafka_consumergroup_group_lag": Named(
        ("group", "topic", "partition"), "headrace_lag_records, under the name that kafka-lag-exporter gives"
    ),
}
Sample = tuple[str, tuple[str, ...], float | None]


def families(reading: Reading | None) -> Iterator[Metric]:
    """The metrics of a reading. What is not known is left out: no figure is better than a wrong one."""
    found: dict[str, GaugeMetricFamily] = {}
    for name, labels, value in _samples(reading):
        if value is not None:
            named = METRICS[name]
            family = found.setdefault(name, GaugeMetricFamily(name, f"{named.help}.", labels=named.labels))
            family.add_metric(labels, float(value))
    yield from found.values()


def _samples(reading: Reading | None) -> Iterable[Sample]:
    is_up = reading is not None and not reading.away
    yield "headrace_lag_up", (), is_up
    if reading is None or not is_up:
        return
    yield "headrace_lag_read_timestamp_seconds", (), reading.at_s
    for group in reading.groups:
        yield from _of_group(group)
    for replay in reading.replays:
        yield "headrace_replay_remaining_records", (replay.id, replay.state), replay.remaining


def _of_group(group: GroupLag) -> Iterable[Sample]:
    labels = tuple(str(getattr(group, name)) for name in GROUP)
    yield "headrace_group_lag_tokens", labels, group.lag_tokens
    yield "headrace_group_members", labels, group.members
    yield "headrace_group_drain_seconds", labels, group.drain_s
    for one in group.partitions:
        number = str(one.partition)
        yield "headrace_lag_records", (*labels, number), one.lag
        yield "headrace_lag_oldest_age_seconds", (*labels, number), one.oldest_age_s
        yield "headrace_lag_stuck", (*labels, number), one.stuck
        yield "headrace_arrivals_records_per_second", (*labels, number), one.arrivals_per_s
        yield "headrace_finished_records_per_second", (*labels, number), one.finished_per_s
        yield "kafka_consumergroup_lag", (group.group, group.topic, number), one.lag
        yield "kafka_consumergroup_group_lag", (group.group, group.topic, number), one.lag
    for worker in group.workers:
        yield "headrace_worker_busy_ratio", (*labels, worker.worker), worker.busy_share
        yield "headrace_worker_records_per_second", (*labels, worker.worker), worker.records_per_s
        yield "headrace_worker_true_records_per_second", (*labels, worker.worker), worker.true_records_per_s
        if group.role == "encoder":
            yield "headrace_worker_true_tokens_per_second", (*labels, worker.worker), worker.true_tokens_per_s
