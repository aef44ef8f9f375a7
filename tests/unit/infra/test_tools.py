"""Exports of Alexa, Dialogflow CX, wit.ai, Label Studio, Prodigy, doccano, spaCy and Snips NLU, in our own words."""

import json
import zipfile

import pytest

from infra.cli.main import main
from infra.training.formats.found import Options
from infra.training.formats.registry import read
from tests.exported_marks import ALEXA, LINES, SNIPS_YAML, WIT, task
from tests.exports import labelled, put
from topology.errors import Misconfigured


def test_an_alexa_model_fills_its_slots_and_gives_the_values_of_their_types(tmp_path):
    place = put(tmp_path / "models/de-DE.json", b"\xef\xbb\xbf" + json.dumps(ALEXA).replace(", ", ",\r\n").encode())
    found = read([place])
    assert found.formats == ["alexa"] and found.languages == ("de-DE",) and not found.refused
    rows = labelled(found)
    assert rows[0] == ("who knows", "out_of_scope", [])
    assert rows[1] == ("dim the attic to 2", "Dim", [("attic", "room"), ("2", "share")])
    assert ("dim\u2019em all", "Dim", []) in rows
    assert found.synonyms["room"] == {"attic": ["loft", "top floor"], "hall": []}
    assert any("AMAZON.DATE" in note for note in found.notes) and any("slot's question" in note for note in found.notes)
    old = read([put(tmp_path / "old.json", ALEXA["interactionModel"]["languageModel"])])
    assert labelled(old) == rows


def cx(folder):
    part = {"text": "loft", "parameterId": "where", "auto": True}
    put(folder / "agent.json", {"displayName": "Lamps", "defaultLanguageCode": "en", "startFlow": "Default"})
    put(folder / "intents/Lamp on/Lamp on.json", {"name": "1", "displayName": "Lamp on", "priority": 500000,
        "parameters": [{"id": "where", "entityType": "@room"}, {"id": "n", "entityType": "@sys.number"}]})
    put(folder / "intents/Lamp on/trainingPhrases/en.json", {"trainingPhrases": [
        {"id": "a", "parts": [{"text": "😀 lamp in the ", "auto": True}, part, {"text": " or "}, part,
                              {"text": " at "}, {"text": "2", "parameterId": "n"}], "repeatCount": 1,
         "languageCode": "en"}, {"id": "b", "parts": [{"text": "on"}], "repeatCount": 1}, {"id": "c"}]})
    put(folder / "intents/Lamp on/trainingPhrases/pt-br.json", {"trainingPhrases": [
        {"id": "a", "parts": [{"text": "acende"}], "languageCode": "pt-br"}]})
    put(folder / "intents/Default Negative Intent/Default Negative Intent.json",
        {"name": "2", "displayName": "Default Negative Intent", "isFallback": True})
    put(folder / "intents/Default Negative Intent/trainingPhrases/en.json",
        {"trainingPhrases": [{"id": "a", "parts": [{"text": "who are you"}], "languageCode": "en"}]})
    put(folder / "entityTypes/room/room.json", {"name": "3", "displayName": "room", "kind": "KIND_MAP"})
    put(folder / "entityTypes/room/entities/en.json", {"entities": [
        {"value": "attic", "synonyms": ["attic", "loft"], "languageCode": "en"},
        {"value": "@sys.any", "synonyms": []}]})
    put(folder / "entityTypes/code/code.json", {"name": "4", "displayName": "code", "kind": "KIND_REGEXP"})
    put(folder / "entityTypes/code/entities/en.json", {"entities": [{"value": "[0-9]+", "synonyms": ["[0-9]+"]}]})
    put(folder / "flows/Default Start Flow/Default Start Flow.json", {"name": "5", "displayName": "Default Start Flow",
                                                                     "transitionRoutes": [{"intent": "Lamp on"}]})
    return folder


def test_a_dialogflow_cx_package_is_read_zipped_or_unpacked(tmp_path):
    folder, archive = cx(tmp_path / "agent"), tmp_path / "agent.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for place in folder.rglob("*.json"):
            packed.write(place, place.relative_to(folder))
    found = read([archive])
    assert sorted(labelled(found)) == sorted([
        ("who are you", "out_of_scope", []), ("acende", "Lamp on", []), ("on", "Lamp on", []),
        ("😀 lamp in the loft or loft at 2", "Lamp on", [("loft", "where"), ("loft", "where"), ("2", "n")])])
    assert found.synonyms == {"where": {"attic": ["loft"]}} and found.languages == ("en", "pt-br")
    assert len(found.refused) == 1 and "parts" in found.refused[0].reason
    assert sorted(labelled(read([folder]))) == sorted(labelled(found))


def test_a_wit_backup_counts_utf_16_and_takes_what_has_no_intent_as_out_of_scope(tmp_path):
    put(tmp_path / "lamps/app.json", {"version": "20250101", "name": "lamps", "lang": "de", "private": True})
    put(tmp_path / "lamps/entities/room.json", {"name": "room", "lookups": ["keywords"], "roles": ["room"],
        "keywords": [{"keyword": "attic", "synonyms": ["attic", "loft"]}]})
    place = put(tmp_path / "lamps/utterances/utterances-1.json", WIT)
    found = read([tmp_path])
    assert labelled(found) == [
        ("👋 wake me at nine in Oslo", "alarm", [("at nine", "datetime"), ("Oslo", "location.to")]),
        ("lamp in the loft", "on", [("loft", "room")]), ("tell me a joke", "out_of_scope", [])]
    assert found.synonyms == {"room": {"attic": ["loft"]}} and found.languages == ("de",)
    assert [one.kind for one in found.refused] == ["offsets"]
    api = [{**one, "intent": {"id": "1", "name": one.get("intent")}, "entities": [
        {**e, "name": e["entity"].split(":")[0], "role": e["entity"].split(":")[1], "entity": ""}
        for e in one["entities"]]} for one in WIT["utterances"][:2]]
    assert labelled(read([put(tmp_path / "api.json", api)])) == labelled(read([place]))[:2]


def test_an_intent_that_is_called_test_is_no_split(tmp_path):
    says = [{"id": "1", "data": [{"text": "may I drive it", "userDefined": False}], "isTemplate": False}]
    put(tmp_path / "es/intents/Test Drive_usersays_en.json", says)
    phrases = {"trainingPhrases": [{"parts": [{"text": "is it valid"}], "languageCode": "en"}]}
    put(tmp_path / "cx/intents/claim.validation/trainingPhrases/en.json", phrases)
    put(tmp_path / "lex/Test/Intents/Dev/Intent.json", {"name": "Dev", "sampleUtterances": [{"utterance": "dev"}]})
    put(tmp_path / "alexa/test/en-US.json", ALEXA)
    put(tmp_path / "wit/test/utterances/utterances-1.json", WIT)
    found = read([tmp_path])
    assert found.splits == ("train",) and len(found.formats) == 5


def test_old_wit_expressions_have_their_intent_among_the_entities(tmp_path):
    found = read([put(tmp_path / "expressions.json", {"data": [{"text": "lamp in the loft", "entities": [
        {"entity": "intent", "value": '"on"'}, {"entity": "room", "value": '"attic"', "start": 12, "end": 16}]}]})])
    assert labelled(found) == [("lamp in the loft", "on", [("loft", "room")])]
    assert found.synonyms == {"room": {"attic": ["loft"]}}


def test_label_studio_counts_as_browsers_do_and_takes_the_choice_as_the_intent(tmp_path):
    mark = {"start": 12, "end": 16, "text": "hall", "labels": ["room"]}
    tasks = [task("😀 put in a hall", mark, {"choices": ["on"]}), task("off", {"choices": ["off"]}),
             task("both", {"choices": ["on", "off"]}), task("none", mark), {"id": 3, "data": {"text": "x"},
                                                                          "annotations": []}]
    found = read([put(tmp_path / "project.json", tasks)])
    assert labelled(found) == [("😀 put in a hall", "on", [("hall", "room")]), ("off", "off", [])]
    assert ["2" in found.refused[0].reason, found.refused[1].kind] == [True, "offsets"]
    small = [{"text": "😀 put in a hall", "id": 1, "mark": [mark], "intent": "on", "annotator": 1, "annotation_id": 2,
              "lead_time": 3.5}]
    assert labelled(read([put(tmp_path / "min.json", small)])) == labelled(found)[:1]


@pytest.mark.parametrize("name", LINES)
def test_annotation_tools_give_spans_and_one_intent(tmp_path, name):
    body = "\r\n".join(map(json.dumps, LINES[name])) if name != "spacy" else {"classes": [], "annotations": LINES[name]}
    found = read([put(tmp_path / "a.jsonl", body)])
    assert found.formats == [name]
    assert labelled(found) == [("😀 in the hall", "on", [("hall", "room")]), ("in", "off", [])]
    assert len(found.refused) == 1 and "one intent is wanted, not 2: o" in found.refused[0].reason


@pytest.mark.parametrize("row", [
    {"id": 1, "text": "a hall", "label": [[2, 6, "room"]]}, {"id": 1, "data": "a hall", "label": [[2, 6, "room"]]},
    {"id": 1, "text": "a hall", "entities": [{"id": 7, "label": "room", "start_offset": 2, "end_offset": 6}],
     "relations": [], "Comments": []},
    {"text": "a hall", "spans": [{"start": 2, "end": 6, "label": "room"}], "answer": "accept"},
])
def test_spans_without_an_intent_take_the_one_that_is_typed(tmp_path, row):
    place = put(tmp_path / "a.jsonl", f"{json.dumps(row)}\n" * 2)
    assert labelled(read([place], Options(intent="on"))) == [("a hall", "on", [("hall", "room")])] * 2
    assert labelled(read([place])) == [("a hall", "unlabelled", [("hall", "room")])] * 2


def test_snips_yaml_puts_the_slot_before_the_words(tmp_path):
    found = read([put(tmp_path / "dataset.yaml", SNIPS_YAML)])
    assert labelled(found) == [("lamp in the loft", "on", [("loft", "where")]),
                            ("lamp: hall and two", "on", [("hall", "where"), ("two", "n")])]
    assert found.synonyms == {"where": {"attic": ["loft", "top floor"], "hall": []}} and len(found.refused) == 1


def workbook(place):
    with zipfile.ZipFile(place, "w") as packed:
        packed.writestr("xl/workbook.xml", "<workbook/>")
    return place.read_bytes()


@pytest.mark.parametrize("name,body,told", [
    ("a.xlsx", workbook, "an Excel workbook: save its sheet as CSV UTF-8"), ("a.xls", b"\xd0\xcf\x11\xe0rest", "Excel"),
    ("train.spacy", b"x\x9cabc", "DocBin"), ("a.pkl", b"\x80\x04\x95", "pickle"), ("a.xml", "<tmx><tu/></tmx>", "XML"),
    ("domain.yml", "intents:\n- on\n", "Rasa domain"), ("sentences.ini", "[On]\nlamp (on | up)\n", "Rhasspy"),
    ("chat.jsonl", '{"messages": [{"role": "user", "content": "hi"}]}\n', "chat messages"),
    ("a.chatito", "%[on]\n    ~[lamp] on\n", "Chatito"), ("a.ann", "T1\troom 0 4\thall\n", "brat"),
])
def test_what_is_known_and_not_read_is_named_with_what_to_do(tmp_path, capsys, name, body, told):
    place = tmp_path / name
    put(place, body(place) if callable(body) else body)
    with pytest.raises(Misconfigured, match=f"{name}: not read here: .*{told}"):
        read([place])
    assert main(["data", "convert", str(place)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
