"""`headrace data check`, and what training tells of the same: every kind of mistake, by its line."""

import json

import pytest

pytest.importorskip("torch")

from infra.cli.main import main
from infra.training.checks import COSTS
from tests.shop import plenty, span, write

KINDS = {
    "row": ['{"text": 4}'],
    "offsets": [{"text": "😀 kitchen on", "intent": "on", "entities": [span(3, 10, "room", value="kitchen")]}],
    "overlap": [{"text": "kitchen on", "intent": "on", "entities": [span(0, 7, "room"), span(3, 10, "room")]}],
    "two-intents": [{"text": "on number 1", "intent": "off"}],
    "part-of-word": [{"text": "kitchen on", "intent": "on", "entities": [span(0, 4, "room")]}],
    "shared-word": [{"text": "add 20kg flour", "intent": "on", "entities": [span(4, 6, "room"), span(6, 8, "unit")]}],
    "too-long": [{"text": "on " * 40 + "kitchen", "intent": "on", "entities": [span(120, 127, "room")]}],
    "few-examples": [{"text": "once", "intent": "rare"}],
    "few-spans": [{"text": "the attic", "intent": "on", "entities": [span(4, 9, "where")]}],
    "named-outside": [{"text": f"strange {i}", "intent": "oos"} for i in range(12)],
}


def checked(capsys, *typed):
    code = main(["data", "check", *typed, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", KINDS)
def test_check_names_each_kind_of_mistake_by_its_line_with_a_count_and_a_cost(home, capsys, kind):
    good = [*plenty("on", span(0, 2, "room")), *plenty("off", span(0, 3, "unit"))]
    write(home / "shop.jsonl", *good)
    assert checked(capsys, "shop.jsonl")[0] == 0
    write(home / "shop.jsonl", *good, *KINDS[kind])
    code, found = checked(capsys, "shop.jsonl")
    mine = [one for one in found["findings"] if one["kind"] == kind]
    line = 2 if kind == "two-intents" else len(good) + 1
    assert code == 1 and mine[0]["place"] == f"shop.jsonl:{line}"
    assert found["counts"][kind]["count"] == len(mine) and found["counts"][kind]["cost"]
    assert main(["data", "check", "shop.jsonl"]) == 1
    told = capsys.readouterr().out
    assert f"{COSTS[kind][0]}: {len(mine)} ({COSTS[kind][1]})" in told and f"shop.jsonl:{line}" in told


def test_check_tells_what_is_in_training_and_in_the_test_too_and_when_all_is_well(home, capsys):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"))
    write(home / "test.jsonl", {"text": "ON  number 3", "intent": "on"}, {"text": "new", "intent": "on"})
    code, found = checked(capsys, "shop.jsonl", "--test", "test.jsonl")
    assert code == 1 and [one["place"] for one in found["findings"]] == ["test.jsonl:1"]
    assert "shop.jsonl:4" in found["findings"][0]["what"]
    assert main(["data", "check", "shop.jsonl"]) == 0 and "nothing is wrong" in capsys.readouterr().out


def test_check_names_intents_and_labels_of_the_test_that_nothing_teaches(home, capsys):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"))
    write(home / "test.jsonl", {"text": "bill me", "intent": "pay", "entities": [span(5, 7, "who")]},
          {"text": "a joke", "intent": "out_of_scope"}, {"text": "pay now", "intent": "pay"})
    code, found = checked(capsys, "shop.jsonl", "--test", "test.jsonl")
    assert code == 1 and [(one["kind"], one["place"], one["what"]) for one in found["findings"]] == [
        ("untaught", "test.jsonl:1", "label who"), ("untaught", "test.jsonl:1", "pay")]


@pytest.mark.parametrize("name", ["None of these", "OUT-OF-SCOPE", "Out of scope", "none", "Fallback", "ood"])
def test_an_intent_that_sounds_out_of_scope_is_told_whatever_its_case_and_its_blanks(home, capsys, name):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"), *plenty(name))
    code, found = checked(capsys, "shop.jsonl")
    assert code == 1 and [(one["kind"], one["what"]) for one in found["findings"]] == [
        ("named-outside", f"{name} has 12")]
    assert checked(capsys, "shop.jsonl", "--out-of-scope", name)[0] == 0


def test_a_name_of_out_of_scope_that_no_row_has_is_told_by_all_who_read(home, capsys):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"), *plenty("joke"))
    code, found = checked(capsys, "shop.jsonl", "--out-of-scope", "joke,None of that")
    assert code == 0 and [one["what"] for one in found["findings"]] == ["no row has the intent 'None of that'"]
    for typed in (["data", "convert", "shop.jsonl"], ["head", "train", "shop", "shop.jsonl", "--epochs", "1"]):
        main([*typed, "--out-of-scope", "None of that"])
        assert "no row has the intent 'None of that'" in capsys.readouterr().out
    write(home / "test.jsonl", {"text": "and so on", "intent": "None of that"})
    assert not checked(capsys, "shop.jsonl", "--test", "test.jsonl", "--out-of-scope", "None of that")[1]["findings"]


def test_what_is_held_out_has_rows_of_its_own_in_the_table_whatever_its_file_is_called(home, capsys):
    write(home / "velo.jsonl", *plenty("on"), *plenty("off"))
    write(home / "velo-unseen.jsonl", {"text": "light on", "intent": "on"})
    write(home / "tuning.jsonl", {"text": "lamp on", "intent": "on"}, {"text": "lamp off", "intent": "off"})
    typed = ["velo.jsonl", "--test", "velo-unseen.jsonl", "--tune", "tuning.jsonl"]
    _, found = checked(capsys, *typed)
    assert {one["split"]: one["rows"] for one in found["parts"]} == {"train": 24, "dev": 2, "test": 1}
    main(["data", "check", *typed])
    assert [line.split()[:3:2] for line in capsys.readouterr().out.splitlines()[2:5]] == [
        ["train", "24"], ["dev", "2"], ["test", "1"]]


def test_blanks_around_spans_and_repeated_texts_are_told_and_cost_nothing(home, capsys):
    again = {"text": "off number 0", "intent": "off"}
    write(home / "shop.jsonl", *plenty("on", span(0, 3, "room")), *plenty("off"), again)
    code, found = checked(capsys, "shop.jsonl")
    assert code == 0 and {kind: one["count"] for kind, one in found["counts"].items()} == {"blanks": 12, "repeated": 1}


def test_spans_that_cut_words_say_when_other_units_would_not(home, capsys):
    rows = [{"text": f"😀 kitchen on {i}", "intent": "on", "entities": [span(3, 10, "room")]} for i in range(12)]
    write(home / "shop.jsonl", *rows, *plenty("off"))
    _, found = checked(capsys, "shop.jsonl")
    cut = [one["what"] for one in found["findings"] if one["kind"] == "part-of-word"]
    assert len(cut) == 12 and all("UTF-16 offsets would fit: 'kitchen'" in one for one in cut)
    assert checked(capsys, "shop.jsonl", "--offsets", "utf-16")[0] == 0


def test_training_tells_what_check_tells_and_goes_on_without_the_bad_rows(home, capsys):
    write(home / "shop.jsonl", *(one for kind in ("row", "offsets", "shared-word") for one in KINDS[kind]),
          *plenty("on", span(0, 2, "room")), *plenty("off", span(0, 3, "unit")))
    assert main(["head", "train", "shop", "shop.jsonl", "--epochs", "2"]) == 0
    told = capsys.readouterr().out
    for kind in ("row", "offsets", "shared-word"):
        assert f"{COSTS[kind][0]}: 1" in told
    assert "shop.jsonl:1" in told and "'kg' (unit, 6..8)" in told


def test_training_tells_of_bad_rows_and_known_texts_in_the_files_that_tune_and_test(home, capsys):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"))
    write(home / "tune.jsonl", {"text": "on number 3", "intent": "on"}, {"text": "light off", "intent": "off"})
    write(home / "test.jsonl", '{"text": 4}', {"text": "lamp on", "intent": "on"})
    assert main(["head", "train", "shop", "shop.jsonl", "--tune", "tune.jsonl", "--test", "test.jsonl",
                 "--epochs", "2"]) == 0
    told = capsys.readouterr().out
    assert "test.jsonl:1: text is missing" in told
    assert "tune.jsonl:1: 'on number 3' stands in training too: shop.jsonl:4" in told
