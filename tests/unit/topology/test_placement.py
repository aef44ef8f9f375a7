"""Where tenants live, by the records that commands write, and what a worker remembers of where they lived."""

import random

import pytest

from topology.errors import MalformedRecord
from topology.pacing import PACING
from topology.placement import PinRecord, Placement, RingRecord, Shares, parse
from topology.settings import Cell, Ring

TENANTS = [f"tenant-{n}" for n in range(500)]


def ring(**pins):
    return Ring("en", cells={name: Cell(name, pins=tuple(pins.get(name, ()))) for name in "ab"})


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def placement(clock=None, **pins):
    return Placement(ring(**pins), clock or Clock())


def shares(draining=(), **weights):
    return Shares({cell: float(weight) for cell, weight in weights.items()}, frozenset(draining))


def test_without_records_tenants_live_where_headrace_toml_says():
    found = placement(b=("tenant-0",))
    assert found.cell_of("tenant-0") == "b" and {found.cell_of(t) for t in TENANTS} == {"a", "b"}
    assert not found.moving and found.former("tenant-0") == frozenset()


def test_a_new_cell_takes_its_share_from_the_others_and_each_that_moves_tells_where_it_was():
    found = placement()
    before = {tenant: found.cell_of(tenant) for tenant in TENANTS}
    found.apply(RingRecord("en", shares(a=1, b=1, c=1), (shares(a=1, b=1),)))
    moved = [tenant for tenant in TENANTS if found.cell_of(tenant) != before[tenant]]
    assert {found.cell_of(tenant) for tenant in moved} == {"c"} and 100 < len(moved) < 230
    assert all(found.former(tenant) == {before[tenant]} for tenant in moved)
    assert not any(found.former(tenant) for tenant in TENANTS if tenant not in moved)


def test_a_drained_cell_gives_up_its_pinned_tenants_too():
    found = placement(a=("tenant-0",))
    found.apply(PinRecord("en", "tenant-1", "a"))
    found.apply(RingRecord("en", shares(draining="a", a=1, b=1), (shares(a=1, b=1),)))
    assert {found.cell_of(tenant) for tenant in TENANTS} == {"b"}
    assert found.former("tenant-0") == found.former("tenant-1") == {"a"}
    assert found.shares.share("a") == 0 and found.shares.share("b") == 1


def test_a_pin_of_a_command_goes_before_one_of_the_file_and_its_tombstone_gives_it_back():
    found = placement(a=("tenant-0",))
    found.apply(PinRecord("en", "tenant-0", "b"))
    assert found.cell_of("tenant-0") == "b"
    found.apply(parse(b"en/tenant-0", None))
    assert found.cell_of("tenant-0") == "a" and not found.pins


def test_a_worker_that_heard_late_knows_where_it_sent_records_itself_though_the_change_is_settled():
    clock = Clock()
    found = placement(clock)
    old = found.cell_of("tenant-0")
    new = "b" if old == "a" else "a"
    found.apply(PinRecord("en", "tenant-0", new, (old,)))
    found.apply(PinRecord("en", "tenant-0", new))
    assert found.former("tenant-0") == {old}
    clock.now_s = PACING.move_kept_s + 1
    assert found.former("tenant-0") == frozenset() and not found.moving


def test_a_worker_that_starts_knows_only_what_is_not_settled():
    found = placement()
    for record in (RingRecord("en", shares(a=1)), RingRecord("en", shares(a=1, b=1), (shares(a=1),))):
        found.apply(record)
    found.forget_before()
    moved = [tenant for tenant in TENANTS if found.cell_of(tenant) == "b"]
    assert all(found.former(tenant) == {"a"} for tenant in moved)
    found.apply(RingRecord("en", shares(a=1, b=1)))
    assert not any(found.former(tenant) for tenant in moved)


def test_records_of_other_rings_change_nothing():
    found = placement()
    found.apply(RingRecord("fr", shares(z=1)))
    found.apply(PinRecord("fr", "tenant-0", "z"))
    assert "z" not in {found.cell_of(tenant) for tenant in TENANTS} and not found.pins


def test_records_come_back_as_they_were_written():
    records = [RingRecord("en", shares(draining="b", a=1, b=2.5), (shares(a=1),)), PinRecord("en", "acme", "b", ("a",)),
               PinRecord("en", "日本", "", ("a", "b"))]
    assert [parse(one.key, one.to_bytes()) for one in records] == records
    assert PinRecord("en", "acme", "").to_bytes() is None


@pytest.mark.parametrize("key, value", [
    (b"en", None), (b"en", b""), (b"en", b"[]"), (b"en", b'{"weights": []}'), (b"en", b'{"weights": {"a": 0}}'),
    (b"en", b'{"weights": {"a": 1e400}}'), (b"en", b'{"weights": {"a": true}}'), (b"en", b'{"weights": {"../x": 1}}'),
    (b"en", b'{"weights": {"a": 1}, "draining": ["a"]}'), (b"en", b'{"weights": {"a": 1}, "former": 3}'),
    (b"en", b'{"weights": {"a": 1}, "former": [{}]}'), (b"en", b"[" * 100_000), (b"en/acme", b'{"cell": 3}'),
    (b"en/acme", b'{"cell": "b", "former": [""]}'), (b"en//acme", b'{"cell": "b"}'), (b"\xff", b"{}"), (None, b"{}"),
])
def test_what_is_no_placement_is_refused_with_its_key(key, value):
    with pytest.raises(MalformedRecord, match="placement"):
        parse(key, value)


def test_whatever_bytes_a_record_has_it_is_read_or_refused():
    random.seed(1)
    whole = RingRecord("en", shares(a=1, b=1), (shares(a=1),)).to_bytes()
    for _ in range(2_000):
        body = bytearray(whole)
        for _ in range(random.randrange(1, 4)):
            body[random.randrange(len(body))] = random.randrange(256)
        try:
            parse(b"en", bytes(body))
        except MalformedRecord:
            continue


def test_only_cells_that_lose_tenants_are_waited_for():
    assert shares(a=1, b=1, c=1).left_for(shares(draining="a", a=1, b=1, c=1)) == {"a"}
    assert shares(a=1, b=1).left_for(shares(a=1, b=1, c=1)) == {"a", "b"}
    assert shares(a=1, b=1).left_for(shares(a=1, b=2)) == {"a", "b"}
