"""What crosses zones for each utterance, and what a cloud asks for it. Arithmetic over what topics cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.topic_cost import DAY_S, GB, TopicCost
from topology.settings import Settings

ZONES = 3
GB_PRICE = 0.02  # of a GB from zone to zone, both sides together: yours may differ (`topics cost --gb-price`)


@dataclass(frozen=True)
class Crossing:
    """Bytes of an utterance of a ring that go from one zone to another, while processes stand in all zones alike.

    `written`: to leaders elsewhere. `replicated`: to the other replicas. `fetched`: from leaders elsewhere, by workers
    that do not know their zone; with `broker.rack` it is 0.
    """

    ring: str
    per_s: float
    written: float
    replicated: float
    fetched: float

    def gb_a_day(self, per_s: float, nearest: bool) -> float:
        """Of so many utterances a second; `nearest`: fetched from the zone's own replica."""
        each = self.written + self.replicated + (0.0 if nearest else self.fetched)
        return each * per_s * DAY_S / GB


def crossing_of(ring: str, per_s: float, every: float, read: float, replicas: int, zones: int = ZONES) -> Crossing:
    """Of a ring whose utterance leaves `every` bytes on all topics together, of which workers read `read`.

    A leader stands in a given zone once in `zones`, so (zones - 1) / zones of all writes and of all fetches cross. Each
    replica but the leader's stands in another zone.
    """
    elsewhere = (zones - 1) / zones
    return Crossing(ring, per_s, elsewhere * every, (min(replicas, zones) - 1) * every, elsewhere * read)


def crossings(settings: Settings, found: Sequence[TopicCost]) -> list[Crossing]:
    """Of each ring, from the cost of its topics (`topic_cost.costs`)."""
    crossing = []
    for ring in settings.rings:
        of = [one for one in found if one.ring == ring]
        every = sum(one.bytes_an_utterance for one in of)
        read = sum(one.bytes_an_utterance * _readers(settings, one.topic) for one in of)
        per_s = max((one.per_s for one in of if one.topic.endswith(".utterances")), default=0.0)
        crossing.append(crossing_of(ring, per_s, every, read, settings.topics.replication))
    return crossing


def _readers(settings: Settings, topic: str) -> int:
    """Processes of ours that read all of a live topic: its workers; of predictions the insights, where they run."""
    return int(settings.insights.enabled) if topic.endswith(".predictions") else 1
