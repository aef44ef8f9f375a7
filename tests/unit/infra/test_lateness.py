"""When replays pause for live traffic, and when they go on: arithmetic alone, with the clock passed in."""

import pytest

from infra.backfill.lateness import Lateness, Waiting, p99
from infra.backfill.live import oldest_of
from topology.pacing import PACING
from topology.settings import Backfill
from topology.stream.groups import GroupState, PartitionState

LINES = Backfill(live_p99_ms=250.0, live_age_s=5.0)
NOW_S = 1_800_000_000.0


def results(lateness, ms, count, at_s=NOW_S):
    for _ in range(count):
        lateness.add(int((at_s - ms / 1e3) * 1e6), int(at_s * 1e6))


@pytest.mark.parametrize(("values", "wanted"), [
    ([7], 7), (range(1, 21), 20), (range(1, 101), 99), (range(1, 201), 198), (range(1_000, 0, -1), 990),
])
def test_p99_is_the_least_value_that_99_of_100_do_not_exceed(values, wanted):
    assert p99(list(values)) == wanted


def test_live_is_late_while_its_p99_is_above_the_line_and_the_sentence_has_both():
    lateness = Lateness(LINES)
    results(lateness, 30, 98)
    assert lateness.told(None, NOW_S) == ""
    results(lateness, 412, 2)
    assert lateness.told(None, NOW_S) == "live p99 is 412 ms, above backfill.live_p99_ms = 250"


def test_a_few_results_tell_nothing():
    lateness = Lateness(LINES)
    results(lateness, 900, PACING.live_least - 1)
    assert lateness.told(None, NOW_S) == ""
    results(lateness, 900, 1)
    assert "900 ms" in lateness.told(None, NOW_S)


def test_results_of_before_the_window_do_not_count_whatever_order_they_come_in():
    lateness = Lateness(LINES)
    results(lateness, 30, 30)
    results(lateness, 900, 50, NOW_S - PACING.live_window_s - 1)
    assert lateness.told(None, NOW_S) == ""
    results(lateness, 900, 50)
    later_s = NOW_S + PACING.live_window_s + 1  # live traffic has ended: nobody waits
    assert lateness.told(None, NOW_S) != ""
    assert "before: live p99" in lateness.told(None, later_s)
    assert lateness.told(None, later_s + PACING.live_calm_s) == ""


def test_live_is_late_while_its_oldest_record_is_older_than_the_line():
    lateness = Lateness(LINES)
    assert lateness.told(Waiting("en.utterances", 4.9), NOW_S) == ""
    told = lateness.told(Waiting("en.utterances", 7.24), NOW_S)
    assert told == "the oldest live record on en.utterances has waited for 7.2 s, longer than backfill.live_age_s = 5"


def test_replays_go_on_only_once_live_was_in_time_for_a_while_without_a_break():
    lateness, late = Lateness(LINES), Waiting("topic", 9.0)
    assert lateness.told(late, NOW_S)
    assert "for 0.0 s of the 5 s" in lateness.told(None, NOW_S + 2)
    assert "for 4.0 s of the 5 s" in lateness.told(None, NOW_S + 6)
    assert lateness.told(late, NOW_S + 6.5).startswith("the oldest")
    assert "for 0.0 s" in lateness.told(None, NOW_S + 8)
    assert lateness.told(None, NOW_S + 13) == ""
    assert lateness.told(None, NOW_S + 13.1) == ""


def test_a_clock_that_is_set_back_does_not_stop_replays_for_ever():
    lateness = Lateness(LINES)
    assert lateness.told(Waiting("topic", 9.0), NOW_S)
    assert lateness.told(None, NOW_S + 1)
    assert lateness.told(None, NOW_S - 3_600)
    assert lateness.told(None, NOW_S - 3_600 + PACING.live_calm_s) == ""


def test_what_cannot_be_seen_counts_as_late():
    lateness = Lateness(LINES)
    assert lateness.told(None, NOW_S, unseen="the live path cannot be seen: …") == "the live path cannot be seen: …"
    assert lateness.told(None, NOW_S + 1)
    assert lateness.told(None, NOW_S + 1 + PACING.live_calm_s) == ""


def group(*partitions, members=1, topic="topic"):
    return GroupState("group", topic, "Stable", members, partitions)


def waits(seconds, committed=0):
    return PartitionState(0, committed, 0, 9, oldest_ms=int((NOW_S - seconds) * 1e3))


def test_the_oldest_record_of_all_groups_and_partitions_is_told_with_its_topic():
    read = PartitionState(1, 9, 0, 9, read=True)
    groups = [group(read, waits(2), topic="one"), group(waits(3), waits(8), topic="two"), group(topic="missing")]
    assert oldest_of(groups, NOW_S) == Waiting("two", 8.0)
    assert oldest_of([group(read)], NOW_S) is None


def test_records_of_a_ring_that_never_had_live_workers_wait_for_nobody():
    never = waits(9_000, committed=None)
    assert oldest_of([group(never, members=0)], NOW_S) is None
    assert oldest_of([group(never)], NOW_S) is not None  # a worker that just began
    assert oldest_of([group(never, waits(9, committed=3), members=0)], NOW_S) is not None  # workers that died
    assert oldest_of([group(), group(never, members=0)], NOW_S) is not None  # heads that died before their first commit
