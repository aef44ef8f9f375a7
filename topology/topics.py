"""Every topic and consumer group name, and how each topic is to be created.

One spelling: no other file builds a topic name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from topology.settings import Settings

Lane = Literal["live", "backfill"]
LANES: tuple[Lane, ...] = ("live", "backfill")


def utterances(prefix: str, ring: str, lane: Lane = "live") -> str:
    """Requests of one ring, spread evenly unless the caller gave a conversation key."""
    return _laned(f"{prefix}.{ring}.utterances", lane)


def embeddings(prefix: str, ring: str, cell: str, lane: Lane = "live") -> str:
    """Embeddings of one cell, keyed by tenant."""
    return _laned(f"{prefix}.{ring}.{cell}.embeddings", lane)


def predictions(prefix: str, ring: str, cell: str, lane: Lane = "live") -> str:
    """Results of one cell, keyed by tenant."""
    return _laned(f"{prefix}.{ring}.{cell}.predictions", lane)


def heads(prefix: str) -> str:
    """The compacted registry of heads, keyed by ring/tenant."""
    return f"{prefix}.heads"


def placement(prefix: str) -> str:
    """Where tenants live (compacted): the shares of each ring's cells, and tenants' pins."""
    return f"{prefix}.placement"


def dead_letters(prefix: str) -> str:
    """Records that could not be processed, with Kafka Connect's error headers."""
    return f"{prefix}.dead-letters"


def shadows(prefix: str) -> str:
    """Comparisons of versions in the shadow with what was answered, as JSON, keyed by tenant."""
    return f"{prefix}.shadows"


def labelled(prefix: str) -> str:
    """Labelled traffic to train from: JSON examples (text, intent, entities), keyed by tenant."""
    return f"{prefix}.labelled"


def insights(prefix: str, ring: str, cell: str) -> str:
    """What is counted of a cell's predictions (compacted): the changelog of the insights' table, keyed by window."""
    return f"{prefix}.{ring}.{cell}.insights"


def insights_group(prefix: str, ring: str) -> str:
    """The consumer group of the processes that count a ring's predictions."""
    return f"{prefix}.{ring}.insights"


def backfills(prefix: str) -> str:
    """Replays (compacted): each job's bounds, what is wished of it, and how it goes."""
    return f"{prefix}.backfills"


def backfill_group(prefix: str, job: str) -> str:
    """The consumer group that holds a replay's progress."""
    return f"{prefix}.backfill.{job}"


def encoder_group(prefix: str, ring: str, lane: Lane = "live") -> str:
    """The consumer group of a ring's encoder workers."""
    return _laned(f"{prefix}.{ring}.encoder", lane)


def head_group(prefix: str, ring: str, cell: str, lane: Lane = "live") -> str:
    """The consumer group of a cell's head workers."""
    return _laned(f"{prefix}.{ring}.{cell}.head", lane)


def _laned(name: str, lane: Lane) -> str:
    return name if lane == "live" else f"{name}.{lane}"


HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class TopicSpec:
    """What a topic should be. `configs` are broker-side topic settings, as Kafka spells them. `to_grow`: how a person
    has it get more partitions."""

    name: str
    partitions: int
    configs: dict[str, str] = field(default_factory=dict)
    to_grow: str = "with nobody writing to it and nothing waiting, Kafka's own kafka-topics --alter"


MIN_INSYNC, UNCLEAN = "min.insync.replicas", "unclean.leader.election.enable"
PRODUCTION_REPLICATION, PRODUCTION_MIN_INSYNC = 3, 2  # a zone may go: nothing is lost, and writes go on


def for_production(settings: Settings) -> Settings:
    """`settings` whose topics survive the loss of a zone: at least 3 replicas, 2 of them in sync for each write."""
    found = settings.topics
    return replace(settings, topics=replace(
        found, replication=max(found.replication, PRODUCTION_REPLICATION),
        min_insync_replicas=max(found.min_insync_replicas, PRODUCTION_MIN_INSYNC),
    ))


def hardened(settings: Settings) -> list[TopicSpec]:
    """As `wanted`, with what production needs of each topic: what is lost with a broker is never elected to lead."""
    least = {MIN_INSYNC: str(settings.topics.min_insync_replicas), UNCLEAN: "false"}
    return [replace(spec, configs={**spec.configs, **least}) for spec in wanted(settings)]


def wanted(settings: Settings) -> list[TopicSpec]:
    """Every topic that `settings` asks for."""
    return [*_shared(settings), *(spec for lane in LANES for spec in _of_lane(settings, lane))]


def _shared(settings: Settings) -> Iterable[TopicSpec]:
    yield TopicSpec(heads(settings.prefix), 1, {"cleanup.policy": "compact"})
    yield TopicSpec(placement(settings.prefix), 1, {"cleanup.policy": "compact"})
    yield TopicSpec(dead_letters(settings.prefix), 1, {"retention.ms": str(30 * DAY_MS)})
    yield TopicSpec(labelled(settings.prefix), 1, {"retention.ms": str(365 * DAY_MS)})
    yield TopicSpec(backfills(settings.prefix), 1, {"cleanup.policy": "compact", "segment.ms": str(DAY_MS)})
    yield TopicSpec(shadows(settings.prefix), 1, {"retention.ms": str(7 * DAY_MS)})


def _of_lane(settings: Settings, lane: Lane) -> Iterable[TopicSpec]:
    retention = {"retention.ms": str(settings.topics.retention_hours * HOUR_MS)}
    for ring in settings.rings.values():
        yield TopicSpec(utterances(settings.prefix, ring.name, lane), ring.partitions, retention)
        for cell in ring.cells.values():
            grow = f"`headrace cell drain {cell.name} --ring {ring.name}`, then `headrace cell add` grows what is empty"
            # Embeddings are large and can be computed again: an hour is enough for a worker to return.
            hours = ring.embeddings_hours if lane == "live" else 1.0
            yield TopicSpec(
                embeddings(settings.prefix, ring.name, cell.name, lane),
                cell.partitions,
                {"retention.ms": str(max(1, int(hours * HOUR_MS)))},
                grow,
            )
            yield TopicSpec(predictions(settings.prefix, ring.name, cell.name, lane), cell.partitions, retention, grow)
            if lane == "live":  # as many partitions as what is counted, and no retention: all windows kept are in it
                yield TopicSpec(
                    insights(settings.prefix, ring.name, cell.name), cell.partitions,
                    {"cleanup.policy": "compact", "segment.ms": str(DAY_MS), "segment.bytes": str(64 << 20)}, grow,
                )
