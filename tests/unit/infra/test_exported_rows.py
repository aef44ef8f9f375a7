"""Rows with numbers for names, saved sets, and pairs of files, as tools and hubs export them."""

import json

import pytest

from infra.training.formats.found import Options
from infra.training.formats.registry import read
from tests.exports import labelled, put
from topology.errors import Misconfigured

COLUMNS = "text,label\nlamp on,1\nlamp off,0\n"
FEATURES = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["off", "on"], "_type": "ClassLabel"}}


def test_numbers_in_a_csv_get_their_names_from_what_stands_beside_or_are_told(tmp_path):
    found = read([put(tmp_path / "a/train.csv", COLUMNS)])
    assert found.notes["rows whose intent is a number; --names FILE says what it means"] == 2
    named = read([put(tmp_path / "a/train.csv", COLUMNS)], Options(names={"": ["off", "on"]}))
    put(tmp_path / "b/dataset_infos.json", {"default": {"features": FEATURES}})
    beside = read([put(tmp_path / "b/train.csv", COLUMNS)])
    assert labelled(named) == labelled(beside) == [("lamp on", "on", []), ("lamp off", "off", [])]


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_a_set_that_was_saved_to_disk_is_read_with_the_names_that_it_carries(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"text": ["lamp on", "lamp off"], "label": [1, 0]}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": FEATURES}})})
    (tmp_path / "test").mkdir()
    make = pyarrow.ipc.new_file if kind == "file" else pyarrow.ipc.new_stream
    with make(tmp_path / "test/data-00000-of-00001.arrow", table.schema) as file:
        file.write_table(table)
    found = read([tmp_path])
    assert labelled(found) == [("lamp on", "on", []), ("lamp off", "off", [])] and found.splits == ("test",)


ROWS = {
    "entities": ({"text": "wake me at nine", "label": 1, "entities": [{"start": 11, "end": 15, "label": "time"}]},
                 ("wake me at nine", "on", [("nine", "time")])),
    "tokens": ({"text": "it's nine.", "tokens": ["it", "'s", "nine", "."], "ner_tags": ["O", "O", "B-time", "O"],
                "label": 1}, ("it's nine.", "on", [("nine", "time")])),
    "massive": ({"id": "1", "locale": "en-US", "partition": "test", "intent": 1, "utt": "wake me at nine",
                 "annot_utt": "wake me at [time : nine]"}, ("wake me at nine", "on", [("nine", "time")])),
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_with_numbers_keep_their_spans_and_their_spacing(tmp_path, kind):
    row, wanted = ROWS[kind]
    place = put(tmp_path / "rows.jsonl", json.dumps(row))
    assert labelled(read([place], Options(names={"": ["off", "on"]}))) == [wanted]
    with pytest.raises(Misconfigured, match=r"rows\.jsonl:1: .* is a number"):
        read([place])


@pytest.mark.parametrize("name", ["a.bio", "a.txt"])
def test_a_tag_may_stand_before_its_word(tmp_path, name):
    body = "O\ta\nB-Rating\tfive\nI-Rating\tstar\nO\tdiner\n\nO\tyes\n"
    assert labelled(read([put(tmp_path / name, body)], Options(intent="find"))) == [
        ("a five star diner", "find", [("five star", "Rating")]), ("yes", "find", [])]


def test_a_snips_file_that_stands_in_its_full_one_is_left_out(tmp_path):
    body = {"on": [{"data": [{"text": "lamp on"}]}]}
    for name in ("train_on.json", "train_on_full.json", "validate_on.json"):
        put(tmp_path / name, body)
    found = read([tmp_path])
    assert [row.split for row in found.rows] == ["train", "test"] and any("_full" in note for note in found.notes)


def test_watsons_two_files_of_csv_are_read_together(tmp_path):
    put(tmp_path / "intents.csv", 'turn it on,on\n"the attic, please",on\nwarm the loft,heat\n')
    put(tmp_path / "entities.csv", "room,attic,loft,top floor\nroom,hall\ncode,id,/\\d+/\n")
    found = read([tmp_path])
    assert labelled(found) == [("turn it on", "on", []), ("the attic, please", "on", [("attic", "room")]),
                            ("warm the loft", "heat", [("loft", "room")])]
    assert found.synonyms == {"room": {"attic": ["loft", "top floor"], "hall": []}} and not found.refused


def test_a_watson_skill_of_actions_is_read_by_the_actions_titles(tmp_path):
    skill = {"name": "Bank actions", "type": "action", "language": "fr", "workspace": {
        "intents": [{"intent": "action_1_intent_2", "examples": [{"text": "mon solde"}]},
                    {"intent": "fallback_connect_to_agent", "examples": [{"text": "un conseiller"}]}],
        "actions": [{"title": "Solde", "action": "action_1", "condition": {"intent": "action_1_intent_2"}},
                    {"title": "Accueil", "action": "welcome", "condition": {"expression": "welcome"}}],
        "entities": [], "counterexamples": [{"text": "qui es-tu"}]}}
    found = read([put(tmp_path / "skill.json", skill)])
    assert found.languages == ("fr",)
    assert [row[1] for row in labelled(found)] == ["Solde", "fallback_connect_to_agent", "out_of_scope"]
