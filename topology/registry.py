"""The records of the compacted registry topic: which head version each tenant of a ring answers with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from topology.errors import MalformedRecord
from topology.json_map import parse_json_map, shown
from topology.names import fault_of_name

MODES = ("canary", "shadow")
MAX_RECORD_BYTES = 64 << 10  # of one registry record; a real one has some 300
MAX_FIELD_CHARS = 256


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class HeadRecord:
    """One tenant's current head. `version` names its folder in the head store. `more`: what a later release has
    written beside: who changes a record keeps it."""

    tenant: str
    ring: str
    version: str
    space: str
    sha256: str
    candidate: Candidate | None = None
    more: tuple[tuple[str, Any], ...] = field(default=(), compare=False)

    @property
    def key(self) -> bytes:
        """The compaction key: one live record for each tenant of each ring."""
        return registry_key(self.ring, self.tenant)

    def to_bytes(self) -> bytes:
        """JSON, so that an operator can read the registry with any Kafka tool."""
        body = asdict(self)
        del body["more"]
        return json.dumps({**dict(self.more), **body}, sort_keys=True).encode()


def registry_key(ring: str, tenant: str) -> bytes:
    """The registry topic's key of a tenant in a ring."""
    return f"{ring}/{tenant}".encode()


def parse_key(key: bytes | None) -> tuple[str, str]:
    """(ring, tenant) of a registry key, both of them names.

    Raises: MalformedRecord.
    """
    try:
        ring, slash, tenant = (key or b"").decode().partition("/")
    except UnicodeDecodeError as error:
        raise MalformedRecord(f"registry key {shown(key)}: not UTF-8") from error
    if not slash:
        raise MalformedRecord(f"registry key {shown(key)}: 'ring/tenant' is wanted")
    for what, name in (("ring", ring), ("tenant", tenant)):
        if fault := fault_of_name(name):
            raise MalformedRecord(f"registry key {shown(key)}: {what}: {fault}")
    return ring, tenant


def parse_record(key: bytes | None, value: bytes) -> HeadRecord:
    """The head record of one registry message; a tombstone (no value) is the caller's to handle.

    Raises: MalformedRecord, and nothing else.
    """
    ring, tenant = parse_key(key)
    try:
        body = parse_json_map(value, MAX_RECORD_BYTES)
        version, space, sha256 = _identity(body)
        candidate = None if body.get("candidate") is None else _candidate(body["candidate"])
    except ValueError as error:
        raise MalformedRecord(f"registry record of {ring}/{tenant}: {str(error)[:200]}") from error
    more = tuple((name, said) for name, said in body.items() if name not in _KNOWN)
    return HeadRecord(tenant, ring, version, space, sha256, candidate, more)


_KNOWN = {one.name for one in fields(HeadRecord)}


def _identity(body: dict[str, Any]) -> tuple[str, str, str]:
    """(version, space, sha256). Raises: ValueError, naming the field."""
    if fault := fault_of_name(body.get("version")):
        raise ValueError(f"version: {fault}")
    for name in ("space", "sha256"):
        value = body.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_FIELD_CHARS or not value.isprintable():
            raise ValueError(f"{name}: 1 to {MAX_FIELD_CHARS} printable characters are wanted, not {shown(value)}")
    return body["version"], body["space"], body["sha256"]


def _candidate(body: Any) -> Candidate | None:
    """None where a later release tries the version in a way that is not known here: then the current one answers all.
    Compaction keeps the newest record alone, so a worker that refused it would know no head of the tenant at all."""
    if not isinstance(body, dict):
        raise ValueError(f"candidate: a map is wanted, not {shown(body)}")
    mode, share = body.get("mode"), body.get("share", 1.0)
    if isinstance(mode, str) and mode not in MODES:
        return None
    if mode not in MODES:
        raise ValueError(f"candidate: mode is one of {', '.join(MODES)}, not {shown(mode)}")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"candidate: share is a number in 0..1, not {shown(share)}")
    return Candidate(*_identity(body), mode, float(share))
