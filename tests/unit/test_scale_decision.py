"""How many workers: properties of the one function that decides for both tiers."""

import random
from dataclasses import replace
from itertools import pairwise
from math import ceil

import pytest

from infra.autoscale.decision import Feed, decide, need, spreads, worth
from infra.autoscale.tiers import PartitionLoad, Past, Policy, Tier, tier_name

POLICY = Policy()


def tier(role="encoder", rate=600.0, comes=400.0, waits=0, age=0.0, replicas=1, partitions=12, at_s=0.0, **more):
    """A tier with its load spread evenly; `rate` in records a second of one worker, 15 tokens each for encoders."""
    work = 15.0 if role == "encoder" else 1.0
    each = None if comes is None else comes / partitions
    loads = tuple(PartitionLoad(n, waits // partitions, age, each) for n in range(partitions))
    name = tier_name(role, "en", "" if role == "encoder" else "a")
    return replace(Tier(name, role, "en", "" if role == "encoder" else "a", at_s, replicas, loads, comes,
                        None if rate is None else rate * work, work), **more)


def run(make, seconds, replicas=1, past=None, policy=POLICY, every_s=5):
    """Decide every 5 s (or `every_s`) over `make(at_s, replicas)`; workers are there at once. Every advice."""
    found, past = [], past or Past()
    for at_s in range(0, seconds, every_s):
        (advice,), past = decide([make(float(at_s), replicas)], policy, past)
        replicas = advice.replicas
        found.append(advice)
    return found


def test_the_count_is_the_formula_in_tokens_for_encoders_and_records_for_heads():
    for role in ("encoder", "head"):
        seen = tier(role, comes=2_000.0, waits=12_000, replicas=4)
        (advice,), _ = decide([seen], POLICY, Past())
        grown = 2_000 * POLICY.rebalance_s  # four workers do 2,400/s: nothing is lost while more start
        assert advice.replicas == worth(12, (2_000 / 0.7 + (12_000 + grown) / 60) / 600) == 6


def test_what_a_tier_gets_behind_until_a_worker_has_started_is_counted():
    slow, fast = (need(tier(comes=3_000.0, replicas=1, start_s=s), Feed(3_000.0), POLICY) for s in (120.0, 1.0))
    assert slow.replicas > fast.replicas > 3_000 / 0.7 / 600


@pytest.mark.parametrize("seed", range(20))
def test_more_that_waits_or_comes_or_is_older_never_asks_for_fewer(seed):
    dice = random.Random(seed)
    seen = {"role": dice.choice(["encoder", "head"]), "rate": dice.uniform(10, 3_000), "comes": dice.uniform(0, 9_000),
            "waits": dice.randrange(50_000), "replicas": dice.randint(1, 12), "partitions": dice.randint(1, 40),
            "age": dice.choice([0.0, 1.0, 3.0, 60.0])}
    (before,), _ = decide([tier(**seen)], POLICY, Past())
    for name, more in (("waits", 40_000), ("comes", 2_000.0), ("age", 20.0)):
        (after,), _ = decide([tier(**{**seen, name: seen[name] + more})], POLICY, Past())
        assert after.replicas >= before.replicas, (name, before, after)


@pytest.mark.parametrize("seed", range(20))
def test_never_more_than_partitions_or_the_bound_and_never_a_count_that_spreads_no_better(seed):
    dice = random.Random(seed)
    partitions, bound = dice.randint(1, 64), dice.choice([0, 0, 1, 3, 7])
    seen = tier(comes=dice.uniform(0, 1e6), waits=dice.randrange(10**7), age=90.0, partitions=partitions,
                replicas=1, max_replicas=bound)
    (advice,), _ = decide([seen], POLICY, Past())
    most = min(bound or partitions, partitions)
    assert 1 <= advice.replicas <= most
    below = advice.replicas - 1
    assert below == 0 or ceil(partitions / below) > ceil(partitions / advice.replicas)


def test_counts_worth_having_are_those_where_the_busiest_worker_has_fewer_partitions():
    assert spreads(12, 12) == [1, 2, 3, 4, 6, 12]
    assert spreads(16, 16) == [1, 2, 3, 4, 6, 8, 16]  # 3 and 6 divide nothing, and help
    assert spreads(12, 5) == [1, 2, 3, 4]


@pytest.mark.parametrize("lacks, words", [
    ({"comes": None}, "how much comes"), ({"rate": None}, "how fast"), ({"age": None}, "how old"),
    ({"missing": "the brokers do not answer"}, "do not answer"), ({"partitions": ()}, "not read"),
])
def test_a_tier_whose_readings_are_missing_is_held_and_says_why(lacks, words):
    for replicas in (1, 5, 12):
        seen = tier(waits=90_000, age=50.0, replicas=replicas) if "partitions" in lacks else None
        seen = replace(seen, **lacks) if seen else tier(**{"waits": 90_000, "age": 50.0, **lacks}, replicas=replicas)
        (advice,), _ = decide([seen], POLICY, Past())
        assert advice.held and advice.replicas == replicas and words in advice.why


def test_one_partition_whose_oldest_record_was_not_read_in_time_holds_nobody():
    seen = tier(comes=900.0, waits=3_000, age=2.6)
    seen = replace(seen, partitions=(replace(seen.partitions[0], oldest_age_s=None), *seen.partitions[1:]))
    (advice,), _ = decide([seen], POLICY, Past())
    assert advice.replicas > 1 and "late" in advice.why


def test_readings_that_are_away_for_a_while_change_nothing_afterwards():
    calm = run(lambda at_s, n: tier(replicas=n, at_s=at_s, missing="away" if 300 < at_s < 480 else ""), 900, 2)
    assert {one.replicas for one in calm if one.at_s > 200} == {calm[40].replicas}


def test_heads_move_in_the_decision_in_which_the_encoders_do():
    encoders = tier(comes=3_000.0, waits=20_000, age=4.0, replicas=1)
    heads = tier("head", comes=580.0, replicas=1)  # all that one encoder lets through
    advices, _ = decide([heads, encoders], POLICY, Past())
    assert [one.tier for one in advices] == ["head/en/a", "encoder/en"]
    assert advices[0].replicas >= worth(12, 3_000 / 0.7 / 600)
    assert advices[1].replicas >= worth(12, 3_000 / 0.7 / 600)


def test_heads_are_sized_for_no_more_than_the_encoders_can_put_out():
    encoders = tier(comes=9_000.0, waits=90_000, age=40.0, replicas=2, max_replicas=2)
    advices, _ = decide([encoders, tier("head", comes=1_000.0)], POLICY, Past())
    assert advices[0].replicas == 2
    grown = (1_200 - 600) * POLICY.start_s + 1_200 * POLICY.rebalance_s
    assert advices[1].replicas == worth(12, (1_200 / 0.7 + grown / POLICY.catch_up_s) / 600) == 4


def test_a_cell_gets_heads_for_its_own_share():
    encoders = tier(comes=3_000.0, replicas=12)
    (_, large, small), _ = decide([
        encoders, tier("head", comes=0.0, share=0.9, replicas=12),
        replace(tier("head", comes=0.0, share=0.1, replicas=12), name="head/en/b", cell="b"),
    ], POLICY, Past())
    assert "2,700/s come" in large.why and "300/s come" in small.why


def test_heads_go_by_what_comes_to_them_while_their_encoders_cannot_be_read():
    advices, _ = decide([tier(missing="away"), tier("head", comes=2_000.0, waits=100, age=3.0)], POLICY, Past())
    assert advices[0].held and not advices[1].held and "2,000/s" in advices[1].why


def test_half_the_objective_asks_for_workers_at_once_and_a_single_high_reading_does_not():
    past = decide([tier(replicas=1)], POLICY, Past())[1]
    (late,), _ = decide([tier(comes=900.0, waits=3_000, age=2.6, at_s=5.0)], POLICY, past)
    (early,), past = decide([tier(comes=900.0, waits=500, age=0.6, at_s=5.0)], POLICY, past)
    (again,), _ = decide([tier(comes=900.0, waits=500, age=0.6, at_s=10.0)], POLICY, past)
    assert late.replicas > 1 and "late" in late.why
    assert early.replicas == 1 and "if it lasts" in early.why
    assert again.replicas > 1


def test_a_clock_set_back_by_an_hour_delays_nothing():
    _, past = decide([tier(comes=3_000.0, waits=9_000, age=3.0, at_s=7_200.0)], POLICY, Past())
    (late,), past = decide([tier(comes=3_000.0, waits=9_000, age=3.0, at_s=3_600.0, replicas=2)], POLICY, past)
    assert late.replicas == 12
    calm = run(lambda at_s, n: tier(comes=100.0, replicas=n, at_s=at_s), 400, 3, past)
    assert calm[-1].replicas < 3


def test_what_will_be_done_before_a_worker_could_have_started_asks_for_none():
    (advice,), _ = decide([tier(comes=100.0, waits=600, age=3.0)], POLICY, Past())
    assert advice.replicas == 1


def test_down_by_a_step_after_a_quiet_window_and_not_below_its_highest_need():
    found = run(lambda at_s, n: tier(comes=3_000.0 if at_s < 100 else 400.0, replicas=n, at_s=at_s), 1_500, 12)
    changes = [(one.at_s, one.replicas) for one, before in zip(found[1:], found, strict=False)
               if one.replicas != before.replicas]
    assert [count for _, count in changes] == [6, 4, 3, 2, 1]
    assert changes[0][0] >= 100 + POLICY.quiet_s - 5
    assert all(later - sooner >= POLICY.quiet_s for (sooner, _), (later, _) in pairwise(changes))


def test_a_step_down_waits_until_it_saves_what_its_rebalance_costs():
    found = run(lambda at_s, n: tier(comes=100.0, replicas=n, at_s=at_s, rebalance_s=120.0), 1_000, 3)
    counts = {one.at_s: one.replicas for one in found}  # 3 -> 2 costs 3 x 120 worker-seconds, 2 -> 1 2 x 120
    assert [counts[at_s] for at_s in (355, 360, 595, 600)] == [3, 2, 2, 1]


def test_a_rate_that_reads_low_since_little_comes_keeps_no_workers():
    """Two workers: 480/s each under load, 205/s each by what they do when 140/s come."""
    def seen(at_s, replicas):
        high = at_s < 100
        return tier(comes=560.0 if high else 140.0, rate=480.0 if high else 205.0, busy=0.6 if high else 0.33,
                    partitions=2, replicas=replicas, at_s=at_s)

    assert run(seen, 600, 2)[-1].replicas == 1
    never_busy = run(lambda at_s, n: replace(seen(200.0, n), at_s=at_s), 600, 2)
    assert never_busy[-1].replicas == 2  # nothing better is known


def test_a_rate_that_was_told_under_load_counts_only_until_it_is_told_anew():
    def seen(at_s, replicas):
        slow = at_s >= 100
        return tier(comes=300.0, rate=200.0 if slow else 600.0, busy=0.75, partitions=4, replicas=replicas, at_s=at_s)

    assert run(seen, 200, 1)[-1].replicas >= 2


@pytest.mark.parametrize("every_s", [20, 60, 63, 100, 200, 500])  # a window of 180 s
def test_looks_that_are_far_apart_shrink_a_tier_too(every_s):
    found = run(lambda at_s, n: tier(comes=100.0, replicas=n, at_s=at_s), 4_000, 3, every_s=every_s,
                policy=replace(POLICY, every_s=float(every_s)))
    assert found[-1].replicas == 1
    down_s = next(one.at_s for one in found if one.replicas < 3)
    assert POLICY.quiet_s <= down_s < POLICY.quiet_s + 2 * every_s


@pytest.mark.parametrize("quiet_s", [0.0, 2.0, 5.0, 5.9])
@pytest.mark.parametrize("replicas, partitions", [(2, 2), (12, 12)])
def test_a_short_quiet_window_shrinks_a_tier_too(quiet_s, replicas, partitions):
    policy = replace(POLICY, quiet_s=quiet_s, every_s=2.0)
    found = run(lambda at_s, n: tier(comes=100.0, replicas=n, partitions=partitions, at_s=at_s), 300, replicas,
                policy=policy, every_s=2)
    assert found[-1].replicas == 1


def test_a_time_that_nobody_looked_at_is_not_quiet():
    seen = tier(comes=100.0, replicas=3, at_s=0.0)
    _, past = decide([seen], POLICY, Past())
    (advice,), past = decide([replace(seen, at_s=3_600.0)], POLICY, past)
    assert advice.replicas == 3 and "when quiet" in advice.why
    (advice,), _ = decide([replace(seen, at_s=3_600.0 + POLICY.quiet_s)], POLICY, past)
    assert advice.replicas == 2


@pytest.mark.parametrize("seed", range(10))
def test_a_constant_load_with_noise_is_left_alone(seed):
    dice = random.Random(seed)
    comes = dice.uniform(300, 4_000)

    def seen(at_s, replicas):
        return tier(comes=comes * dice.gauss(1, 0.04), waits=dice.randrange(1_200), age=dice.uniform(0, 1.5),
                    rate=600 * dice.gauss(1, 0.02), replicas=replicas, at_s=at_s)

    counts = [one.replicas for one in run(seen, 7_200, worth(12, comes / 0.7 / 600))]
    turns = sum(one != before for one, before in zip(counts[1:], counts, strict=False))
    assert turns <= 2, counts


def test_a_partition_that_stands_still_is_reported_and_not_scaled_for():
    seen = tier(comes=400.0, replicas=2)
    stuck = (PartitionLoad(0, 80_000, 900.0, 33.0, stuck=True), *seen.partitions[1:])
    (advice,), _ = decide([replace(seen, partitions=stuck)], POLICY, Past())
    assert advice.replicas == 2
    assert advice.reports[0].startswith("partition 0 stands still with 80,000 records")


def test_a_partition_that_gets_more_than_a_worker_does_is_reported_and_counts_for_one():
    seen = tier(comes=1_200.0, replicas=3)
    others = (replace(one, arrivals_per_s=300 / 11) for one in seen.partitions[1:])
    hot = (PartitionLoad(0, 50_000, 70.0, 900.0), *others)
    (advice,), _ = decide([replace(seen, partitions=hot)], POLICY, Past())
    assert advice.replicas <= 3
    assert "partition 0 gets 900/s" in advice.reports[0]


def test_an_idle_tier_needs_no_rate_and_none_goes_below_its_least():
    found = run(lambda at_s, n: tier(comes=0.0, rate=None, replicas=n, at_s=at_s, min_replicas=2), 2_000, 4)
    assert found[-1].replicas == 2 and not found[-1].held
    (advice,), _ = decide([tier(replicas=0, rate=None, waits=50)], POLICY, Past())
    assert advice.replicas == 1  # held, but nobody would ever start the first


def test_every_decision_explains_itself_in_one_line_with_its_figures():
    for seen in (tier(), tier(comes=None), tier(waits=9_000, age=30.0), tier("head", comes=0.0, rate=None)):
        (advice,), _ = decide([seen], POLICY, Past())
        assert advice.why and "\n" not in advice.why and len(advice.why) < 200
    (advice,), _ = decide([tier(comes=1_234.0, waits=9_000, age=30.0, replicas=1)], POLICY, Past())
    for figure in ("1 -> ", "1,234/s come", "9,000 wait up to 30.0 s", "a worker does 600/s", "needed "):
        assert figure in advice.why
