"""The records of the compacted registry topic: which head version each tenant of a ring answers with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from topology.errors import MalformedRecord

MODES = ("canary", "shadow")


@dataclass(frozen=True)
class Candidate:
    """A version on trial. `canary`: it answers a `share` (0..1) of the tenant's utterances; `shadow`: it scores that
    share beside the current one, which answers, and the two are compared."""

    version: str
    space: str
    sha256: str
    mode: str
    share: float = 1.0

    def takes(self, request_id: str) -> bool:
        """Whether an utterance is in the candidate's share: the same id always gives the same answer."""
        digest = hashlib.blake2b(f"{self.version}\0{request_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64 < self.share


@dataclass(frozen=True)
class HeadRecord:
    """One tenant's current head. `version` names its folder in the head store."""

    tenant: str
    ring: str
    version: str
    space: str
    sha256: str
    candidate: Candidate | None = None

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
        candidate = _candidate(body["candidate"]) if body.get("candidate") else None
        version, space, sha256 = (str(body[name]) for name in ("version", "space", "sha256"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedRecord(f"registry record of {ring}/{tenant}: {type(error).__name__}: {error}") from error
    for name in (version, candidate.version if candidate else "v"):
        if not name or "/" in name or name.startswith("."):
            raise MalformedRecord(f"registry record of {ring}/{tenant}: {name!r} is no version name")
    return HeadRecord(tenant, ring, version, space, sha256, candidate)


def _candidate(body: dict[str, Any]) -> Candidate:
    version, space, sha256, mode = (str(body[name]) for name in ("version", "space", "sha256", "mode"))
    found = Candidate(version, space, sha256, mode, float(body.get("share", 1.0)))
    if found.mode not in MODES or not 0 <= found.share <= 1:
        raise ValueError(f"candidate: mode {found.mode!r} of {MODES} and share {found.share} in 0..1 are wanted")
    return found
