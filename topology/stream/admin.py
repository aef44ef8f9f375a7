"""Creates topics and says where they differ from what is wanted. Safe to run twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from topology.errors import Unavailable
from topology.pacing import PACING
from topology.settings import Broker, Settings
from topology.stream.connection import ended, told
from topology.stream.failures import Fate, fate_of
from topology.stream.security import kafka_security
from topology.stream.sign_on import sign_on_or_wait
from topology.topics import MIN_INSYNC, TopicSpec


@dataclass(frozen=True)
class TopicReport:
    """What `apply_topics` found or did for one topic."""

    name: str
    created: bool
    differences: tuple[str, ...] = ()


async def apply_topics(settings: Settings, specs: Sequence[TopicSpec], create: bool = True) -> list[TopicReport]:
    """Create what is missing (unless `create` is False) and compare the rest with what is wanted.

    Existing topics are never changed: fewer partitions cannot be, and with more a key's later records go to another
    partition and overtake those that wait; `grow_topics` is for topics in which nothing waits.
    Raises: Unavailable where the broker cannot be reached within 60 s or refuses.
    """
    admin = await connected(settings.broker)
    try:
        there = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in there]
        if create and missing:
            await _create(admin, missing, settings)
        old = [spec for spec in specs if spec.name in there]
        differences = await _differences(admin, old, settings) if old else {}
    except KafkaError as error:
        raise told(error, "the broker refused") from error
    finally:
        await ended(admin.close, "admin client")
    reports = [TopicReport(s.name, created=False, differences=tuple(differences[s.name])) for s in old]
    for spec in missing:
        reports.append(TopicReport(spec.name, created=create, differences=() if create else ("missing",)))
    return sorted(reports, key=lambda report: report.name)


async def connected(broker: Broker) -> AIOKafkaAdminClient:
    """A client for administration, which its caller closes. Raises: Unavailable, Misconfigured."""
    deadline = asyncio.get_running_loop().time() + PACING.admin_connect_s
    while True:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=broker.bootstrap, request_timeout_ms=30_000, **kafka_security(broker)
        )
        try:
            await admin.start()
            return admin
        except (KafkaError, OSError) as error:
            await ended(admin.close, "admin client")
            why = await sign_on_or_wait(broker) or error
            if isinstance(error, KafkaError) and fate_of(error) is Fate.CONFIGURATION:
                raise told(error, "the broker refused") from error
            if asyncio.get_running_loop().time() > deadline:
                within = f"within {PACING.admin_connect_s:.0f} s"
                raise Unavailable(f"no broker at {broker.bootstrap} {within}: {why}") from error
            await asyncio.sleep(0.2)


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], settings: Settings) -> None:
    configs, wanted = {}, settings.topics
    # A cluster's own default may be 2, and would refuse every write to a topic with one replica.
    if settings.broker.kind != "embedded" and (wanted.min_insync_replicas > 1 or wanted.replication == 1):
        configs[MIN_INSYNC] = str(wanted.min_insync_replicas)
    topics = [
        NewTopic(s.name, s.partitions, settings.topics.replication, topic_configs={**configs, **s.configs})
        for s in specs
    ]
    answer = await admin.create_topics(topics, timeout_ms=30_000)
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise told(error(" ".join(map(str, message))), f"topic {name!r} was not created")
    # Brokers hear of it from the controller: under load a moment later, and who reads at once finds no topic.
    end = asyncio.get_running_loop().time() + PACING.admin_connect_s
    while not {s.name for s in specs} <= set(await admin.list_topics()):
        if asyncio.get_running_loop().time() > end:
            break
        await asyncio.sleep(0.05)


async def _differences(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], settings: Settings
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {spec.name: [] for spec in specs}
    described = {t["topic"]: t for t in await admin.describe_topics([s.name for s in specs])}
    configs = await _configs(admin, specs) if settings.broker.kind != "embedded" else {}
    for spec in specs:
        partitions = described[spec.name]["partitions"]
        if len(partitions) != spec.partitions:
            found[spec.name].append(_of_partitions(len(partitions), spec))
        replicas = min((len(p["replicas"]) for p in partitions), default=0)
        if replicas != settings.topics.replication:
            found[spec.name].append(f"replication: {replicas}, wanted {settings.topics.replication}")
        has = configs.get(spec.name, {})
        for name, value in spec.configs.items():
            if (there := has.get(name, value)) != value:
                found[spec.name].append(f"{name}: {there}, wanted {value}")
        if 0 < replicas < int(has.get(MIN_INSYNC, 1)):
            found[spec.name].append(f"{MIN_INSYNC} {has[MIN_INSYNC]} of {replicas} replicas: every write is refused")
    return found


def _of_partitions(there: int, spec: TopicSpec) -> str:
    if there > spec.partitions:
        return f"partitions: {there}, wanted {spec.partitions}; Kafka takes none away: set {there}"
    return (f"partitions: {there}, wanted {spec.partitions}; not grown, as later records of a key would go to another "
            f"partition and overtake those that wait. To grow it: {spec.to_grow}")


async def grow_topics(settings: Settings, specs: Sequence[TopicSpec]) -> list[str]:
    """Give each topic the partitions that it should have, where it has fewer. Only for topics in which nothing waits
    and to which nobody writes. Returns the names of those that grew. Raises: Unavailable."""
    admin = await connected(settings.broker)
    try:
        there = {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics([s.name for s in specs])}
        growing = {s.name: NewPartitions(s.partitions) for s in specs if 0 < there.get(s.name, 0) < s.partitions}
        if growing:
            await admin.create_partitions(growing, timeout_ms=30_000)
    except KafkaError as error:
        raise told(error, "the broker refused") from error
    finally:
        await ended(admin.close, "admin client")
    return sorted(growing)


async def _configs(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> dict[str, dict[str, Any]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in specs]
    found: dict[str, dict[str, Any]] = {}
    for response in await admin.describe_configs(resources):
        for _, _, _, name, entries in response.resources:
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found
