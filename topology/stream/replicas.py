"""Where the replicas of our topics stand: which brokers are away, and what that stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError

from topology.settings import Settings
from topology.stream.admin import connected
from topology.stream.connection import ended
from topology.topics import wanted


@dataclass(frozen=True)
class Node:
    """A broker of the cluster. `rack`: its zone; empty where it has none."""

    id: int
    address: str
    rack: str = ""

    def __str__(self) -> str:
        return f"{self.id} ({self.address}{f', zone {self.rack}' if self.rack else ''})"


@dataclass(frozen=True)
class Replicas:
    """Of all topics of an installation. `away`: brokers that hold replicas and that the cluster does not name.

    Partitions, as `topic[number]`: `behind`, with fewer replicas in sync than they have; `refusing`, with fewer than
    min.insync.replicas, so no write is taken; `leaderless`, neither read nor written.
    """

    brokers: tuple[Node, ...] = ()
    away: tuple[int, ...] = ()
    partitions: int = 0
    behind: tuple[str, ...] = ()
    refusing: tuple[str, ...] = ()
    leaderless: tuple[str, ...] = ()


async def read_replicas(settings: Settings) -> Replicas:
    """Of the topics that `settings` asks for. To be called within `groups.asking`."""
    admin = await connected(settings.broker)
    try:
        while True:
            try:
                cluster = await admin.describe_cluster()
                topics = await admin.describe_topics()  # to name one that is missing may create it
                break
            except KafkaError as error:  # a broker that died just now is still named, and may be the one asked
                if not error.retriable:
                    raise
                await asyncio.sleep(0.1)
    finally:
        await ended(admin.close, "admin client")
    ours = {spec.name for spec in wanted(settings)}
    return stand_of(nodes(cluster), [t for t in topics if t["topic"] in ours], settings.topics.min_insync_replicas)


def nodes(cluster: Mapping[str, Any]) -> tuple[Node, ...]:
    """The brokers that a cluster's metadata names."""
    found = (Node(b["node_id"], f"{b['host']}:{b['port']}", b["rack"] or "") for b in cluster["brokers"])
    return tuple(sorted(found, key=lambda node: node.id))


def stand_of(brokers: Sequence[Node], topics: Iterable[Mapping[str, Any]], min_insync: int) -> Replicas:
    """What metadata tells of the replicas of `topics`."""
    behind, refusing, leaderless, holders, count = [], [], [], set[int](), 0
    for topic in topics:
        for one in topic["partitions"]:
            name, count = f"{topic['topic']}[{one['partition']}]", count + 1
            holders.update(one["replicas"])
            if one["leader"] < 0:
                leaderless.append(name)
            elif len(one["isr"]) < min_insync:
                refusing.append(name)
            elif len(one["isr"]) < len(one["replicas"]):
                behind.append(name)
    away = holders - {node.id for node in brokers}
    return Replicas(tuple(brokers), tuple(sorted(away)), count, tuple(behind), tuple(refusing), tuple(leaderless))
