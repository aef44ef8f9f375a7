"""The Faust table that holds the windows of a cell, and its changelog."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import faust

from infra.insights.ledger import Change
from infra.insights.windows import Key, rank_of


class Windows(faust.Table):  # type: ignore[misc]
    """Bytes of a key → bytes of a window. Its changelog has the partitions of the topic that is counted."""

    def __init__(self, app: faust.App, changelog: str, partitions: int) -> None:
        topic = app.topic(
            changelog, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw",
            partitions=partitions, acks=False, internal=True, allow_empty=True, has_prefix=True,
        )
        super().__init__(
            app, name=changelog, partitions=partitions, key_type=bytes, value_type=bytes, changelog_topic=topic,
        )
        self.overtaken: set[bytes] = set()  # keys under which an older value stands last in the changelog
        app.tables.add(self)

    @property
    def store(self) -> dict[bytes, bytes]:
        """What the table holds in memory."""
        found: dict[bytes, bytes] = self.data.data
        return found

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take what the changelog says. Of two values the one that counts more records is right: a process that was
        frozen may write what it had counted after its successor wrote."""
        for event in batch:
            key, value, known = event.message.key, event.message.value, self.store.get(event.message.key)
            if not Key.is_known(key):
                continue  # a later release's
            if value is None:
                self.store.pop(key, None)
                self.overtaken.discard(key)
            elif known is not None and rank_of(value) < rank_of(known):
                self.overtaken.add(key)
            else:
                self.store[key] = value
                self.overtaken.discard(key)

    def drop_but(self, partitions: set[int]) -> None:
        """Forget what belongs to other processes now."""
        for key in [key for key in self.store if Key.from_bytes(key).partition not in partitions]:
            del self.store[key]
        self.overtaken &= self.store.keys()

    def take_overtaken(self) -> list[Change]:
        """What is to be written once more, so that it stands last in the changelog."""
        found: list[Change] = [(Key.from_bytes(key), self.store[key]) for key in self.overtaken if key in self.store]
        self.overtaken.clear()
        return found

    async def write(self, changes: Sequence[Change]) -> None:
        """Put changes into the changelog; returns when all are acknowledged. Raises: what the producer raises."""
        if changes:
            await asyncio.gather(*(
                self.send_changelog(key.partition, key.to_bytes(), value, "raw", "raw") for key, value in changes
            ))
