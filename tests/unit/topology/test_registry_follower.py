"""The registry is one topic for all tenants: a bad record on it costs nothing but itself."""

import logging

import pytest

from topology.errors import UnknownTenant
from topology.registry import HeadRecord
from topology.settings import Broker
from topology.stream.records import Record
from topology.stream.registry import RegistryFollower

GOOD = HeadRecord("acme", "en", "v2", "space", "aa")
BAD = (
    b"[" * 100_000, b'{"version": "v1", "space": "s", "sha256": "a", "candidate": {"share": 1' + b"0" * 400 + b"}}",
    b"",
    b'{"version": "\\ud800", "space": "s", "sha256": "a"}', b"\xff" * 3_000_000, b"null", b'{"version": 7}',
    b'{"version": "v1", "version": "v1", "space": "s", "sha256": "a"}',
    b'{"version": "../../x", "space": "s", "sha256": "a"}',
)


def note(follower, key, value):
    follower._note(Record("heads", 0, 7, key, value))


@pytest.mark.parametrize("value", BAD, ids=range(len(BAD)))
async def test_a_bad_record_is_skipped_by_itself_and_a_later_good_one_or_a_deletion_counts(value, caplog):
    seen = []
    follower = RegistryFollower(Broker(bootstrap="127.0.0.1:1"), "heads", lambda *change: seen.append(change))
    with caplog.at_level(logging.ERROR):
        note(follower, GOOD.key, value)
    assert seen == []
    (line,) = caplog.messages
    assert "en/acme" in line
    assert len(line) < 400
    note(follower, GOOD.key, GOOD.to_bytes())
    note(follower, GOOD.key, None)
    assert seen == [("en", "acme", GOOD), ("en", "acme", None)]


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe", b"en/../..", b"x" * 100_000])
async def test_a_deletion_under_a_bad_key_is_skipped(key, caplog):
    seen = []
    follower = RegistryFollower(Broker(bootstrap="127.0.0.1:1"), "heads", lambda *change: seen.append(change))
    note(follower, key, None)
    assert seen == []
    assert len(caplog.text) < 600


async def test_a_record_that_cannot_be_applied_ends_nothing(caplog):
    def fails(*change):
        raise UnknownTenant("no")

    note(RegistryFollower(Broker(bootstrap="127.0.0.1:1"), "heads", fails), GOOD.key, GOOD.to_bytes())
    assert "en/acme" in caplog.text


async def test_a_worker_decodes_no_record_of_another_ring_and_skips_none_of_its_own(caplog):
    seen = []
    follower = RegistryFollower(Broker(bootstrap="127.0.0.1:1"), "heads", lambda *change: seen.append(change), "en")
    keys = (b"fr/acme", b"english/acme", b"en/acme", None)
    with caplog.at_level(logging.ERROR):
        await follower._note_all([Record("heads", 0, n, key, b"[") for n, key in enumerate(keys)])
        await follower._note_all([Record("heads", 0, 9, GOOD.key, GOOD.to_bytes())])
    assert seen == [("en", "acme", GOOD)]
    assert follower.ignored == 2  # the broken one of its own, and the one that names nobody
