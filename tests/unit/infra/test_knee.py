"""The search for the highest rate that is held: the same for every system that is measured."""

from benchmarks.knee import Knee
from benchmarks.load import Load


def load_of(p90_ms, errors=()):
    return Load(100, 1.0, [p90_ms] * 100, [0.5] * 100, errors=dict(errors))


def search(p90_of, top=800.0, probes=6):
    """A knee searched where `p90_of(rate, attempt)` is what a rate gives at its attempt, and the rates tried."""
    knee, rates = Knee("test", top, probes, 35.0), []
    for rate, seed in knee:
        rates.append((rate, seed))
        knee.note(rate, load_of(p90_of(rate, sum(r == rate for r, _ in rates))))
    return knee, rates


def test_bisection_ends_within_a_probe_of_the_limit():
    knee, _ = search(lambda rate, attempt: 30.0 if rate <= 300 else 90.0)
    assert 300 - 800 / 2**6 <= knee.per_s <= 300
    assert knee.load.percentile(90) == 30.0


def test_a_rate_that_is_missed_by_little_is_tried_once_more_with_other_arrivals():
    knee, rates = search(lambda rate, attempt: 30.0 if rate <= 300 or attempt == 2 else 40.0)
    assert knee.per_s > 780
    assert [rate for rate, _ in rates][:2] == [400.0, 400.0] and rates[0][1] != rates[1][1]


def test_a_rate_that_is_far_off_is_not_tried_again():
    _, rates = search(lambda rate, attempt: 90.0)
    assert len(rates) == 6


def test_nothing_held_is_a_knee_of_nothing_with_the_first_load():
    knee, _ = search(lambda rate, attempt: 90.0 if rate == 400 else 80.0)
    assert knee.per_s == 0.0 and knee.load.percentile(90) == 90.0


def test_replies_that_fail_or_come_late_do_not_hold():
    for load in (load_of(10.0, {"internal": 1}), Load(100, 1.0, [10.0] * 90, [0.5] * 90)):
        knee = Knee("test", 800.0, 1, 35.0)
        for rate, _ in knee:
            knee.note(rate, load)
        assert knee.per_s == 0.0
