"""What the Prometheus operator reads: which pods to ask, and what to alarm at."""

from __future__ import annotations

from typing import Any

from infra.kubernetes.fleet import Fleet
from topology import topics

API = "monitoring.coreos.com/v1"
LOST = ("lost_records", "lost_letters", "refused_replies", "letters_over_bound")  # counters of both kinds of workers
FULL = 0.9  # of a cell's max_heads; `headrace status` warns from 0.8 on


def monitors(fleet: Fleet) -> list[dict[str, Any]]:
    """One for all pods with a page: workers, scaler, lag, insights, Redis' proxy; and, of Strimzi, brokers and the
    exporter that counts dead letters."""
    ours = _monitor("headrace", {"app.kubernetes.io/name": "headrace"}, "metrics")
    strimzi = [
        _monitor("headrace-kafka-exporter", {"strimzi.io/kind": "Kafka", "strimzi.io/name": "headrace-kafka-exporter"},
                 "tcp-prometheus"),
        _monitor("headrace-kafka", {"strimzi.io/kind": "Kafka", "strimzi.io/name": "headrace-kafka"},
                 "tcp-prometheus"),
    ]
    return [ours, *(strimzi if fleet.has_kafka else [])]


def _monitor(name: str, pods: dict[str, str], port: str) -> dict[str, Any]:
    return {
        "apiVersion": API, "kind": "PodMonitor", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": pods}, "podMetricsEndpoints": [{"port": port, "interval": "15s"}]},
    }


def alarms(fleet: Fleet) -> dict[str, Any]:
    """Each says what to do. Replicas are counted by kube-state-metrics, offsets by Strimzi's Kafka Exporter."""
    rules = [
        _rule("HeadraceLate", f"max by (group) (headrace_lag_oldest_age_seconds{{lane=\"live\"}}) > "
              f"{fleet.settings.autoscale.objective_s:g}", "2m", "critical",
              "{{ $labels.group }}: the oldest record waits for {{ $value | humanizeDuration }}: headrace lag"),
        _rule("HeadraceLagUnknown", 'absent(headrace_lag_up) or headrace_lag_up == 0', "5m", "critical",
              "nobody tells lag: is headrace-lag running, does Kafka answer?"),
        _rule("HeadraceStuck", "headrace_lag_stuck == 1", "2m", "critical",
              "{{ $labels.group }}[{{ $labels.partition }}] stands still although a worker has time for it"),
        _rule("HeadraceCellFull", _cell_full(), "10m", "warning",
              "cell {{ $labels.ring }}/{{ $labels.cell }} has {{ $value }} heads: headrace cell list, cell add"),
        _rule("HeadraceDeadLetters", "sum(increase(kafka_topic_partition_current_offset{topic=\""
              f"{topics.dead_letters(fleet.settings.prefix)}\"}}[10m])) > 0", "0m", "warning",
              "{{ $value }} dead letters in 10 minutes: headrace dead-letters list --since 10m"),
        _rule("HeadraceLost", _lost(), "0m", "critical",
              "{{ $labels.pod }} could not keep or tell {{ $value }} records: see its log"),
        _rule("HeadraceNoWorker", _none_ready(fleet), "1m", "critical",
              "{{ $labels.deployment }}{{ $labels.statefulset }}: no worker is ready"),
    ]
    return {
        "apiVersion": API, "kind": "PrometheusRule", "metadata": {"name": "headrace"},
        "spec": {"groups": [{"name": "headrace", "rules": rules}]},
    }


def _cell_full() -> str:
    """Every worker tells all heads of its cell, in memory or not: so `max`, not `sum`."""
    heads, limit = (f"max by (ring, cell) (headrace_head_cell_heads{which})" for which in ("", "_limit"))
    return f"{heads} > {FULL} * {limit}"


def _lost() -> str:
    """One term a metric: `increase` leaves their names out, and what is then alike is an error."""
    names = [f"headrace_{kind}_{what}_total" for kind in ("encoder", "head") for what in LOST]
    return " or ".join(f"sum by (pod) (increase({name}[10m])) > 0" for name in names)


def _none_ready(fleet: Fleet) -> str:
    def none(kind: str, role: str) -> str:
        names = "|".join(one.name for one in fleet.workers("live") if one.role == role)
        return f'kube_{kind}{{namespace="{fleet.namespace}", {kind.partition("_")[0]}=~"{names}"}} == 0'

    heads = none("statefulset_status_replicas_ready", "head")
    return f"{none('deployment_status_replicas_ready', 'encoder')} or {heads}"


def _rule(name: str, expression: str, hold: str, severity: str, summary: str) -> dict[str, Any]:
    return {"alert": name, "expr": expression, "for": hold, "labels": {"severity": severity},
            "annotations": {"summary": summary}}
