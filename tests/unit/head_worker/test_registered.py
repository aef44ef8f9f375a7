"""Records of very many tenants: small, and the same that were put in."""

import hashlib
import tracemalloc
from dataclasses import replace

import pytest

from head_worker.registered import Registered
from topology.registry import Candidate, HeadRecord

SHA = hashlib.sha256(b"head").hexdigest()
RECORD = HeadRecord("acme", "en", "20261127T031500Z-9f9f9f", "0123456789abcdef", SHA)


@pytest.mark.parametrize("record", [
    RECORD, replace(RECORD, version="v1"), replace(RECORD, version="версия-2"), replace(RECORD, tenant="日本"),
    replace(RECORD, sha256=SHA.upper()), replace(RECORD, sha256="aa"), replace(RECORD, sha256="no digest"),
    replace(RECORD, sha256=SHA + " "), replace(RECORD, space="ein Raum"), replace(RECORD, ring="fr"),
    replace(RECORD, candidate=Candidate("v2", "space", SHA, "canary", 0.1)),
])
def test_what_is_put_in_comes_out_and_the_last_one_counts(record):
    kept = Registered("en")
    kept.put(RECORD)
    kept.put(record)
    assert kept.get(record.tenant) == record
    kept.pop(record.tenant)
    kept.pop("nobody")
    assert kept.get(record.tenant) is None


def test_more_spaces_than_a_byte_counts_are_kept_all_the_same():
    kept = Registered("en")
    records = [replace(RECORD, tenant=f"t{n}", space=f"space-{n}") for n in range(300)]
    for record in records:
        kept.put(record)
    assert [kept.get(record.tenant) for record in records] == records


def test_a_tenant_takes_less_than_300_bytes():
    kept, count = Registered("en"), 20_000
    tracemalloc.start()
    try:
        for n in range(count):
            digest = hashlib.sha256(str(n).encode()).hexdigest()
            version = f"20261127T031500Z-{digest[:6]}"
            kept.put(replace(RECORD, tenant=f"customer-{n:08}", version=version, sha256=digest))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / count < 300
