"""What tools call lists and synonyms: which spans they give, and which value a prediction gets."""

import json

import numpy as np
import pytest

from head_worker.engine import Span, TokenVectors, resolved
from infra.training.formats.registry import read
from tests.exports import labelled, put
from topology.heads import HeadManifest

LISTED = {
    "watson": {"language": "en", "entities": [
        {"entity": "account", "values": [{"type": "synonyms", "value": "savings", "synonyms": ["saving account"]},
                                         {"type": "patterns", "value": "id", "patterns": ["\\d+"]}]},
        {"entity": "unused", "values": [{"type": "synonyms", "value": "never said", "synonyms": []}]}],
        "intents": [{"intent": "show", "examples": [{"text": "Show my Saving  account, not savings2"},
                                                    {"text": "savings!"}, {"text": "all"}]}]},
    "luis": {"luis_schema_version": "7.0.0", "culture": "en-us", "closedLists": [
        {"name": "account", "subLists": [{"canonicalForm": "savings", "list": ["saving account"]}]},
        {"name": "unused", "subLists": [{"canonicalForm": "never said", "list": []}]}],
        "utterances": [{"text": text, "intent": "show", "entities": []}
                       for text in ("Show my Saving  account, not savings2", "savings!", "all")]},
    "lu": "# show\n- Show my Saving  account, not savings2\n- savings!\n- all\n@ list account =\n- savings :\n"
          "\t- saving account\n@ list unused =\n- never said :\n",
}


@pytest.mark.parametrize("name", LISTED)
def test_entities_that_are_known_by_lists_alone_get_the_spans_that_their_tool_would_find(tmp_path, name):
    found = read([put(tmp_path / f"a.{name}", LISTED[name])])
    assert labelled(found) == [("Show my Saving  account, not savings2", "show", [("Saving  account", "account")]),
                            ("savings!", "show", [("savings", "account")]), ("all", "show", [])]
    assert found.notes["spans of account, which the list of its values gave"] == 2
    assert found.notes["labels with values but no span in any row, which no head will find (unused)"] == 1


def test_spans_that_people_marked_are_not_added_to_by_a_list(tmp_path):
    body = json.loads(json.dumps(LISTED["watson"]))
    body["intents"][0]["examples"][1]["mentions"] = [{"entity": "account", "location": [0, 7]}]
    found = read([put(tmp_path / "skill.json", body)])
    assert [row[2] for row in labelled(found)] == [[], [("savings", "account")], []]


def test_a_dialogflow_intent_in_a_context_is_told(tmp_path):
    put(tmp_path / "intents/yes.json", {"name": "yes", "contexts": ["asked"], "fallbackIntent": False})
    put(tmp_path / "intents/yes_usersays_en.json", [{"id": "1", "data": [{"text": "sure", "userDefined": False}]}])
    found = read([tmp_path])
    assert labelled(found) == [("sure", "yes", [])] and any("context" in note for note in found.notes)


MEANT = {  # lofts and attics, as each tool writes that they are one
    "nlu.yml": "nlu:\n- intent: on\n  examples: |\n    - lamp in the [loft](room)\n"
               "    - lamp in the [attic]{\"entity\": \"room\"}\n"
               "- synonym: attic\n  examples: |\n    - loft\n",
    "rasa.json": {"rasa_nlu_data": {"common_examples": [
        {"text": "lamp in the loft", "intent": "on", "entities": [
            {"start": 12, "end": 16, "value": "attic", "entity": "room"}]}], "entity_synonyms": []}},
    "snips.json": {"language": "en", "intents": {"on": {"utterances": [{"data": [
        {"text": "lamp in the "}, {"text": "loft", "entity": "rooms", "slot_name": "room"}]}]}},
        "entities": {"rooms": {"automatically_extensible": True, "use_synonyms": True, "matching_strictness": 1.0,
                               "data": [{"value": "attic", "synonyms": ["loft"]}]}}},
    "luis.json": {"luis_schema_version": "6.0.0", "utterances": [{"text": "lamp in the loft", "intent": "on",
                                                                  "entities": []}],
                  "closedLists": [{"name": "room", "subLists": [{"canonicalForm": "attic", "list": ["loft"]}]}]},
    "rooms.lu": "# on\n- lamp in the loft\n@ list room =\n\t- attic :\n\t\t- loft\n",
    "clu.json": {"metadata": {"language": "en"}, "assets": {
        "utterances": [{"text": "lamp in the loft", "intent": "on", "entities": []}],
        "entities": [{"category": "room", "list": {"sublists": [
            {"listKey": "attic", "synonyms": [{"language": "en", "values": ["loft"]}]}]}}]}},
    "skill.json": {"intents": [{"intent": "on", "examples": [{"text": "lamp in the loft"}]}],
                   "entities": [{"entity": "room", "values": [
                       {"type": "synonyms", "value": "attic", "synonyms": ["loft"]}]}]},
    "lex.json": {"resource": {"name": "bot", "intents": [
        {"name": "on", "sampleUtterances": ["lamp in the {room}"], "slots": [{"name": "room", "slotType": "rooms"}]}],
        "slotTypes": [{"name": "rooms", "enumerationValues": [{"value": "attic", "synonyms": ["loft"]}]}]}},
    "ours.jsonl": '{"text": "lamp in the loft", "intent": "on", "entities": '
                  '[{"start": 12, "end": 16, "label": "room", "value": "attic"}]}',
    "entities/rooms_entries_en.json": [{"value": "attic", "synonyms": ["attic", "loft"]}],
}


@pytest.mark.parametrize("name", MEANT)
def test_what_a_tool_calls_a_synonym_is_the_value_that_a_prediction_gives(tmp_path, name):
    put(tmp_path / name, MEANT[name])
    if name.startswith("entities"):
        put(tmp_path / "intents/on_usersays_en.json", [{"data": [
            {"text": "lamp in the "}, {"text": "loft", "alias": "room", "meta": "@rooms", "userDefined": True}]}])
    found = read([tmp_path])
    manifest = HeadManifest("acme", "en", "v1", "s", 8, ("on",), ("O", "B-room", "I-room"), "x",
                            synonyms=found.synonyms)
    spans = [(row.example.text, one) for row in found.rows for one in row.example.entities]
    assert "loft" in {text[one.start : one.end] for text, one in spans}
    for text, one in spans:
        span = Span(one.start, one.end, one.label, text[one.start : one.end].upper(), 0.9)
        assert resolved((span,), TokenVectors(text, *[np.zeros((0, 2), np.int8)] * 3), manifest)[0].value == "attic"
