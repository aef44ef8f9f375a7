"""NetworkPolicies: nothing passes, then what each role needs."""

from __future__ import annotations

from typing import Any

from infra.kubernetes import pods
from infra.kubernetes.fleet import KAFKA_PORT, REDIS_PORT, Fleet
from infra.kubernetes.kafka import CLIENT_NAMESPACE, LABELS
from infra.kubernetes.redis import HEALTH_PORT
from infra.kubernetes.tools import SCALER_PORT

MONITORING, KEDA = "monitoring", "keda"  # the namespaces of Prometheus and KEDA
NOT_STRIMZI = {"matchExpressions": [{"key": "strimzi.io/cluster", "operator": "DoesNotExist"}]}


def policies(fleet: Fleet) -> list[dict[str, Any]]:
    """Of all pods but those of Strimzi, which writes policies for its own."""
    kafka_ports = sorted({port for _, port in fleet.brokers}) or [KAFKA_PORT]
    to_kafka: list[dict[str, Any]] = [{"podSelector": {"matchLabels": LABELS}}] if fleet.has_kafka else ANYWHERE
    to_redis = [pods.ours("redis-proxy", "redis")] if fleet.has_redis else ANYWHERE
    return [
        _policy("default-deny", NOT_STRIMZI, {"policyTypes": ["Ingress", "Egress"]}),
        _policy("dns", NOT_STRIMZI, _egress(DNS, [("UDP", 53), ("TCP", 53)])),
        _policy("kafka", pods.ours(*pods.NEEDS["kafka"])["podSelector"], _egress(to_kafka, _tcp(*kafka_ports))),
        _policy("redis", pods.ours(*pods.NEEDS["redis"])["podSelector"], _egress(to_redis, _tcp(fleet.redis_port))),
        _policy("store", pods.ours(*pods.NEEDS["store"])["podSelector"], _egress(ANYWHERE, _tcp(443))),
        _policy("metrics", pods.OURS, _ingress([_namespace(MONITORING)], _tcp(pods.METRICS_PORT))),
        _policy("scaler", pods.ours("scaler")["podSelector"], _ingress([_namespace(KEDA)], _tcp(SCALER_PORT))),
    ]


def of_redis() -> list[dict[str, Any]]:
    """Of the Redis that is rendered: callers reach the proxy; proxy and Sentinels reach the servers."""
    callers = _callers()
    ports = _tcp(REDIS_PORT, 26_379)
    return [
        _policy("redis-proxy", pods.ours("redis-proxy")["podSelector"],
                _both(_ingress(callers, _tcp(REDIS_PORT)), _egress([pods.ours("redis")], ports))),
        _policy("redis-proxy-metrics", pods.ours("redis-proxy")["podSelector"],
                _ingress([_namespace(MONITORING)], _tcp(HEALTH_PORT))),
        _policy("redis-servers", pods.ours("redis")["podSelector"],
                _both(_ingress([pods.ours("redis", "redis-proxy")], ports), _egress([pods.ours("redis")], ports))),
    ]


def of_one_redis() -> list[dict[str, Any]]:
    """Of a single Redis."""
    callers = _callers()
    return [_policy("redis-servers", pods.ours("redis")["podSelector"], _ingress(callers, _tcp(REDIS_PORT)))]


# Kubernetes' name service, and its cache on nodes where there is one.
DNS: list[dict[str, Any]] = [
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
     "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}},
    {"ipBlock": {"cidr": "169.254.20.10/32"}},
]
# But for the machines' own metadata, which holds credentials.
ANYWHERE: list[dict[str, Any]] = [
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}, {"ipBlock": {"cidr": "::/0"}},
]


def _callers() -> list[dict[str, Any]]:
    return [pods.ours(*pods.NEEDS["redis"]),
            {"podSelector": {}, "namespaceSelector": {"matchLabels": CLIENT_NAMESPACE}}]


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}



def _tcp(*ports: int) -> list[tuple[str, int]]:
    return [("TCP", port) for port in ports]


def _egress(to: list[dict[str, Any]], ports: list[tuple[str, int]]) -> dict[str, Any]:
    return {"policyTypes": ["Egress"], "egress": [{"to": to, "ports": _ports(ports)}]}


def _ingress(peers: list[dict[str, Any]], ports: list[tuple[str, int]]) -> dict[str, Any]:
    return {"policyTypes": ["Ingress"], "ingress": [{"from": peers, "ports": _ports(ports)}]}


def _both(ingress: dict[str, Any], egress: dict[str, Any]) -> dict[str, Any]:
    return {**ingress, **egress, "policyTypes": ["Ingress", "Egress"]}


def _ports(ports: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"protocol": protocol, "port": port} for protocol, port in ports]


def _policy(name: str, selector: dict[str, Any], rules: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": selector, **rules}}
