"""What runs beside the workers: the scaler that KEDA asks, the exporter of lag, and the insights of each ring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.kubernetes import pods, sizes
from infra.kubernetes.fleet import Fleet, resource_name, user_name

IMAGE = "headrace-tools"
SCALER, SCALER_PORT = "headrace-scaler", 6_000


def scaler(fleet: Fleet) -> list[dict[str, Any]]:
    """One process decides for all tiers. It keeps no volume, which would tie it to a zone. A new one that cannot read
    Kafka tells no count, and then KEDA changes none."""
    args = ["scaler", "--port", str(SCALER_PORT)]
    container = pods.container(fleet, "scaler", IMAGE, args, sizes.small())
    container["ports"] = [*container["ports"], {"name": "grpc", "containerPort": SCALER_PORT}]
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": pods.metadata("scaler", SCALER),
        "spec": {"selector": pods.labels("scaler", SCALER),
                 "ports": [{"name": "grpc", "port": SCALER_PORT, "targetPort": "grpc"}]},
    }
    return [_one(fleet, "scaler", SCALER, user_name("scaler"), container), service]


def lag(fleet: Fleet) -> list[dict[str, Any]]:
    """One exporter for the installation."""
    args = ["lag", "--metrics-port", str(pods.METRICS_PORT)]
    container = pods.container(fleet, "lag", IMAGE, args, sizes.small())
    return [_one(fleet, "lag", "headrace-lag", user_name("scaler"), container)]


def insights(fleet: Fleet) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(name, manifests) of the process that counts a ring's predictions, where insights.enabled."""
    for ring in fleet.settings.rings if fleet.settings.insights.enabled else ():
        name = resource_name("insights", ring)
        args = ["insights", f"--ring={ring}", "--metrics-port", str(pods.METRICS_PORT)]
        container = pods.container(fleet, "insights", IMAGE, args, sizes.small("500m", 512, 1_024))
        yield name, [_one(fleet, "insights", name, user_name("insights", ring), container)]


def _one(fleet: Fleet, component: str, name: str, user: str, container: dict[str, Any]) -> dict[str, Any]:
    """One pod: the old one ends before the new one begins."""
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": pods.metadata(component, name, annotations=pods.roll_order(component)),
        "spec": {
            "replicas": 1, "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": pods.labels(component, name)},
            "template": pods.template(fleet, component, name, {
                **pods.pod(fleet, user, container, "1Gi"), "tolerations": pods.LEAVE}),
        },
    }
