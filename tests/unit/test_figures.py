"""The figures that a reader sees are those that were measured."""

import json

import pytest

from benchmarks.figures import BLOCK, BLOCKS, PAGES, filled
from benchmarks.goals import GOALS, goals
from benchmarks.results import Results


@pytest.mark.parametrize("place", PAGES, ids=lambda place: place.name)
def test_a_page_shows_what_its_result_files_say(place):
    page = place.read_text(encoding="utf-8")
    assert BLOCK.search(page), f"{place.name} has no figures"
    assert page == filled(page, Results()), "make figures"


def test_every_table_stands_on_a_page():
    shown = {found[2] for place in PAGES for found in BLOCK.finditer(place.read_text(encoding="utf-8"))}
    assert shown == set(BLOCKS)


def test_a_new_result_changes_the_page(tmp_path):
    result = {"benchmark": "heads", "throughput_per_s": 1_234.4, "p90_ms": 24.0}
    (tmp_path / "heads.json").write_text(json.dumps(result))
    page = "before\n<!-- figures: heads -->\nan old figure\n<!-- figures end -->\nafter\n"
    new = filled(page, Results(tmp_path))
    assert "1,234/s" in new
    assert "an old figure" not in new
    assert new.startswith("before\n")
    assert new.endswith("after\n")


def test_a_figure_that_was_not_measured_is_a_dash_and_no_goal_reached(tmp_path):
    nothing = Results(tmp_path)
    assert {goal.reached(nothing) for goal in GOALS} == {None}
    for name in set(BLOCKS) - {"runs"}:
        assert BLOCKS[name](nothing)


def test_a_missed_goal_is_said_before_the_table(tmp_path):
    (tmp_path / "repeated.json").write_text(json.dumps({"benchmark": "pipeline", "uniform": {"repeated_gain": 0.2}}))
    assert goals(Results(tmp_path)).startswith("Missed: 30 % repeated texts")
