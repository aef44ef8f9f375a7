"""Rates, busy shares and times to drain: arithmetic over looks at a group."""

import math

import pytest

from infra.autoscale.signals_rates import Look, arrivals, comparable, finished, stuck, workers
from infra.autoscale.signals_reading import GroupLag, PartitionLag, Reading
from topology.stream.groups import GroupState, PartitionState
from topology.stream.work import BusyTime, Work, WorkNotes


def look(clock_s, ends, commits=(0, 0), notes=("", ""), members=1, topic_id="1", state="Stable"):
    partitions = tuple(
        PartitionState(n, commits[n], 0, end, read=commits[n] == end, owned=True, note=notes[n])
        for n, end in enumerate(ends)
    )
    return Look(clock_s, GroupState("group", "topic", state, members, partitions, topic_id))


def note(up_s, busy_s, records, tokens=0, worker="w"):
    return Work(worker, up_s, busy_s / 2, busy_s, records, tokens).to_note()


def test_rates_are_of_the_last_looks_and_begin_anew_with_a_topic_that_was_made_anew():
    looks = [look(0, (0, 0)), look(40, (40, 0)), look(100, (400, 60), (100, 60))]
    assert [one.clock_s for one in comparable(looks)] == [40, 100]
    assert arrivals(comparable(looks)) == {0: 6.0, 1: 1.0}
    assert finished(comparable(looks)) == {0: pytest.approx(100 / 60), 1: 1.0}
    shorter, other = [*looks, look(105, (5, 0))], [*looks, look(105, (500, 90), topic_id="2")]
    assert arrivals(comparable(shorter)) == arrivals(comparable(other)) == {}, "nothing is known yet"
    far = [look(0, (0, 0)), look(1_000, (500, 0))]  # nobody looked meanwhile
    assert arrivals(comparable(far)) == {0: 0.5, 1: 0.0}


def test_a_worker_tells_how_busy_it_is_and_what_it_could_do():
    looks = [
        look(0, (10, 0), (0, 0), (note(100, 10, 1_000, 15_000), "")),
        look(10, (200, 0), (200, 0), (note(110, 14, 1_200, 18_000), "")),
    ]
    (one,) = workers(looks)
    assert (one.worker, one.partitions, one.busy_share, one.records_per_s) == ("w", (0,), 0.4, 20.0)
    assert (one.true_records_per_s, one.true_tokens_per_s) == (50.0, 750.0)
    (idle,) = workers([*looks, look(20, (200, 0), (200, 0), (note(110, 14, 1_200, 18_000), ""))])
    assert (idle.busy_share, idle.records_per_s, idle.true_records_per_s) == (0.2, 10.0, 50.0)


def test_a_worker_that_always_had_work_could_do_what_it_did_and_no_more():
    looks = [
        look(0, (9_000, 0), (0, 0), (note(100, 10, 1_000), "")),
        look(10, (9_000, 0), (500, 0), (note(110, 15, 1_500), "")),  # half busy by its own clock, on a busy machine
    ]
    assert [one.true_records_per_s for one in workers(looks)] == [50.0]


def test_records_that_only_wait_for_their_commit_are_no_backlog():
    looks = [look(s, (1_000 + 50 * s + 90, 0), (1_000 + 50 * s, 0), (note(100 + s, 10 + s / 10, 1_000 + 50 * s), ""))
             for s in range(0, 30, 2)]  # 90 of 50/s were finished since the commit or are being so, at each look
    assert [round(one.true_records_per_s) for one in workers(looks)] == [500]


def test_figures_of_a_worker_that_began_anew_or_left_or_is_of_another_release_do_no_harm():
    begun_anew = [look(0, (9, 0), (0, 0), (note(100, 50, 9_000), "")), look(10, (9, 9), (9, 0), (note(2, 1, 9), ""))]
    (one,) = workers(begun_anew)
    assert (one.busy_share, one.records, one.true_records_per_s) == (None, 9, 9.0)
    left = [
        look(0, (9, 9), (0, 0), (note(1, 1, 10), note(1, 1, 10, worker="left"))),
        look(10, (9, 9), (5, 0), (note(11, 2, 20), note(1, 1, 10, worker="left"))),
    ]
    assert [one.worker for one in workers(left)] == ["w"]
    numbers = [note(1, 1, 1).replace('_s":1', f'_s":{one}') for one in ("-1", "NaN", "1e999", "[]", '"x"')]
    for foreign in ("", "x", "[]", "null", '{"worker": 1}', "[" * 10_000, *numbers):
        assert workers([look(0, (1, 0), (0, 0), (foreign, ""))]) == []


def test_a_position_that_stands_still_is_stuck_only_if_a_member_had_time_for_it():
    still = [look(s, (50, 9 + s), (10, s)) for s in (0, 10, 25)]
    assert stuck(still) == {0}
    assert stuck(still[1:]) == set(), "not for long enough"
    assert stuck([*still[:2], look(25, (50, 30), (10, 25), members=0)]) == set()
    assert stuck([still[0], look(10, (50, 9), state="PreparingRebalance"), still[2]]) == set()
    assert stuck([look(0, (10, 0), (10, 0)), look(25, (50, 0), (10, 0))]) == set(), "nothing waited then"


@pytest.mark.parametrize("every_s", [2, 5, 11, 16, 19, 25, 40])
def test_however_far_apart_looks_are_a_position_that_stands_still_is_told_and_rates_are_recent(every_s):
    kept = []
    for n in range(40):
        kept = comparable([*kept, look(n * every_s, (50, n), (10, n))])
    assert stuck(kept) == {0}
    assert 20 <= kept[-1].clock_s - kept[0].clock_s <= max(30, 2 * every_s)


def group(lag, arrivals_per_s, finished_per_s, members=1):
    one = PartitionLag(0, 0, lag, 0, lag, 1.0 if lag else 0.0, arrivals_per_s, finished_per_s)
    return GroupLag("g", "t", "head", "en", "a", "live", "Stable", members, (one,))


def test_the_time_to_drain_is_of_what_is_finished_beyond_what_comes():
    assert group(0, 5.0, 5.0).drain_s == 0.0
    assert group(100, 10.0, 30.0).drain_s == 5.0
    assert group(100, 30.0, 30.0).drain_s == math.inf
    assert group(100, 1.0, 30.0, members=0).drain_s == math.inf
    assert group(100, None, None).drain_s is None
    told = Reading(1.0, (group(100, 30.0, 30.0), group(1, None, None))).to_json()["groups"]
    assert [(one["drain_s"], one["drains"]) for one in told] == [(None, False), (None, None)]


def test_a_note_fits_in_a_commit_and_two_threads_at_once_count_once():
    made = WorkNotes("x" * 249, lambda: {"delivered": 1e12, "busy_us": 5e15, "tokens": 1e14})()
    assert len(made) < 1_000 and Work.from_note(made).records == 1e12
    busy = BusyTime()
    with busy:
        with busy:
            pass
        inner_s = busy.total_s
    assert 0 < inner_s < busy.total_s == busy.total_s
