"""What each role may do in Kafka: the topics that it reads and writes, the groups that it is in or looks at.

In Kafka Read and Write include Describe. A producer that numbers its records needs no right of its own beside Write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from infra.kubernetes.fleet import user_name
from topology import topics
from topology.settings import Ring, Settings
from topology.topics import LANES, Lane


class Right(NamedTuple):
    """`kind`: topic or group. `prefix`: `name` is the beginning of the names that are meant."""

    kind: str
    name: str
    operations: tuple[str, ...]
    prefix: bool = False


def users(settings: Settings) -> dict[str, list[Right]]:
    """KafkaUser → its rights, those of every role of an installation."""
    found = {
        user_name("client"): _client(settings), user_name("scaler"): _watcher(settings),
        user_name("backfill"): _backfill(settings), user_name("operator"): _operator(settings),
    }
    for ring in settings.rings.values():
        found[user_name("encoder", ring.name)] = _encoder(settings, ring)
        found[user_name("head", ring.name)] = _head(settings, ring)
        if settings.insights.enabled:
            found[user_name("insights", ring.name)] = _insights(settings, ring)
    return found


def keda(settings: Settings) -> list[Right]:
    """KEDA's own Kafka scaler: it compares offsets, and reads no record."""
    return [
        *_each("topic", [name for lane in LANES for name in _read(settings, lane)], "Describe"),
        *_each("group", [name for lane in LANES for name in _groups(settings, lane)], "Describe"),
    ]


def _client(settings: Settings) -> list[Right]:
    return _each("topic", [topics.utterances(settings.prefix, ring) for ring in settings.rings], "Write")


def _encoder(settings: Settings, ring: Ring) -> list[Right]:
    prefix = settings.prefix
    return [
        *_each("topic", [topics.utterances(prefix, ring.name, lane) for lane in LANES], "Read"),
        *_each("group", [topics.encoder_group(prefix, ring.name, lane) for lane in LANES], "Read"),
        *_each("topic", [topics.embeddings(prefix, ring.name, cell, lane) for lane in LANES for cell in ring.cells],
               "Write"),
        Right("topic", topics.placement(prefix), ("Read",)),
        # Whether the cell that a tenant left has finished what was sent there before.
        *_each("group", [topics.head_group(prefix, ring.name, cell, lane) for lane in LANES for cell in ring.cells],
               "Describe"),
        *_results(settings, ring, LANES),
    ]


def _head(settings: Settings, ring: Ring) -> list[Right]:
    prefix, cells = settings.prefix, [(cell, lane) for lane in LANES for cell in ring.cells]
    return [
        *_each("topic", [topics.embeddings(prefix, ring.name, cell, lane) for cell, lane in cells], "Read"),
        *_each("group", [topics.head_group(prefix, ring.name, cell, lane) for cell, lane in cells], "Read"),
        *_each("topic", [topics.heads(prefix), topics.placement(prefix)], "Read"),
        *_results(settings, ring, LANES),
        Right("topic", topics.shadows(prefix), ("Write",)),
    ]


def _results(settings: Settings, ring: Ring, lanes: Sequence[Lane]) -> list[Right]:
    """Where a worker writes what came of a record: its result, an error's included, or a dead letter."""
    names = [topics.predictions(settings.prefix, ring.name, cell, lane) for lane in lanes for cell in ring.cells]
    return _each("topic", [*names, topics.dead_letters(settings.prefix)], "Write")


def _watcher(settings: Settings) -> list[Right]:
    """The scaler and the exporter of lag: they read the first record that waits, for its age, and replays' progress."""
    prefix = settings.prefix
    return [
        *_each("topic", [name for lane in LANES for name in _read(settings, lane)], "Read"),
        *_each("group", [name for lane in LANES for name in _groups(settings, lane)], "Describe"),
        Right("topic", topics.backfills(prefix), ("Read",)),
        Right("group", topics.backfill_group(prefix, ""), ("Describe",), prefix=True),
    ]


def _insights(settings: Settings, ring: Ring) -> list[Right]:
    """Its table is a topic; it compares what both topics are with what they should be."""
    names = [(topics.predictions(settings.prefix, ring.name, cell), topics.insights(settings.prefix, ring.name, cell))
             for cell in ring.cells]
    return [
        *_each("topic", [results for results, _ in names], "Read", "DescribeConfigs"),
        *_each("topic", [table for _, table in names], "Read", "Write", "DescribeConfigs"),
        Right("group", topics.insights_group(settings.prefix, ring.name), ("Read",)),
    ]


def _backfill(settings: Settings) -> list[Right]:
    """A replay: it reads what was live, watches whether live is in time, and writes to the lane of its own."""
    prefix = settings.prefix
    live = [topics.predictions(prefix, ring.name, cell) for ring in settings.rings.values() for cell in ring.cells]
    return [
        *_each("topic", [*_read(settings, "live"), *live, topics.heads(prefix), topics.placement(prefix)], "Read"),
        *_each("group", _groups(settings, "live"), "Describe"),
        Right("topic", topics.backfills(prefix), ("Read", "Write", "DescribeConfigs")),
        Right("group", topics.backfill_group(prefix, ""), ("Read",), prefix=True),
        *[right for ring in settings.rings.values() for right in _results(settings, ring, ["backfill"])],
    ]


def _operator(settings: Settings) -> list[Right]:
    """A person with the `headrace` command: everything of this prefix but to delete, nothing else of the cluster."""
    mine = f"{settings.prefix}."
    every = ("Read", "Write", "Create", "Alter", "Describe", "DescribeConfigs", "AlterConfigs")
    return [Right("topic", mine, every, prefix=True), Right("group", mine, ("Read", "Describe"), prefix=True)]


def _read(settings: Settings, lane: Lane) -> Iterator[str]:
    """Every topic that workers read."""
    for ring in settings.rings.values():
        yield topics.utterances(settings.prefix, ring.name, lane)
        yield from (topics.embeddings(settings.prefix, ring.name, cell, lane) for cell in ring.cells)


def _groups(settings: Settings, lane: Lane) -> Iterator[str]:
    """Every group that workers are in."""
    for ring in settings.rings.values():
        yield topics.encoder_group(settings.prefix, ring.name, lane)
        yield from (topics.head_group(settings.prefix, ring.name, cell, lane) for cell in ring.cells)


def _each(kind: str, names: Sequence[str] | Iterator[str], *operations: str) -> list[Right]:
    return [Right(kind, name, operations) for name in dict.fromkeys(names)]
