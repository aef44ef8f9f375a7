"""KEDA 2.20: a ScaledObject for each tier, by Headrace's own scaler or, as a fallback, by KEDA's Kafka scaler."""

from __future__ import annotations

from typing import Any

from infra.kubernetes import pods, sizes
from infra.kubernetes.fleet import CLUSTER, Fleet, Workload, user_name
from infra.kubernetes.tools import SCALER, SCALER_PORT

API = "keda.sh/v1alpha1"
ZONES = 3


def by_scaler(fleet: Fleet, one: Workload) -> dict[str, Any]:
    """The count itself is the metric, its target 1. What cannot be read changes no count: so no `fallback`."""
    trigger = {
        "type": "external-push", "metricType": "AverageValue",
        "metadata": {"scalerAddress": f"{SCALER}.{fleet.namespace}:{SCALER_PORT}", "tier": one.tier},
    }
    # The decision has its own tolerance and quiet window.
    steady = {"scaleUp": {"tolerance": "0.01", "stabilizationWindowSeconds": 0},
              "scaleDown": {"tolerance": "0.01", "stabilizationWindowSeconds": 0}}
    return _scaled(one, trigger, {"pollingInterval": 10, "advanced": {
        "horizontalPodAutoscalerConfig": {"behavior": steady}}})


def by_lag(fleet: Fleet, one: Workload) -> dict[str, Any]:
    """Lag over a threshold: it cannot tell a tier that keeps up from one that idles, so it turns back and forth more
    (docs/SCALING.md). Where it cannot read, the count stays. Backfill lanes have it always, and go to zero."""
    signs_on = {"authenticationRef": {"name": user_name("keda")}} if fleet.has_kafka else {}
    trigger = {
        "type": "kafka", "metricType": "AverageValue",
        "metadata": {
            "bootstrapServers": fleet.settings.broker.bootstrap, "consumerGroup": one.group, "topic": one.topic,
            "lagThreshold": str(threshold(fleet, one)), "activationLagThreshold": "0",
            "offsetResetPolicy": "earliest", "ensureEvenDistributionOfPartitions": "true",
            **({"tls": "enable"} if fleet.has_kafka else {}),
        },
        **signs_on,
    }
    quiet_s = int(fleet.settings.autoscale.quiet_s)
    return _scaled(one, trigger, {
        "pollingInterval": 10, "cooldownPeriod": 300,
        "fallback": {"failureThreshold": 3, "replicas": max(1, one.replicas), "behavior": "currentReplicas"},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {
            "scaleDown": {"stabilizationWindowSeconds": quiet_s}}}},
    })


def threshold(fleet: Fleet, one: Workload) -> int:
    """Records a worker that may wait: what it does in half of autoscale.objective_s."""
    per_s = sizes.HEAD_PER_S if one.role == "head" else sizes.per_worker_s(fleet.settings.rings[one.ring])
    return int(per_s * fleet.settings.autoscale.objective_s / 2)


def sign_on() -> dict[str, Any]:
    """How KEDA signs on to the Kafka that is rendered."""
    return {
        "apiVersion": API, "kind": "TriggerAuthentication", "metadata": {"name": user_name("keda")},
        "spec": {"secretTargetRef": [
            {"parameter": "ca", "name": f"{CLUSTER}-cluster-ca-cert", "key": "ca.crt"},
            {"parameter": "cert", "name": user_name("keda"), "key": "user.crt"},
            {"parameter": "key", "name": user_name("keda"), "key": "user.key"},
        ]},
    }


def _scaled(one: Workload, trigger: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Live tiers keep a worker in each zone, where headrace.toml has so many; those of the backfill lane, which nobody
    waits for, none while idle."""
    kind = "Deployment" if one.role == "encoder" else "StatefulSet"
    return {
        "apiVersion": API, "kind": "ScaledObject", "metadata": pods.metadata(one.role, one.name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": one.name},
            "minReplicaCount": min(ZONES, one.replicas) if one.lane == "live" else 0,
            "maxReplicaCount": one.most,
            **more,
            "triggers": [trigger],
        },
    }
