"""How full a cell is, as its head workers count it."""

import pytest

import head_worker.room
from head_worker.room import Room
from topology.placement import PinRecord, Placement, RingRecord, Shares
from topology.registry import HeadRecord
from topology.settings import Cell, Ring


@pytest.fixture
def room():
    placement = Placement(Ring("en", cells={f"c{n}": Cell(f"c{n}") for n in range(10)}))
    return Room(placement, "c0", lambda *record: None), placement


def published(room, numbers):
    for number in numbers:
        room.apply("en", f"tenant-{number}", HeadRecord(f"tenant-{number}", "en", "1", "space", "sha"))


def lives_in_c0(placement, numbers):
    return sum(placement.cell_of(f"tenant-{number}") == "c0" for number in numbers)


def counted(room):
    """What it says when nothing is left to count."""
    for _ in range(10_000):
        found = room.stats()["cell_heads"]
        if not room._uncounted:
            return found
    raise AssertionError("it never ends")


def test_heads_of_a_cell_are_counted_as_they_come_go_and_move(room):
    room, placement = room
    published(room, range(300))
    assert counted(room) == lives_in_c0(placement, range(300))
    published(room, range(200, 400))
    room.apply("de", "tenant-900", HeadRecord("tenant-900", "de", "1", "space", "sha"))
    assert counted(room) == lives_in_c0(placement, range(400))
    for number in range(100):
        room.apply("en", f"tenant-{number}", None)
    assert counted(room) == lives_in_c0(placement, range(100, 400))
    moved = next(n for n in range(100, 400) if placement.cell_of(f"tenant-{n}") != "c0")
    placement.apply(PinRecord("en", f"tenant-{moved}", "c0"))
    assert counted(room) == lives_in_c0(placement, range(100, 400))


def test_a_large_ring_is_counted_in_pieces_and_told_by_shares_until_then(room, monkeypatch):
    room, placement = room
    published(room, range(5_000))
    placement.apply(RingRecord("en", Shares({"c0": 1.0, "c1": 3.0})))
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(head_worker.room.time, "monotonic", lambda: next(ticks) / 1_000)  # 1 ms a tenant
    assert room.stats()["cell_heads"] == pytest.approx(1_250, rel=0.05)
    assert len(room._uncounted) > 4_900
    room.apply("en", room._uncounted[0], None)  # gone before it is counted
    left = [number for number in range(5_000) if f"tenant-{number}" in room._tenants]
    monkeypatch.undo()
    assert counted(room) == lives_in_c0(placement, left) and len(left) == 4_999
