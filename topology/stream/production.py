"""What production asks of a Kafka cluster: three brokers in three zones, and topics that survive the loss of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from topology.errors import Misconfigured
from topology.settings import Settings
from topology.stream.admin import TopicReport, apply_topics, connected
from topology.stream.connection import ended, told
from topology.stream.replicas import Node, nodes
from topology.topics import for_production, hardened

BROKERS = 3
SELECTOR, NEAREST = "replica.selector.class", "RackAwareReplicaSelector"


@dataclass(frozen=True)
class Production:
    """What was created and found. `advice`: what works, and costs money or safety."""

    topics: list[TopicReport]
    advice: list[str]


async def apply_production(settings: Settings) -> Production:
    """As `apply_topics`, for production: each topic with 3 replicas, 2 in sync for a write, and no unclean election.

    Raises: Misconfigured where the cluster has fewer than 3 brokers, or where the loss of one would stop all writes.
    """
    settings = for_production(settings)
    check_topics(settings)
    admin = await connected(settings.broker)
    try:
        brokers = nodes(await admin.describe_cluster())
        check_brokers(brokers, settings.broker.bootstrap)
        reports = await apply_topics(settings, hardened(settings))
        there = {topic["topic"]: topic for topic in await admin.describe_topics([one.name for one in reports])}
        advice = [*zones_advice(brokers), *await _selector_advice(admin, brokers)]
    except KafkaError as error:
        raise told(error, "the broker refused") from error
    finally:
        await ended(admin.close, "admin client")
    spread = [replace(one, differences=(*one.differences, *together(there[one.name], brokers))) for one in reports]
    return Production(spread, advice)


def check_topics(settings: Settings) -> None:
    """Raises: Misconfigured where each write needs every replica."""
    wanted = settings.topics
    if wanted.min_insync_replicas >= wanted.replication:
        raise Misconfigured(
            f"topics.min_insync_replicas is {wanted.min_insync_replicas} of {wanted.replication} replicas: the loss of "
            "one broker would stop every write; with replication 3 write 2"
        )


def check_brokers(brokers: Sequence[Node], bootstrap: str) -> None:
    """Raises: Misconfigured, naming the brokers that are there, where they are fewer than 3."""
    if len(brokers) < BROKERS:
        named = ", ".join(map(str, brokers))
        raise Misconfigured(
            f"the cluster at {bootstrap} has {len(brokers)} of the {BROKERS} brokers that production needs: {named}. "
            "Add brokers, or start those that are away; without --production fewer will do"
        )


def zones_advice(brokers: Sequence[Node]) -> Iterable[str]:
    """A line where the cluster does not know that its brokers stand in zones."""
    zones = {node.rack for node in brokers if node.rack}
    if nowhere := [str(node.id) for node in brokers if not node.rack]:
        yield (f"brokers {', '.join(nowhere)} have no broker.rack: Kafka may put all replicas of a partition in one "
               "zone")
    elif len(zones) < BROKERS:
        yield f"the brokers stand in {len(zones)} zones ({', '.join(sorted(zones))}): with one of them replicas go"


def together(topic: Mapping[str, Any], brokers: Sequence[Node]) -> Iterable[str]:
    """A difference where a partition's replicas stand in fewer zones than they could."""
    zone_of = {node.id: node.rack for node in brokers}
    if not all(zone_of.values()):
        return
    zones = len(set(zone_of.values()))
    close = [one["partition"] for one in topic["partitions"]
             if len({zone_of.get(n, n) for n in one["replicas"]}) < min(zones, len(one["replicas"]))]
    if close:
        yield f"partitions {', '.join(map(str, sorted(close)))} have replicas that share a zone: reassign them"


async def _selector_advice(admin: AIOKafkaAdminClient, brokers: Sequence[Node]) -> list[str]:
    """A line where brokers do not send readers to the replica of their zone. Nothing where they do not tell it: to ask
    needs the right to describe the cluster's settings."""
    resources = [ConfigResource(ConfigResourceType.BROKER, str(node.id), {SELECTOR: ""}) for node in brokers]
    lacking = []
    for response in await admin.describe_configs(resources):
        for code, _, _, name, entries in response.resources:
            if not code and not any(NEAREST in (entry[1] or "") for entry in entries):
                lacking.append(name)
    if not lacking:
        return []
    return [f"brokers {', '.join(sorted(lacking))} have no {SELECTOR} = org.apache.kafka.common.replica.{NEAREST}: "
            "workers fetch from other zones, whatever HEADRACE_RACK says"]
