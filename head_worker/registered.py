"""Head records by tenant, packed: a worker keeps one for every tenant of its ring, also of other cells, whose tenants
may be moved to it at any time."""

from __future__ import annotations

from topology.registry import HeadRecord

DIGEST = 32  # bytes of a sha256


class Registered:
    """Tenant → record, for one ring. A record takes 250 bytes with its key; as an object of strings, in two tables, it
    took 916 (`headrace bench registry`).

    What is seldom, a version on trial or a digest that is no sha256 in hexadecimal, is kept as it is.
    """

    def __init__(self, ring: str) -> None:
        self._ring = ring
        self._packed: dict[str, bytes | HeadRecord] = {}
        self._spaces: list[str] = []  # a handful: the encoders that the ring had

    def __len__(self) -> int:
        return len(self._packed)

    def put(self, record: HeadRecord) -> None:
        """Keep a record in place of its tenant's last one."""
        self._packed[record.tenant] = self._pack(record)

    def pop(self, tenant: str) -> None:
        """Forget a tenant, known or not."""
        self._packed.pop(tenant, None)

    def get(self, tenant: str) -> HeadRecord | None:
        """The record of a tenant, if there is one."""
        found = self._packed.get(tenant)
        if not isinstance(found, bytes):
            return found
        space, version = self._spaces[found[DIGEST]], found[DIGEST + 1 :].decode()
        return HeadRecord(tenant, self._ring, version, space, found[:DIGEST].hex())

    def _pack(self, record: HeadRecord) -> bytes | HeadRecord:
        """sha256, which of the spaces, version."""
        try:
            digest = bytes.fromhex(record.sha256)
        except ValueError:
            return record
        if record.space not in self._spaces and len(self._spaces) < 256:
            self._spaces.append(record.space)
        if record.candidate is not None or digest.hex() != record.sha256 or len(digest) != DIGEST \
                or record.space not in self._spaces or record.ring != self._ring:
            return record
        return b"%b%c%b" % (digest, self._spaces.index(record.space), record.version.encode())
