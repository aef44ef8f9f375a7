"""Which rows share a batch, and how many tokens a batch of a given time has."""

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


def measured(fixed_s=0.001, per_token_s=0.0001, sizes=(15, 240)):
    cost = CostModel()
    for tokens in sizes * 20:
        cost.note(tokens, fixed_s + per_token_s * tokens)
    return cost


def test_the_fit_finds_fixed_and_per_token_cost():
    fixed, per_token = measured(0.002, 0.0001, (15, 60, 240, 30, 100)).fixed_and_per_token_s
    assert (fixed, per_token) == pytest.approx((0.002, 0.0001), rel=1e-3)


def test_a_batch_of_a_given_time():
    assert CostModel().tokens_within(0.15) == LEAST_TOKENS  # nothing measured yet
    assert measured(per_token_s=0.001).tokens_within(0.15) == pytest.approx(149, abs=2)  # less the fixed millisecond
    assert measured(per_token_s=0.1).tokens_within(0.15) == LEAST_TOKENS  # a slow machine: one utterance at a time


def test_a_cost_that_does_not_grow_with_tokens_allows_large_batches():
    assert measured(0.0003, -1e-8).tokens_within(0.002) > 1_000


def test_noise_between_batches_of_nearly_one_size_is_no_slope():
    cost = CostModel()
    for tokens in (15, 15, 15, 16) * 10:
        cost.note(tokens, 0.005 - 0.0001 * (tokens - 15))
    assert cost.tokens_within(0.15) == pytest.approx(450, rel=0.05)
