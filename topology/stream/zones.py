"""Zones: how much of what a consumer fetches comes from brokers of its own (`broker.rack`, KIP-392).

aiokafka asks each partition's leader with the rack of its client. Where the brokers have
`replica.selector.class = …RackAwareReplicaSelector`, the leader names a replica in sync of that rack, and aiokafka
fetches there, until the replica's broker fails or `PACING.metadata_max_age_s` is over; then it asks the leader again.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.fetch import FetchResponse_v0

from topology.settings import Broker

log = logging.getLogger(__name__)


class ZoneBytes:
    """Counts the bytes that a consumer's fetches bring, by where they come from. aiokafka has no such count."""

    def __init__(self, consumer: AIOKafkaConsumer, broker: Broker) -> None:
        self._client, self._rack = consumer._client, broker.rack
        self._from: Counter[str] = Counter()  # zone → bytes; of brokers without one under the empty name
        self._told = not broker.rack
        self._send, self._client.send = self._client.send, self._counted

    def stats(self) -> dict[str, float]:
        """Bytes of records that came so far; of them, those from brokers of other zones (0 where no rack is set); and
        by the brokers' zones."""
        fetched = self._from.total()
        other = fetched - self._from[self._rack] if self._rack else 0
        by_zone = {f"fetched_bytes_{zone}": float(size) for zone, size in sorted(self._from.items()) if zone}
        return {"fetched_bytes": float(fetched), "other_zone_bytes": float(other), **by_zone}

    async def _counted(self, node: int, request: Any, **more: Any) -> Any:
        answer = await self._send(node, request, **more)
        if getattr(answer, "API_KEY", None) == FetchResponse_v0.API_KEY:
            size = sum(len(partition[-1]) for _, partitions in answer.topics for partition in partitions)
            known = self._client.cluster.broker_metadata(node)
            self._from[(known.rack if known else None) or ""] += size
            if size and not self._told:
                self._tell()
        return answer

    def _tell(self) -> None:
        """Once, where no broker is of this process's zone: a name spelled otherwise costs money and says nothing."""
        self._told = True
        zones = {one.rack or "" for one in self._client.cluster.brokers()}
        if self._rack not in zones:
            named = ", ".join(sorted(filter(None, zones))) or "none has one"
            log.warning("no broker is of rack %r (theirs: %s): all is fetched from other zones", self._rack, named)
