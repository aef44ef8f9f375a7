"""Follows the head registry: to its end before work starts, then as it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing

from topology.errors import MalformedRecord
from topology.pacing import PACING
from topology.registry import HeadRecord, parse_key, parse_record, registry_key
from topology.settings import Broker
from topology.stream.kafka import TopicReader
from topology.stream.records import Record

log = logging.getLogger(__name__)

Apply = Callable[[str, str, HeadRecord | None], None]


class RegistryFollower:
    """Calls `apply(ring, tenant, record)` for every change, `None` for a deletion.

    `ring`: only of this ring; the others' records are not decoded. `ignored`: how many records were none of ours, and
    `newest_ignored` why the last of them.
    """

    def __init__(self, broker: Broker, topic: str, apply: Apply, ring: str = "") -> None:
        self._reader = TopicReader(broker, topic)
        self._apply, self._keys = apply, registry_key(ring, "") if ring else b""
        self.ignored, self.newest_ignored = 0, ""

    async def start(self) -> int:
        """Read the registry to its end. Returns how many records that was. Raises: Unavailable."""
        await self._reader.start()
        count = 0
        async with aclosing(self._reader.batches_to_end()) as batches:
            async for records in batches:
                count += len(records)
                await self._note_all(records)
        return count

    async def follow(self) -> None:
        """Apply changes as they come, until cancelled."""
        while True:
            await self._note_all(await self._reader.take(wait_ms=1_000, most=PACING.registry_records))

    async def _note_all(self, records: Sequence[Record]) -> None:
        """A few at a time: a million that are announced anew hold up no utterance."""
        for at in range(0, len(records), PACING.registry_records):
            for record in records[at : at + PACING.registry_records]:
                if record.unreadable or record.key is None or record.key.startswith(self._keys):
                    self._note(record)
            await asyncio.sleep(0)  # what is fetched already is taken without a turn of the loop

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
