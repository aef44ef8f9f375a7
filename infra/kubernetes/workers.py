"""Encoder and head workers: a Deployment for each ring, a StatefulSet for each cell."""

from __future__ import annotations

from typing import Any

from infra.kubernetes import pods, sizes
from infra.kubernetes.fleet import Fleet, Workload
from topology.settings import Ring

GPU = "nvidia.com/gpu"
PRIORITY = {"live": "headrace-live", "backfill": "headrace-replays"}


def manifests(fleet: Fleet, one: Workload) -> list[dict[str, Any]]:
    """The workers of one tier and lane, and how many of them may be away at once."""
    workers = _encoders(fleet, one) if one.role == "encoder" else _heads(fleet, one)
    budget = [pods.disruption_budget(one.role, one.name)] if one.lane == "live" else []
    return [workers, *budget]


def _encoders(fleet: Fleet, one: Workload) -> dict[str, Any]:
    """Encoders are alike and keep nothing: a Deployment."""
    ring = fleet.settings.rings[one.ring]
    on_gpu = ring.device == "cuda"
    image = "headrace-encoder-cuda" if on_gpu else "headrace-encoder"
    args = [f"--ring={one.ring}", "--lane", one.lane]  # a name may begin with "-"
    container = pods.container(fleet, "encoder", image, args, sizes.encoder(ring))
    spec = {**pods.pod(fleet, one.user, container, "1Gi", models=True), **_placed(one, ring, "pod-template-hash")}
    # A GPU more than are in use is often not to be had; a core is.
    rolling = {"maxSurge": 0, "maxUnavailable": 1} if on_gpu else {"maxSurge": 1, "maxUnavailable": 0}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(one),
        "spec": {
            "replicas": one.replicas,
            "selector": {"matchLabels": pods.labels(one.role, one.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": pods.template(fleet, one.role, one.name, spec),
        },
    }


def _heads(fleet: Fleet, one: Workload) -> dict[str, Any]:
    """Head workers keep their name over a restart, and with it their partitions (static membership): a StatefulSet."""
    args = [f"--ring={one.ring}", f"--cell={one.cell}", "--lane", one.lane]
    container = pods.container(fleet, "head", "headrace-head", args, sizes.head(fleet.settings), named=True)
    state_mi = fleet.settings.heads.disk_mb + 1_024  # copies of heads, and what is beside them
    spec = {**pods.pod(fleet, one.user, container, f"{state_mi}Mi"), **_placed(one, None, "controller-revision-hash")}
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": _metadata(one),
        "spec": {
            "replicas": one.replicas,
            "serviceName": "headrace-head",
            "podManagementPolicy": "Parallel",  # they do not wait for each other
            "selector": {"matchLabels": pods.labels(one.role, one.name)},
            "updateStrategy": {"type": "RollingUpdate"},
            "template": pods.template(fleet, one.role, one.name, spec),
        },
    }


def _metadata(one: Workload) -> dict[str, Any]:
    return pods.metadata(one.role, one.name, annotations=pods.roll_order(one.role))


def _placed(one: Workload, ring: Ring | None, revision: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "priorityClassName": PRIORITY[one.lane],
        "topologySpreadConstraints": pods.spread(one.role, one.name, revision), "tolerations": list(pods.LEAVE),
    }
    if ring is not None and ring.device == "cuda":
        found["nodeSelector"] = {f"{GPU}.present": "true"}  # a label of NVIDIA's GPU feature discovery
        found["tolerations"].append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
    return found


def shared(fleet: Fleet) -> list[dict[str, Any]]:
    """Their account, their priorities, the name service of head workers, the volume of prepared encoders."""
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": pods.metadata("account", "headrace"),
         "automountServiceAccountToken": False},
        _priority("live", 1_000, "PreemptLowerPriority", "live traffic: before replays where room is short"),
        _priority("backfill", -1_000, "Never", "replays and batch jobs: they wait for room"),
        {"apiVersion": "v1", "kind": "Service", "metadata": pods.metadata("head", "headrace-head"),
         "spec": {"clusterIP": "None", "publishNotReadyAddresses": True,
                  "selector": {"app.kubernetes.io/name": "headrace", "app.kubernetes.io/component": "head"},
                  "ports": [{"name": "metrics", "port": pods.METRICS_PORT, "targetPort": "metrics"}]}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": pods.metadata("encoder", "headrace-models"),
         "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "5Gi"}}}},
    ]


def _priority(lane: str, value: int, preemption: str, what: str) -> dict[str, Any]:
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": PRIORITY[lane]},
            "value": value, "preemptionPolicy": preemption, "description": what}
