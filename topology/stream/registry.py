"""Follows the head registry: to its end before work starts, then as it changes."""

from __future__ import annotations

import logging
from collections.abc import Callable

from topology.errors import MalformedRecord
from topology.registry import HeadRecord, parse_key, parse_record
from topology.settings import Broker
from topology.stream.kafka import TopicReader
from topology.stream.records import Record

log = logging.getLogger(__name__)

Apply = Callable[[str, str, HeadRecord | None], None]


class RegistryFollower:
    """Calls `apply(ring, tenant, record)` for every change, `None` for a deletion.

    `ignored`: how many records were none of ours, and `newest_ignored` why the last of them.
    """

    def __init__(self, broker: Broker, topic: str, apply: Apply) -> None:
        self._reader = TopicReader(broker, topic)
        self._apply = apply
        self.ignored, self.newest_ignored = 0, ""

    async def start(self) -> int:
        """Read the registry to its end. Returns how many records that was. Raises: Unavailable."""
        await self._reader.start()
        records = await self._reader.read_to_end()
        for record in records:
            self._note(record)
        return len(records)

    async def follow(self) -> None:
        """Apply changes as they come, until cancelled."""
        while True:
            for record in await self._reader.take(wait_ms=1_000):
                self._note(record)

    def _note(self, record: Record) -> None:
        """Apply one record. A bad one is logged and skipped, whatever it raises: it must not end all tenants' heads."""
        if record.unreadable:
            self._ignore(record, record.unreadable)
            return
        try:
            ring, tenant = parse_key(record.key)
            head = parse_record(record.key, record.value) if record.value is not None else None
            self._apply(ring, tenant, head)
        except MalformedRecord as error:
            self._ignore(record, str(error))
        except Exception as error:
            self._ignore(record, f"key {record.key!r:.80}: {error!r:.200}", error)

    def _ignore(self, record: Record, why: str, error: Exception | None = None) -> None:
        self.ignored, self.newest_ignored = self.ignored + 1, why
        log.error("registry record at offset %d ignored: %s", record.offset, why, exc_info=error)

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()
