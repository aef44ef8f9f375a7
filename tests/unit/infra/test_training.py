"""Training as people use it: files of two kinds, seeds, out of scope, calibration, a page to look at."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from head_worker.engine import TokenVectors
from head_worker.load import load_head
from infra.training.calibrate import OUT_OF_SCOPE, expected_calibration_error
from infra.training.descend import weights_of
from infra.training.evaluate import Labelled
from infra.training.examples import Entity, Example
from infra.training.fit import Recipe, Target, fit
from infra.training.model import Size
from infra.training.reading import read_training
from infra.training.report import write_report
from topology.errors import Misconfigured

GOOD = {"text": "light on in the attic", "intent": "on", "entities": [{"start": 16, "end": 21, "label": "room"}]}


def labelled(intent, number):
    rng = np.random.default_rng(number)
    centre = np.random.default_rng({"on": 1, "off": 2, OUT_OF_SCOPE: 3}[intent]).normal(size=16)
    data = np.clip((centre + rng.normal(size=(3, 16)) * 0.3) * 40, -127, 127).astype(np.int8)
    row = TokenVectors("a b c", data, np.full(3, 0.025, np.float32), np.array([[0, 1], [2, 3], [4, 5]], np.int32))
    return Labelled(Example("a b c", intent, ()), row)


def rows(count=60):
    return [labelled(("on", "off", "on", OUT_OF_SCOPE)[i % 4], i) for i in range(count)]


TARGET, SMALL = Target("acme", "en", "s"), Recipe(epochs=4, size=Size(width=0, pool=8, layer=False))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    hashes = [fit(TARGET, rows()[:40], rows()[40:], tmp_path / name, replace(SMALL, seed=seed)).sha256
              for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert hashes[0] == hashes[1] != hashes[2]


def test_entities_are_learned_and_predicted_as_the_served_head_would(tmp_path):
    def with_room(number):
        one = labelled(("on", "off")[number % 2], number)
        if number % 3 == 0:
            one.row.data[2] = np.arange(-120, 120, 15)
        entities = (Entity(4, 5, "room"),) if number % 3 == 0 else ()
        return Labelled(replace(one.example, entities=entities), one.row)

    data = [with_room(i) for i in range(120)]
    size = Size(width=16, ffn=32, heads=1, dropout=0.0)
    manifest = fit(TARGET, data[:90], data[90:], tmp_path, Recipe(epochs=15, size=size))
    assert manifest.tags == ("O", "B-room", "I-room")
    found = load_head(tmp_path).predict([one.row for one in data[90:]])
    right = [bool(s.entities) == bool(one.example.entities) for s, one in zip(found, data[90:], strict=True)]
    assert sum(right) >= 28 and {e.text for s in found for e in s.entities} == {"c"}


def test_examples_out_of_scope_are_no_intent_and_set_the_threshold(tmp_path):
    manifest = fit(TARGET, rows(160)[:80], rows(160)[80:], tmp_path, replace(SMALL, epochs=60))
    assert manifest.intents == ("off", "on")
    scope = manifest.metrics["out_of_scope"]
    assert scope["in_scope_kept"] > 0.8 and scope["out_of_scope_found"] > 0.8
    head = load_head(tmp_path)
    strange = head.predict([labelled(OUT_OF_SCOPE, i).row for i in range(900, 940)])
    plain = head.predict([labelled("on", i).row for i in range(900, 940)])
    assert sum(s.out_of_scope for s in strange) > 30 > 10 > sum(s.out_of_scope for s in plain)


@pytest.mark.parametrize("size", [Size(width=20), Size(width=64, heads=5), Size(width=64, heads=16)])
def test_a_size_that_cannot_be_served_is_refused_before_training(tmp_path, size):
    with pytest.raises(Misconfigured, match="attention heads"):
        fit(TARGET, rows()[:40], rows()[40:], tmp_path, replace(SMALL, size=size))


def test_the_calibration_error_is_naeinis():
    sure, hit = torch.tensor([0.95, 0.95, 0.65, 0.65]), torch.tensor([True, True, True, False])
    error, bins = expected_calibration_error(sure, hit)
    assert error == pytest.approx(0.5 * 0.05 + 0.5 * 0.15)
    assert [n for _, _, n in bins] == [2, 2]


def test_rare_intents_weigh_more_by_the_strength_asked_for():
    counts = Counter({0: 90, 1: 10})
    assert weights_of(counts, 2, 0.0).tolist() == [1, 1]
    full = weights_of(counts, 2, 1.0).tolist()
    assert full[1] / full[0] == pytest.approx(9)
    assert (90 * full[0] + 10 * full[1]) / 100 == pytest.approx(1)


def test_json_lines_and_csv_give_the_same_examples(tmp_path):
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.csv"
    lines.write_text("\n".join(json.dumps(GOOD) for _ in range(2)))
    entities = json.dumps(GOOD["entities"]).replace('"', '""')
    table.write_text("text,intent,entities\n" + f'{GOOD["text"]},on,"{entities}"\n' * 2)
    wanted = Example(GOOD["text"], "on", (Entity(16, 21, "room"),))
    assert read_training(lines).train == read_training(table).train == [wanted] * 2


@pytest.mark.parametrize("body,told", [
    ("text,colour,size\na,b,c\n", "intent"), ("text,intent,entities\na,b,[\n", "csv:2"),
    ("text,intent\n,b\nx,y\n", "csv:2"),
])
def test_a_crooked_csv_is_refused_with_its_line(tmp_path, body, told):
    place = tmp_path / "a.csv"
    place.write_text(body)
    with pytest.raises(Misconfigured, match=told):
        read_training(place)


def test_the_report_is_one_file_that_shows_scores_confusion_and_calibration(tmp_path):
    manifest = fit(TARGET, rows(120)[:60], rows(120)[60:], tmp_path, SMALL)
    page = write_report(replace(manifest, tenant="<acme>"), tmp_path / "report.html").read_text()
    assert "&lt;acme&gt;" in page and "<acme>" not in page
    assert "calibration plot" in page and "class=matrix" in page
    assert "http" not in page.replace("http-equiv", "")
