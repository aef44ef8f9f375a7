import pytest

from encoder_worker.batcher import pack
from encoder_worker.cost import LEAST_TOKENS, CostModel


def test_every_row_is_in_one_batch_and_no_batch_is_over_budget():
    lengths = [5, 40, 3, 15, 15, 4, 250, 7]
    batches = pack(lengths, 60)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in batch) <= 60 or len(batch) == 1 for batch in batches)


def test_a_long_text_makes_no_short_one_wait():
    assert pack([250, 4, 5], 32) == [[1, 2], [0]]


def test_the_fit_finds_fixed_and_per_token_cost():
    cost = CostModel()
    for tokens in (15, 60, 240, 30, 100) * 10:
        cost.note(tokens, 0.002 + 0.0001 * tokens)
    fixed, per_token = cost.fixed_and_per_token_s
    assert (fixed, per_token) == pytest.approx((0.002, 0.0001), rel=1e-3)


def test_a_costly_start_wants_large_batches_unless_the_objective_forbids_them():
    cost = CostModel()
    for tokens in (15, 240) * 20:
        cost.note(tokens, 0.002 + 0.0001 * tokens)
    assert cost.budget(10.0) == pytest.approx(380, abs=2)  # 95 % of the time goes into tokens
    assert cost.budget(0.1) == pytest.approx(230, abs=2)  # a quarter of the objective
    assert cost.budget(0.001) == LEAST_TOKENS


def test_an_engine_without_a_fixed_cost_takes_the_smallest_batches():
    cost = CostModel()
    for tokens in (15, 240) * 20:
        cost.note(tokens, 0.0007 * tokens)
    assert cost.budget(1.0) == LEAST_TOKENS


def test_a_cost_that_does_not_grow_with_tokens_wants_all_that_waits():
    cost = CostModel()
    for tokens in (15, 240) * 20:
        cost.note(tokens, 0.0003 - 1e-8 * tokens)
    assert cost.budget(0.035) > 1_000
    assert cost.within(0.002) > 1_000


def test_noise_between_batches_of_nearly_one_size_is_no_slope():
    cost = CostModel()
    for tokens in (15, 15, 15, 16) * 10:
        cost.note(tokens, 0.005 - 0.0001 * (tokens - 15))
    assert cost.within(0.15) == pytest.approx(450, rel=0.05)


def test_nothing_measured_yet_gives_the_smallest_batch():
    assert CostModel().budget(1.0) == LEAST_TOKENS


def measured(fixed_s=0.001, per_token_s=0.0001):
    cost = CostModel()
    for tokens in (15, 240) * 20:
        cost.note(tokens, fixed_s + per_token_s * tokens)
    return cost


def test_a_batch_gets_as_many_threads_as_save_more_than_waking_them_costs():
    cost = measured()
    assert cost.threads(250, 8) == 4  # 26 ms: the fourth thread saves 2.2 ms, the fifth would save 1.3
    assert cost.threads(250, 2) == 2
    assert cost.threads(60, 8) == 2
    assert cost.threads(15, 8) == 1


def test_no_thread_helps_where_others_need_the_cores_or_no_lane_is_idle():
    cost = measured()
    assert cost.threads(250, 0) == cost.threads(250, 1) == 1
    for _ in range(20):
        cost.note_core(0.002, 0.004)
    assert cost.threads(250, 8) == 1
    for _ in range(40):
        cost.note_core(0.002, 0.002)
    assert cost.threads(250, 8) == 4


def test_a_batch_of_a_given_time():
    assert CostModel().within(0.15) == LEAST_TOKENS  # nothing measured yet
    assert measured(per_token_s=0.001).within(0.15) == pytest.approx(149, abs=2)  # less the fixed millisecond
    assert measured(per_token_s=0.1).within(0.15) == LEAST_TOKENS  # a slow machine: one utterance at a time


def test_a_row_longer_than_the_objective_allows_is_computed_alone_and_last():
    assert pack([15, 250, 4, 90, 5], 1_000, alone=80) == [[2, 4, 0], [3], [1]]
    assert measured().allowed(0.035) == pytest.approx(77, abs=2)  # 8.75 ms less the fixed one
