"""Zones: how much of what a consumer fetches comes from brokers of its own (`broker.rack`, KIP-392).

aiokafka asks each partition's leader with the rack of its client. Where the brokers have
`replica.selector.class = …RackAwareReplicaSelector`, the leader names a replica in sync of that rack, and aiokafka
fetches there, until the replica's broker fails or `PACING.metadata_max_age_s` is over; then it asks the leader again.
"""

from __future__ import annotations

import logging
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.fetch import FetchResponse_v0

from topology.settings import Broker

log = logging.getLogger(__name__)


class ZoneBytes:
    """Counts the bytes that a consumer's fetches bring, by where they come from. aiokafka has no such count."""

    def __init__(self, consumer: AIOKafkaConsumer, broker: Broker) -> None:
        self._client, self._rack = consumer._client, broker.rack
        self._fetched = self._other = 0
        self._told = not broker.rack
        self._send, self._client.send = self._client.send, self._counted

    def stats(self) -> dict[str, float]:
        """Bytes of records that came so far; of them, those from brokers of other zones (0 where no rack is set)."""
        return {"fetched_bytes": float(self._fetched), "other_zone_bytes": float(self._other)}

    async def _counted(self, node: int, request: Any, **more: Any) -> Any:
        answer = await self._send(node, request, **more)
        if getattr(answer, "API_KEY", None) == FetchResponse_v0.API_KEY:
            size = sum(len(partition[-1]) for _, partitions in answer.topics for partition in partitions)
            self._fetched += size
            if self._rack and self._zone_of(node) != self._rack:
                self._other += size
                self._tell()
        return answer

    def _zone_of(self, node: int) -> str | None:
        known = self._client.cluster.broker_metadata(node)
        return known.rack if known else None

    def _tell(self) -> None:
        """Once, where no broker is of this process's zone: a name spelled otherwise costs money and says nothing."""
        zones = {one.rack or "" for one in self._client.cluster.brokers()}
        if not self._told and self._rack not in zones:
            self._told = True
            named = ", ".join(sorted(filter(None, zones))) or "none has one"
            log.warning("no broker is of rack %r (theirs: %s): all is fetched from other zones", self._rack, named)
