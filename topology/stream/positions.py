"""How far a cell's head workers have finished their topic, partition by partition, and where it ends.

Cheaper than `groups.GroupReader`: two requests, by a client that stays connected.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from topology.pacing import PACING
from topology.settings import Broker
from topology.stream.connection import ended, patiently, told
from topology.stream.groups import position_of
from topology.stream.security import kafka_security


@dataclass(frozen=True)
class Finished:
    """Of one partition of a group's topic: where its members read on, and what they noted with that commit."""

    position: int
    note: str = ""


class Positions:
    """Asks for ends and commits. It connects at the first question."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._clients: tuple[AIOKafkaAdminClient, AIOKafkaConsumer] | None = None
        self._lock = asyncio.Lock()
        self._asking: dict[str, asyncio.Lock] = {}
        self._told: dict[str, tuple[float, dict[int, Finished]]] = {}
        self._known: dict[str, tuple[list[TopicPartition], float]] = {}

    async def ends(self, topic: str) -> dict[int, int]:
        """Partition → where it ends; empty where there is no such topic. Raises: Unavailable, Misconfigured."""
        try:
            _, consumer = await self._connected()
            places = await self._places(consumer, topic)
            found = await consumer.end_offsets(places) if places else {}
        except KafkaError as error:
            raise told(error, f"the end of {topic} cannot be read") from error
        return {place.partition: int(end) for place, end in found.items()}

    async def finished(self, group: str, topic: str) -> dict[int, Finished]:
        """Partition → how far a group has finished it; who asks again within `pacing.move_look_s` is told the same.

        Raises: Unavailable, Misconfigured.
        """
        async with self._asking.setdefault(group, asyncio.Lock()):
            at_s, found = self._told.get(group, (float("-inf"), {}))
            if time.monotonic() - at_s >= PACING.move_look_s:
                at_s, found = time.monotonic(), await self._finished(group, topic)
                self._told[group] = at_s, found
            return found

    async def _finished(self, group: str, topic: str) -> dict[int, Finished]:
        try:
            admin, consumer = await self._connected()
            places = await self._places(consumer, topic)
            if not places:
                return {}
            commits = await _retried(admin, group, places)
            starts = await consumer.beginning_offsets(places)
        except KafkaError as error:
            raise told(error, f"the commits of {group} cannot be read") from error
        found = {}
        for place, start in starts.items():
            commit = commits.get(place)
            committed = commit.offset if commit is not None and commit.offset >= 0 else None
            position = position_of(committed, start, max(start, committed or 0))
            found[place.partition] = Finished(position, (commit.metadata or "") if commit is not None else "")
        return found

    async def _connected(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer]:
        async with self._lock:
            if self._clients is None:
                at = self._broker.bootstrap
                clients = AIOKafkaAdminClient(bootstrap_servers=at, **kafka_security(self._broker)), AIOKafkaConsumer(
                    bootstrap_servers=at, enable_auto_commit=False, **kafka_security(self._broker)
                )
                for client in clients:
                    await patiently(client.start, "client", self._broker)
                self._clients = clients
        return self._clients

    async def _places(self, consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
        """The partitions of a topic, asked for anew every `pacing.metadata_max_age_s`."""
        places, until_s = self._known.get(topic, ([], 0.0))
        if time.monotonic() >= until_s or not places:
            there = await consumer._client.fetch_all_metadata()
            places = [TopicPartition(topic, number) for number in sorted(there.partitions_for_topic(topic) or ())]
            self._known[topic] = places, time.monotonic() + PACING.metadata_max_age_s
        return places

    async def stop(self) -> None:
        """Disconnect; the next question connects anew."""
        clients, self._clients = self._clients, None
        if clients is not None:
            await ended(clients[0].close, "admin client")
            await ended(clients[1].stop, "consumer")


async def _retried(admin: AIOKafkaAdminClient, group: str, places: list[TopicPartition]) -> dict[TopicPartition, Any]:
    """The commits, once the group's coordinator is found: a fresh broker needs a moment for it."""
    until_s = time.monotonic() + PACING.status_s
    while True:
        try:
            found: dict[TopicPartition, Any] = await admin.list_consumer_group_offsets(group, partitions=places)
            return found
        except KafkaError as error:
            if not error.retriable or time.monotonic() > until_s:
                raise
            await asyncio.sleep(PACING.move_look_s)
