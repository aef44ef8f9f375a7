"""What a newcomer's first lines of data may look like, and what is said of them."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from head_worker.engine import TokenVectors
from head_worker.load import load_head
from infra.cli import bar
from infra.training.evaluate import Labelled, Outcome, scores_of
from infra.training.examples import OUT_OF_SCOPE, Example
from infra.training.fit import Hooks, Recipe, Target, fit
from infra.training.folds import FOLDED
from infra.training.interval import bootstrap
from infra.training.model import Size
from infra.training.told import lines_of, lines_of_test

TARGET, SMALL = Target("acme", "en", "s"), Recipe(epochs=2, size=Size(width=0, pool=8, layer=False))


def labelled(text, intent, number):
    data = np.random.default_rng(number).integers(-99, 99, (2, 16)).astype(np.int8)
    row = TokenVectors(text, data, np.full(2, 0.02, np.float32), np.array([[0, 1]] * 2))
    return Labelled(Example(text, intent), row)


@pytest.mark.parametrize("strange", [0, 40])
def test_many_lines_of_which_no_two_have_an_intent_train_and_say_that_nothing_is_held_out(tmp_path, strange):
    rows = [labelled(f"question {i}", f"faq{i}", i) for i in range(FOLDED)]
    rows += [labelled(f"joke {i}", OUT_OF_SCOPE, 1000 + i) for i in range(strange)]
    manifest = fit(TARGET, rows, None, tmp_path, SMALL)
    assert load_head(tmp_path).manifest.intents == manifest.intents and len(manifest.intents) == FOLDED
    assert "no intent has a second line to hold out" in "\n".join(lines_of(manifest))


def test_one_text_a_thousand_times_trains_too(tmp_path):
    rows = [labelled(("on", "off")[i % 2], ("on", "off")[i % 2], i) for i in range(2 * FOLDED)]
    assert fit(TARGET, rows, None, tmp_path, SMALL).intents == ("off", "on")


def test_who_looks_on_is_told_of_spans_only_where_there_are_some(tmp_path):
    seen = []
    rows = [labelled(f"line {i}", ("on", "off")[i % 2], i) for i in range(40)]
    fit(TARGET, rows, rows, tmp_path, SMALL, Hooks(lambda share, scores: seen.append(set(scores))))
    assert seen == [{"intent_accuracy"}] * 2


def test_ctrl_c_as_soon_as_the_first_epoch_is_told_writes_it(tmp_path):
    def press(share, scores):
        raise KeyboardInterrupt

    rows = [labelled(f"line {i}", ("on", "off")[i % 2], i) for i in range(40)]
    fit(TARGET, rows, rows, tmp_path, SMALL, Hooks(press, lambda epoch, scores: epoch == 1))
    assert load_head(tmp_path).manifest.intents == ("off", "on")


def test_a_test_file_of_lines_out_of_scope_alone_tells_what_is_found_of_them():
    none = Counter()
    lines = [Outcome(OUT_OF_SCOPE, "on", 0.2, i < 3, none, none, none) for i in range(4)]
    told = list(lines_of_test(scores_of(lines).as_dict()))
    assert told == ["4 lines out of scope: finds 75.0% (recall); none is in scope"]


@pytest.mark.parametrize("hit", [0, 1])
def test_all_spans_right_of_a_few_lines_are_not_said_to_be_sure(hit):
    below, above = bootstrap(np.array([[hit, 1, 1]] * 25 + [[0, 0, 0]] * 20))
    assert (below, above) == pytest.approx((0.867, 1.0) if hit else (0.0, 0.133), abs=1e-3)


def test_the_time_that_is_left_does_not_count_what_came_before_the_first_step(monkeypatch, capsys):
    now = iter([0.0, 60.0, 160.0, 166.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with bar.shown("training") as show:
        show(0.0, "encoding")
        show(0.1, "")
        show(0.4, "")
    assert capsys.readouterr().err.splitlines() == [
        "training: 0%, encoding", "training: 10%", "training: 40%, about 12 s left"]


@pytest.mark.parametrize("inside", [20, 30])
def test_a_threshold_from_a_short_tune_file_is_told_as_it_acts_on_other_lines_or_is_none(tmp_path, inside):
    def line(number, intent):
        one = labelled(f"{intent} {number}", intent, number)
        if intent != OUT_OF_SCOPE:
            one.row.data[:, :8] = 90 if intent == "on" else -90
        return one

    rows = [line(i, ("on", "off")[i % 2]) for i in range(60)]
    tune = [line(100 + i, ("on", "off")[i % 2]) for i in range(inside)]
    tune += [line(200 + i, OUT_OF_SCOPE) for i in range(10)]
    manifest = fit(TARGET, rows, tune, tmp_path, replace(SMALL, epochs=8, keep=0.9))
    if inside == 20:
        assert manifest.out_of_scope_max_logit is None
        assert manifest.out_of_scope_threshold == 0.0 and manifest.temperature == 1.0
    else:
        assert manifest.out_of_scope_threshold > 0.5 and manifest.metrics["out_of_scope"]["out_of_scope_found"] > 0


def test_a_write_that_fails_leaves_the_head_of_before(tmp_path, monkeypatch):
    rows = [labelled(f"line {i}", ("on", "off")[i % 2], i) for i in range(40)]
    version = fit(TARGET, rows, rows, tmp_path, SMALL).version

    def full(place, *args, **more):
        raise OSError(28, "No space left on device", str(place))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space left"):
        fit(TARGET, rows, rows, tmp_path, replace(SMALL, seed=5))
    assert load_head(tmp_path).manifest.version == version
    assert sorted(place.name for place in tmp_path.iterdir()) == ["head.json", "head.safetensors"]
