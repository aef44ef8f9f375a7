"""`[autoscale]` is checked whole, with the line of each mistake."""

import pytest

from topology.errors import Misconfigured
from topology.settings import parse

RING = '[rings.en]\nlanguages = ["en"]\nencoder = "demo"\n'


@pytest.mark.parametrize("line, words", [
    ("utilization = 0.0", "autoscale.utilization"), ("utilization = 1.2", "autoscale.utilization"),
    ("objective_s = 0.0", "autoscale.objective_s"), ("catch_up_s = -1.0", "autoscale.catch_up_s"),
    ("every_s = inf", "autoscale.every_s"), ("quiet_s = nan", "autoscale.quiet_s"),
    ("start_s = -0.5", "autoscale.start_s"), ("rebalance_s = inf", "autoscale.rebalance_s"),
    ('quiet_s = "5m"', "quiet_s"), ("quiet = 5.0", "quiet"),
])
def test_a_policy_that_cannot_be_is_named_with_its_line(line, words):
    with pytest.raises(Misconfigured, match=rf":5: .*{words}"):
        parse(f"{RING}[autoscale]\n{line}\n")


@pytest.mark.parametrize("line", ["max_workers = -1", "max_workers = 1.5"])
@pytest.mark.parametrize("table", ["rings.en", "rings.en.cells.a"])
def test_a_bound_on_workers_is_a_whole_number_of_0_or_more(line, table):
    with pytest.raises(Misconfigured, match="max_workers"):
        parse(RING + f"{line}\n" if table == "rings.en" else f"{RING}[{table}]\n{line}\n")


def test_a_policy_and_bounds_are_read():
    settings = parse(f"{RING}max_workers = 3\n[rings.en.cells.a]\nmax_workers = 2\n[autoscale]\nquiet_s = 60.0\n")
    assert settings.autoscale.quiet_s == 60.0 and settings.autoscale.utilization == 0.7
    assert settings.rings["en"].max_workers == 3 and settings.rings["en"].cells["a"].max_workers == 2
