"""What is rendered: headrace.toml, where it goes, and the workloads that it asks for, each with its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from topology import topics
from topology.addresses import placed
from topology.settings import Settings, parse

HOME = Path("/etc/headrace")  # of headrace.toml in a pod: its relative paths are taken from here
CLUSTER = "headrace"  # of Strimzi's Kafka: its services and Secrets begin with it
KAFKA_SERVICE, KAFKA_PORT = f"{CLUSTER}-kafka-bootstrap", 9093
REDIS_SERVICE, REDIS_PORT = "headrace-redis", 6379
NAME_CHARS = 48  # of a workload: the labels of a StatefulSet's pods add 11 to it, and 63 is their limit
_PLAIN_PART = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Fleet:
    """`toml`: the text of headrace.toml. `registry`: before the images' names; empty for none. `domain`: of the
    cluster's own DNS."""

    toml: str
    namespace: str = "headrace"
    registry: str = ""
    tag: str = "latest"
    domain: str = "cluster.local"

    @cached_property
    def settings(self) -> Settings:
        """Of `toml`, with paths as a pod sees them. Raises: Misconfigured, naming every mistake."""
        return placed(parse(self.toml), HOME)

    @cached_property
    def digest(self) -> str:
        """Changes with headrace.toml: pods that carry it are started anew then."""
        return hashlib.sha256(self.toml.encode()).hexdigest()[:16]

    @property
    def has_kafka(self) -> bool:
        """Whether `broker.bootstrap` is the Kafka that is rendered here."""
        return all(self._is_here(host, KAFKA_SERVICE) for host, _ in self.brokers)

    @property
    def has_redis(self) -> bool:
        """Whether `redis.url` is the Redis that is rendered here."""
        return self._is_here(urlsplit(self.settings.redis.url).hostname or "", REDIS_SERVICE)

    @property
    def brokers(self) -> list[tuple[str, int]]:
        """(host, port) of each bootstrap address."""
        found = (one.strip().rpartition(":") for one in self.settings.broker.bootstrap.split(","))
        return [(host, int(port)) if port.isdecimal() else (port, 9092) for host, _, port in found]

    @property
    def survives_a_zone(self) -> bool:
        """Whether topics have a copy in each of three zones, and take writes with two of them."""
        topics = self.settings.topics
        return topics.replication >= 3 and topics.min_insync_replicas >= 2

    @property
    def redis_port(self) -> int:
        """Of `redis.url`; where that is a reference, the usual one."""
        return urlsplit(self.settings.redis.url).port or REDIS_PORT

    def _is_here(self, host: str, service: str) -> bool:
        return host in {service, *(f"{service}.{self.namespace}{end}" for end in ("", ".svc", f".svc.{self.domain}"))}

    def workers(self, lane: topics.Lane) -> Iterator[Workload]:
        """The encoder workers of each ring and the head workers of each cell."""
        prefix = self.settings.prefix
        for ring in self.settings.rings.values():
            yield Workload("encoder", ring.name, "", lane, ring.workers, ring.max_workers or ring.partitions,
                           topics.encoder_group(prefix, ring.name, lane), topics.utterances(prefix, ring.name, lane))
            for cell in ring.cells.values():
                yield Workload("head", ring.name, cell.name, lane, cell.workers, cell.max_workers or cell.partitions,
                               topics.head_group(prefix, ring.name, cell.name, lane),
                               topics.embeddings(prefix, ring.name, cell.name, lane))


@dataclass(frozen=True)
class Workload:
    """Workers of one tier and lane: `replicas` to begin with, `most` by autoscaling; what they read as which group."""

    role: str
    ring: str
    cell: str
    lane: topics.Lane
    replicas: int
    most: int
    group: str
    topic: str

    @property
    def name(self) -> str:
        """Of its Deployment or StatefulSet."""
        own = resource_name(self.role, self.ring, *([self.cell] if self.cell else []))
        return own if self.lane == "live" else f"{own}-backfill"

    @property
    def tier(self) -> str:
        """As the external scaler knows it."""
        return "/".join(filter(None, (self.role, self.ring, self.cell)))

    @property
    def user(self) -> str:
        """Its KafkaUser: one for a role and ring."""
        return user_name(self.role, self.ring)


def resource_name(*parts: str) -> str:
    """A name in Kubernetes (lowercase letters, digits, dashes, short) of the names of a role, a ring, a cell. Where
    parts have other letters, or the whole is long, with a digest: no two share a name."""
    name = "-".join(parts)
    if all(_PLAIN_PART.fullmatch(part) for part in parts) and len(name) <= NAME_CHARS - len("-backfill"):
        return name
    digest = hashlib.blake2b("/".join(parts).encode(), digest_size=4).hexdigest()
    readable = re.sub(r"[^a-z0-9]+", "-", name)[: NAME_CHARS - len("-backfill") - 9].strip("-")
    return f"{readable}-{digest}"


def user_name(role: str, ring: str = "") -> str:
    """A KafkaUser, and the Secret that Strimzi puts its certificate into."""
    return f"{CLUSTER}-{resource_name(role, ring) if ring else role}"
