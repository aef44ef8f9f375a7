"""The records of the compacted registry topic: which head version each tenant of a ring answers with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from topology.errors import MalformedRecord


@dataclass(frozen=True)
class HeadRecord:
    """One tenant's current head. `version` names its folder in the head store."""

    tenant: str
    ring: str
    version: str
    space: str
    sha256: str

    @property
    def key(self) -> bytes:
        """The compaction key: one live record for each tenant of each ring."""
        return registry_key(self.ring, self.tenant)

    def to_bytes(self) -> bytes:
        """JSON, so that an operator can read the registry with any Kafka tool."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def registry_key(ring: str, tenant: str) -> bytes:
    """The registry topic's key of a tenant in a ring."""
    return f"{ring}/{tenant}".encode()


def parse_key(key: bytes | None) -> tuple[str, str]:
    """(ring, tenant) of a registry key.

    Raises: MalformedRecord.
    """
    ring, slash, tenant = (key or b"").decode(errors="replace").partition("/")
    if not (ring and slash and tenant):
        raise MalformedRecord(f"registry key {key!r}: 'ring/tenant' is wanted")
    return ring, tenant


def parse_record(key: bytes | None, value: bytes) -> HeadRecord:
    """The head record of one registry message; a tombstone (no value) is the caller's to handle.

    Raises: MalformedRecord.
    """
    ring, tenant = parse_key(key)
    try:
        body = json.loads(value)
        record = HeadRecord(tenant, ring, *(str(body[name]) for name in ("version", "space", "sha256")))
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedRecord(f"registry record of {ring}/{tenant}: {type(error).__name__}: {error}") from error
    if "/" in record.version or record.version.startswith("."):
        raise MalformedRecord(f"registry record of {ring}/{tenant}: {record.version!r} is no version name")
    return record
