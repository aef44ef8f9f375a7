"""Announcing stored head versions on the registry topic, and putting versions on trial. Needs no torch."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from head_worker.store import HeadStore, open_store
from infra.kept import keep
from topology import topics
from topology.encoders import find_encoder, space_of
from topology.errors import BadHead, MalformedRecord, Misconfigured
from topology.heads import HeadManifest, check_space, unknown_fields
from topology.registry import Candidate, HeadRecord, parse_record, registry_key
from topology.settings import Settings
from topology.stream.kafka import Producer, TopicReader
from topology.stream.records import Output

log = logging.getLogger(__name__)


def store_of(settings: Settings) -> HeadStore:
    """The store of headrace.toml."""
    return open_store(settings.heads, Path(settings.state_dir) / "heads-cache")


async def announce(settings: Settings, manifest: HeadManifest) -> None:
    """Put a stored version on the registry topic: from now on workers score with it, and a trial is over."""
    await announce_all(settings, [manifest])


async def announce_all(settings: Settings, manifests: Iterable[HeadManifest]) -> None:
    """As `announce`, of several stored versions over one connection."""
    records = [HeadRecord(one.tenant, one.ring, one.version, one.space, one.sha256) for one in manifests]
    if records:
        await _send(settings, {one.key: one.to_bytes() for one in records})


async def announce_candidate(settings: Settings, manifest: HeadManifest, mode: str, share: float) -> HeadRecord:
    """Put a stored version on trial beside the current one. Raises: Misconfigured where there is no current one."""
    current = await announced(settings, manifest.ring, manifest.tenant)
    if current is None:
        raise Misconfigured(
            f"{manifest.ring}/{manifest.tenant} has no head yet to try another beside: headrace head publish"
        )
    candidate = Candidate(manifest.version, manifest.space, manifest.sha256, mode, share)
    record = replace(current, candidate=candidate)
    await _send(settings, {record.key: record.to_bytes()})
    return record


async def announced(settings: Settings, ring: str, tenant: str) -> HeadRecord | None:
    """What the registry says of a tenant now; records that are none are skipped, as workers skip them."""
    reader = TopicReader(settings.broker, topics.heads(settings.prefix))
    await reader.start()
    key, found = registry_key(ring, tenant), None
    try:
        async with contextlib.aclosing(reader.batches_to_end()) as batches:  # a million are not held at once
            async for records in batches:
                for record in records:
                    if record.key == key:
                        with contextlib.suppress(MalformedRecord):
                            found = parse_record(key, record.value) if record.value is not None else None
    finally:
        await reader.stop()
    return found


async def retract(settings: Settings, ring: str, tenant: str) -> None:
    """Tombstone a tenant's head: utterances to it are refused from now on."""
    await _send(settings, {registry_key(ring, tenant): None})


async def publish(settings: Settings, directory: Path) -> HeadManifest:
    """Load a head directory to see that it is whole, copy it into the store and announce it.

    Raises: BadHead, Unavailable.
    """
    manifest = stored(settings, directory)
    await announce(settings, manifest)
    return manifest


def stored(settings: Settings, directory: Path) -> HeadManifest:
    """Copy a head directory into the store, once it loads and, where the ring's encoder is here, belongs to it.

    Raises: BadHead, WrongSpace.
    """
    if (directory / "head.json").is_file():
        # Here, not above: it needs safetensors, and who asks for lag or counts predictions has no heads to read.
        from head_worker.load import load_head

        try:
            manifest = load_head(directory).manifest
        except BadHead as error:
            raise BadHead(f"{directory}: {error}") from error
        ring = settings.rings.get(manifest.ring)
        if ring is None:
            known = ", ".join(settings.rings)
            raise BadHead(f"{directory}: its ring is {manifest.ring!r}, which headrace.toml does not describe: {known}")
        if (encoder := find_encoder(ring.encoder)) is not None:
            check_space(manifest.space, space_of(encoder, settings.limits.max_tokens))
        if more := unknown_fields((directory / "head.json").read_bytes()):
            log.warning("%s: head.json has %s, which this release does not know: no effect", directory, ", ".join(more))
    return store_of(settings).put(directory)


async def _send(settings: Settings, records: Mapping[bytes, bytes | None]) -> None:
    producer = Producer(settings.broker)
    await producer.start()
    try:
        outputs = [Output(topics.heads(settings.prefix), key, value) for key, value in records.items()]
        if refused := await producer.send(outputs):
            raise refused[0].error
        keep(settings, outputs)
    finally:
        await producer.stop()
