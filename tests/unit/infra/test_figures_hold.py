"""What training says of a head: never from lines that taught it, with how many there were and how sure that is."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from head_worker.engine import TokenVectors
from head_worker.load import load_head
from infra.training.calibrate import calibrate
from infra.training.evaluate import Labelled, Outcome, outcomes, scores_of
from infra.training.examples import OUT_OF_SCOPE, Entity, Example
from infra.training.fit import Recipe, Target, fit
from infra.training.folds import folds_of
from infra.training.interval import bootstrap, wilson
from infra.training.model import Size
from infra.training.told import lines_of, lines_of_test, lone
from topology.errors import Misconfigured

TARGET, SMALL = Target("acme", "en", "s"), Recipe(epochs=6, size=Size(width=0, pool=8, layer=False))
NONE = Counter()


def labelled(intent, number, noise=0.3):
    """Vectors around their intent's own; an intent of chance has none."""
    rng = np.random.default_rng(number)
    centre = np.random.default_rng(sum(map(ord, intent)) if intent != "chance" else number).normal(size=16)
    data = np.clip((centre + rng.normal(size=(3, 16)) * noise) * 40, -127, 127).astype(np.int8)
    row = TokenVectors("a b c", data, np.full(3, 0.025, np.float32), np.array([[0, 1], [2, 3], [4, 5]], np.int32))
    return Labelled(Example(f"a b c {number}", intent, ()), row)


def test_labels_by_chance_are_not_said_to_be_learned(tmp_path):
    rows = [labelled("chance", i) for i in range(100)]
    rows = [Labelled(replace(one.example, intent=("on", "off")[i % 2]), one.row) for i, one in enumerate(rows)]
    metrics = fit(TARGET, rows, None, tmp_path, replace(SMALL, epochs=20, patience=20)).metrics
    assert metrics["examples"] == 100 and metrics["evaluation"] == "5 folds"
    below, above = metrics["intervals"]["intent_accuracy"]
    assert below < 0.5 < above, "the head knows its own lines by heart, and no others"


def test_folds_hold_every_intent_and_never_a_text_on_two_sides():
    examples = [Example(f"text {i % 40}", ("a", "b")[i % 2], ()) for i in range(80)]
    folds = folds_of(examples, 0)
    assert sorted(i for fold in folds for i in fold) == list(range(80)) and len(folds) == 5
    for fold in folds:
        held = {examples[i].text for i in fold}
        assert not held & {one.text for i, one in enumerate(examples) if i not in fold}
        assert Counter(examples[i].intent for i in fold) == {"a": 8, "b": 8}


def test_what_only_one_line_has_teaches_and_is_warned_of():
    examples = [*(Example(f"t{i}", "a", ()) for i in range(20)), Example("x", "rare", ()),
                Example("y z", "a", (Entity(0, 1, "once"),))]
    assert 20 not in {i for fold in folds_of(examples, 0) for i in fold}, "its intent would be unknown to the fold"
    many = [*examples, *(Example(f"more {i}", "a", ()) for i in range(1_000))]
    assert {20, 21}.isdisjoint(folds_of(many, 0)[0]), "of many lines the head never sees what is held out"
    assert "intent rare, label once" in next(lone(examples))


def test_seven_lines_tell_nothing_and_it_is_said(tmp_path):
    manifest = fit(TARGET, [labelled(f"intent{i}", i) for i in range(7)], None, tmp_path, SMALL)
    assert len(manifest.intents) == 7
    told = "\n".join(lines_of(manifest))
    assert "cannot be told from 7 lines" in told and "%" not in told


def test_one_line_in_scope_is_refused_by_name(tmp_path):
    with pytest.raises(Misconfigured, match="too few"):
        fit(TARGET, [labelled("on", 1), labelled(OUT_OF_SCOPE, 2)], None, tmp_path, SMALL)


def test_without_entities_no_span_score_is_shown(tmp_path):
    manifest = fit(TARGET, [labelled(("on", "off")[i % 2], i) for i in range(60)], None, tmp_path, SMALL)
    told = "\n".join(lines_of(manifest))
    assert "span" not in told and "60 lines" in told and " to " in told


def test_ten_lines_out_of_scope_find_others_like_them_and_keep_what_is_in_scope(tmp_path):
    rows = [labelled(("on", "off", "dim")[i % 3], i) for i in range(60)]
    rows += [labelled(OUT_OF_SCOPE, 100 + i) for i in range(10)]
    manifest = fit(TARGET, rows, None, tmp_path, replace(SMALL, epochs=60))
    assert manifest.out_of_scope_threshold > 0, "an older worker refuses too"
    head = load_head(tmp_path)
    strange = head.predict([labelled(OUT_OF_SCOPE, i).row for i in range(900, 940)])
    plain = head.predict([labelled(("on", "off", "dim")[i % 3], i).row for i in range(900, 960)])
    assert sum(s.out_of_scope for s in strange) > 30 and sum(s.out_of_scope for s in plain) <= 4
    told = "\n".join(lines_of(manifest))
    assert "of in-scope, finds" in told and "of 10 out-of-scope lines" in told
    scope = {**manifest.metrics["out_of_scope"], "in_scope_kept": 0.98, "out_of_scope_found": 0.2}
    told = "\n".join(lines_of(replace(manifest, metrics={**manifest.metrics, "out_of_scope": scope})))
    assert "warning: 80% of what is out of scope is answered" in told


@pytest.mark.parametrize("keep", [0.97, 0.9])
def test_the_threshold_keeps_what_it_must_however_much_is_out_of_scope(keep):
    torch.manual_seed(0)
    logits, strange = torch.randn(400, 5) * 3, torch.randn(400, 5) * 2
    found = calibrate(logits, logits.argmax(1), strange, keep)
    kept = (logits / found.temperature).softmax(1).amax(1) >= found.threshold
    assert kept.float().mean() >= keep and found.threshold > 0
    assert (logits.amax(1) - logits.mean(1) >= found.max_logit).float().mean() >= keep


def test_a_test_file_tells_in_scope_and_out_of_scope_apart():
    lines = [Outcome("on", "on", 0.9, False, NONE, NONE, NONE, 9.0)] * 95
    lines += [Outcome("on", "off", 0.3, True, NONE, NONE, NONE, 3.0)] * 5
    lines += [Outcome(OUT_OF_SCOPE, "on", 0.2, True, NONE, NONE, NONE, 2.0)] * 15
    lines += [Outcome(OUT_OF_SCOPE, "on", 0.9, False, NONE, NONE, NONE, 9.0)] * 5
    scores = scores_of(lines)
    assert scores.intent_accuracy == pytest.approx(0.95) and scores.examples == 100
    found = scores.out_of_scope
    assert (found["in_scope_kept"], found["out_of_scope_found"], found["precision"]) == (0.95, 0.75, 0.75)
    assert found["auroc"] == pytest.approx((15 * 100 + 5 * 95 / 2) / 2000)
    assert "AUROC" in "\n".join(lines_of_test(scores.as_dict()))


def test_intervals_are_wilsons_and_hold_the_f1():
    assert wilson(95, 100) == pytest.approx((0.888, 0.978), abs=1e-3)
    below, above = bootstrap(np.array([[1, 1, 1]] * 80 + [[0, 1, 1]] * 20))
    assert below < 0.8 < above and 0.1 < above - below < 0.25


def test_auroc_is_of_what_refuses(tmp_path):
    rows = [labelled(("on", "off", "dim")[i % 3], i) for i in range(120)]
    fit(TARGET, rows, None, tmp_path, replace(SMALL, epochs=60))
    head, strange = load_head(tmp_path), [labelled(OUT_OF_SCOPE, i) for i in range(900, 940)]
    assert any(one.scope_score != one.confidence for one in outcomes(head, strange))
    head.manifest = replace(head.manifest, out_of_scope_max_logit=None)  # as of an older head
    assert all(one.scope_score == one.confidence for one in outcomes(head, strange))


def test_where_nobody_said_what_is_out_of_scope_99_percent_are_kept():
    torch.manual_seed(0)
    logits = torch.randn(400, 5) * 3
    found = calibrate(logits, logits.argmax(1), logits[:0])
    refused = logits.amax(1) - logits.mean(1) < found.max_logit
    assert 0 < refused.float().mean() <= 0.01
