"""Kafka by Strimzi 1.2 (`kafka.strimzi.io/v1`): the cluster, its topics, and a user for each role."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from infra.kubernetes.fleet import CLUSTER, KAFKA_PORT, Fleet, resource_name
from infra.kubernetes.pods import NEEDS, ZONE, ours
from infra.kubernetes.rights import Right, users
from infra.kubernetes.sizes import per_worker_s
from infra.kubernetes.text import Noted
from infra.topic_cost import costs
from topology.topics import TopicSpec, wanted

API = "kafka.strimzi.io/v1"
VERSION, METADATA = "4.3.1", "4.3-IV0"
UNCLEAN = "unclean.leader.election.enable"  # a replica that has not all records would lose the rest
LABELS = {"strimzi.io/cluster": CLUSTER}
CLIENT_NAMESPACE = {"headrace/client": "true"}  # a label of namespaces whose pods may reach Kafka and Redis
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
SPARE = 1.5  # of the disk that topics are reckoned to take: segments that wait for their deletion, and growth


def cluster(fleet: Fleet, zones: int) -> list[dict[str, Any]]:
    """Of three zones: three controllers, and brokers that know their zone, each on nodes of their own. Of one: as many
    nodes as topics have copies, each broker and controller."""
    copies = fleet.settings.topics.replication
    disk = broker_gi(fleet, max(3, copies) if zones > 1 else copies)
    if zones == 1:
        pools = [_pool("node", copies, ["controller", "broker"], disk, spread=False)]
    else:
        pools = [_pool("controller", 3, ["controller"], Noted("10Gi", "metadata"), spread=True),
                 _pool("broker", max(3, copies), ["broker"], disk, spread=True)]
    return [*pools, _kafka(fleet, zones)]


def _kafka(fleet: Fleet, zones: int) -> dict[str, Any]:
    copies, in_sync = fleet.settings.topics.replication, fleet.settings.topics.min_insync_replicas
    rack = {"rack": {"topologyKey": ZONE}} if zones > 1 else {}
    nearest: dict[str, Any] = {
        "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
        "replica.fetch.wait.max.ms": 10,  # of 500: a follower shows a record that much later (docs/ZONES.md)
    } if rack else {}
    return {
        "apiVersion": API, "kind": "Kafka", "metadata": {"name": CLUSTER},
        "spec": {
            "kafka": {
                "version": VERSION, "metadataVersion": METADATA,
                **rack,
                "listeners": [_listener()],
                "authorization": {"type": "simple"},
                "config": {
                    "auto.create.topics.enable": False, UNCLEAN: False,
                    "default.replication.factor": copies, "min.insync.replicas": in_sync,
                    "offsets.topic.replication.factor": copies,
                    "transaction.state.log.replication.factor": copies, "transaction.state.log.min.isr": in_sync,
                    **nearest,
                },
                "metricsConfig": {"type": "strimziMetricsReporter", "values": {"allowList": [
                    "kafka_server_.*", "kafka_controller_.*", "kafka_log_.*", "kafka_network_.*"]}},
            },
            "entityOperator": {"topicOperator": {}, "userOperator": {}},
            "kafkaExporter": {"topicRegex": ".*dead-letters", "groupRegex": "none"},
        },
    }


def _listener() -> dict[str, Any]:
    """TLS, and who signs on by a certificate. Strimzi makes a NetworkPolicy of the peers."""
    peers = [
        ours(*NEEDS["kafka"]),
        {"podSelector": {}, "namespaceSelector": {"matchLabels": CLIENT_NAMESPACE}},
        {"podSelector": {"matchLabels": {"app": "keda-operator"}},
         "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}},
    ]
    return {"name": "tls", "port": KAFKA_PORT, "type": "internal", "tls": True, "authentication": {"type": "tls"},
            "networkPolicyPeers": peers}


def _pool(name: str, count: int, roles: list[str], disk: Noted, spread: bool) -> dict[str, Any]:
    is_broker = "broker" in roles
    memory = "4Gi" if is_broker else "1Gi"
    apart = [{
        "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {**LABELS, "strimzi.io/pool-name": name}},
    }]
    return {
        "apiVersion": API, "kind": "KafkaNodePool", "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "replicas": count, "roles": roles,
            "storage": {"type": "jbod", "volumes": [
                {"id": 0, "type": "persistent-claim", "size": disk, "kraftMetadata": "shared"}]},
            "resources": {"requests": {"cpu": "1" if is_broker else "250m", "memory": memory},
                          "limits": {"memory": memory}},
            "template": {"pod": {
                "terminationGracePeriodSeconds": 120,  # leaders move first
                **({"topologySpreadConstraints": apart} if spread else {}),
            }},
        },
    }


def broker_gi(fleet: Fleet, brokers: int) -> Noted:
    """A broker's disk: what all topics keep with every encoder worker busy at autoscale.utilization."""
    settings = fleet.settings
    kept_gb = 0.0
    for ring in settings.rings.values():
        rate = ring.workers * per_worker_s(ring) * settings.autoscale.utilization
        kept_gb += sum(one.kept_gb for one in costs(settings, {}, rate) if one.ring == ring.name)
    size = max(20, math.ceil(kept_gb * SPARE / brokers / 10) * 10)
    return Noted(f"{size}Gi", f"{kept_gb:,.0f} GB kept on {brokers} brokers (headrace topics cost), and half as much")


def topics(fleet: Fleet) -> list[dict[str, Any]]:
    """Every topic that headrace.toml asks for."""
    return [_topic(fleet, spec) for spec in wanted(fleet.settings)]


def _topic(fleet: Fleet, spec: TopicSpec) -> dict[str, Any]:
    settings, is_name = fleet.settings.topics, _DNS_NAME.fullmatch(spec.name)
    config = {"min.insync.replicas": settings.min_insync_replicas, UNCLEAN: False, **{
        name: int(value) if value.isdecimal() else value for name, value in spec.configs.items()}}
    return {
        "apiVersion": API, "kind": "KafkaTopic",
        "metadata": {"name": spec.name if is_name else resource_name(spec.name), "labels": LABELS},
        "spec": {**({} if is_name else {"topicName": spec.name}), "partitions": spec.partitions,
                 "replicas": settings.replication, "config": config},
    }


def role_users(fleet: Fleet) -> list[dict[str, Any]]:
    """A user for each role and ring."""
    return [user(name, rights) for name, rights in users(fleet.settings).items()]


def user(name: str, rights: Iterable[Right]) -> dict[str, Any]:
    """A KafkaUser that signs on by a certificate, which Strimzi puts into the Secret of its name."""
    return {
        "apiVersion": API, "kind": "KafkaUser",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "authentication": {"type": "tls"},
            "authorization": {"type": "simple", "acls": [_acl(one) for one in rights]},
        },
    }


def _acl(right: Right) -> dict[str, Any]:
    pattern = "prefix" if right.prefix else "literal"
    return {"resource": {"type": right.kind, "name": right.name, "patternType": pattern},
            "operations": list(right.operations)}
