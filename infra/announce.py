"""Announcing stored head versions on the registry topic. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from head_worker.store import HeadStore
from topology import topics
from topology.heads import HeadManifest
from topology.registry import HeadRecord, registry_key
from topology.settings import Settings
from topology.stream.kafka import Producer
from topology.stream.records import Output


async def announce(settings: Settings, manifest: HeadManifest) -> None:
    """Put a stored version on the registry topic: from now on workers answer with it."""
    record = HeadRecord(manifest.tenant, manifest.ring, manifest.version, manifest.space, manifest.sha256)
    await _send(settings, record.key, record.to_bytes())


async def retract(settings: Settings, ring: str, tenant: str) -> None:
    """Tombstone a tenant's head: utterances to it are refused from now on."""
    await _send(settings, registry_key(ring, tenant), None)


async def publish(settings: Settings, directory: Path) -> HeadManifest:
    """Copy a head directory into the store and announce it. Raises: BadHead, Unavailable."""
    manifest = HeadStore(settings.heads.store).put(directory)
    await announce(settings, manifest)
    return manifest


async def _send(settings: Settings, key: bytes, value: bytes | None) -> None:
    producer = Producer(settings.broker)
    await producer.start()
    try:
        await producer.send([Output(topics.heads(settings.prefix), key, value)])
    finally:
        await producer.stop()
