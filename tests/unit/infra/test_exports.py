"""Files as other tools export them, written by hand after their public documentation: what is read and told."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from head_worker.engine import Span, TokenVectors, resolved
from infra.training.formats.found import Options
from infra.training.formats.registry import read
from topology.errors import Misconfigured
from topology.heads import HeadManifest

LEX_V1 = {
    "metadata": {"schemaVersion": "1.0", "importType": "LEX", "importFormat": "JSON"},
    "resource": {
        "name": "Flowers", "version": "1", "locale": "de-DE", "childDirected": False, "voiceId": "0",
        "intents": [
            {"name": "Order", "version": "2", "fulfillmentActivity": {"type": "ReturnIntent"},
             "sampleUtterances": ["flowers please", "{Count} {FlowerKind} for {When}", "send {FlowerKind}"],
             "slots": [{"name": "FlowerKind", "slotType": "FlowerTypes", "slotTypeVersion": "1", "priority": 1,
                        "slotConstraint": "Required", "sampleUtterances": ["I want {FlowerKind}"]},
                       {"name": "Count", "slotType": "AMAZON.NUMBER"}, {"name": "When", "slotType": "AMAZON.DATE"}]},
            {"name": "Help", "parentIntentSignature": "AMAZON.HelpIntent", "sampleUtterances": [], "slots": []},
        ],
        "slotTypes": [{"name": "FlowerTypes", "version": "1", "valueSelectionStrategy": "TOP_RESOLUTION",
                       "enumerationValues": [{"value": "roses", "synonyms": ["red ones"]},
                                             {"value": "tulips", "synonyms": []}]}],
    },
}
LEX_V2 = {
    "Manifest.json": {"metaData": {"schemaVersion": "1", "resourceType": "BOT", "fileFormat": "LexJson"}},
    "Hotel/Bot.json": {"name": "Hotel", "dataPrivacy": {"childDirected": False}, "idleSessionTTLInSeconds": 300},
    "Hotel/BotLocales/en_US/BotLocale.json": {"name": "English (US)", "nluConfidenceThreshold": 0.4},
    "Hotel/BotLocales/en_US/Intents/Book/Intent.json": {
        "name": "Book", "identifier": "ABC", "parentIntentSignature": None, "slotPriorities": [{"slotName": "Room"}],
        "sampleUtterances": [{"utterance": "book a {Room} room"}, {"utterance": "I need a bed"}]},
    "Hotel/BotLocales/en_US/Intents/Book/Slots/Room/Slot.json": {
        "name": "Room", "identifier": "XYZ", "slotTypeName": "RoomKind", "valueElicitationSetting": {}},
    "Hotel/BotLocales/en_US/Intents/FallbackIntent/Intent.json": {
        "name": "FallbackIntent", "parentIntentSignature": "AMAZON.FallbackIntent", "sampleUtterances": None},
    "Hotel/BotLocales/en_US/SlotTypes/RoomKind/SlotType.json": {
        "name": "RoomKind", "slotTypeValues": [
            {"sampleValue": {"value": "double"}, "synonyms": [{"value": "two bed"}]},
            {"sampleValue": {"value": "single"}, "synonyms": None}]},
}
LU = """\
> !# @app.name = pizza
> !# @app.culture = en-us

> # Intent definitions

## Order
- can i get {@Order={@Size=small} pizza with {@Topping=extra cheese}} please
- to {@Place:to=New York} from {@Place:from=Rome}
- one \\{ brace
- who takes {@Size}[?]
- broken {@Size=small

# None
- penguins in the ocean
* and seals

@ ml Order
    - @ ml Size usesFeature SizeDescriptor
@ intent Order usesFeature SizeDescriptor
@ phraselist SizeDescriptor(interchangeable) =
\t- small,large
@ list Topping hasRoles add, remove =
\t- cheese :
\t\t- extra cheese
\t\t- mozzarella
\t- ham:
\t\t- bacon
$ Drink : cola =
- coke
"""
RASA_MD = """\
<!-- a comment
- over lines -->
## intent:order
- a [large](size) coffee to [NYC](city:New York)
* and [Boston]{"entity": "city"} too

## synonym:Massachusetts
- Boston
## lookup:size
- small
- tiny
## regex:zip
- \\d{5}
## something else
- not read
"""


def put(place: Path, body: object) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, indent=1), "utf-8")
    return place


def taken(found):
    """(text, intent, [(what is said, label)]) of every row."""
    return [(row.example.text, row.example.intent,
             [(row.example.text[e.start : e.end], e.label) for e in row.example.entities]) for row in found.rows]


def test_a_lex_bot_of_v1_fills_its_slots_with_values_and_says_which_have_none(tmp_path):
    found = read([put(tmp_path / "Flowers.json", LEX_V1)])
    assert found.formats == ["lex"] and found.languages == ("de-DE",) and not found.refused
    rows = taken(found)
    assert rows[0] == ("flowers please", "Order", [])
    assert rows[1] == ("2 roses for when", "Order", [("2", "Count"), ("roses", "FlowerKind"), ("when", "When")])
    assert [row[2] for row in rows[6:]] == [[(said, "FlowerKind")] for said in ("tulips", "roses", "red ones")]
    assert found.synonyms == {"FlowerKind": {"roses": ["red ones"], "tulips": []}}
    assert any("slot's question" in note for note in found.notes)
    assert [kind for kind in ("AMAZON.DATE", "AMAZON.NUMBER") if any(kind in note for note in found.notes)] == [
        "AMAZON.DATE"]


@pytest.mark.parametrize("packed", [True, False])
def test_a_lex_bot_of_v2_is_read_zipped_or_unpacked(tmp_path, packed):
    folder = tmp_path / "export"
    for name, body in LEX_V2.items():
        put(folder / name, body)
    place = folder
    if packed:
        place = tmp_path / "Hotel-DRAFT.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for name in LEX_V2:
                archive.write(folder / name, name)
    found = read([place])
    assert found.languages == ("en-US",) and not found.refused
    assert taken(found) == [*(("book a " + said + " room", "Book", [(said, "Room")])
                              for said in ("double", "two bed", "single")), ("I need a bed", "Book", [])]
    assert found.synonyms == {"Room": {"double": ["two bed"], "single": []}}
    assert not any("left out" in note for note in found.notes)


def test_single_files_of_a_lex_bot_are_read_too(tmp_path):
    put(tmp_path / "intents/Order.json", LEX_V1["resource"]["intents"][0])
    put(tmp_path / "slots/FlowerTypes.json", LEX_V1["resource"]["slotTypes"][0])
    put(tmp_path / "bots/Flowers.json", {"name": "Flowers", "intents": [{"intentName": "Order"}], "voiceId": "Joanna"})
    assert len(read([tmp_path]).rows) == len(read([put(tmp_path / "whole.json", LEX_V1)]).rows)


def test_lu_files_give_nested_entities_roles_lists_and_none(tmp_path):
    found = read([put(tmp_path / "pizza.lu", LU)])
    assert found.languages == ("en-us",)
    assert taken(found) == [
        ("can i get small pizza with extra cheese please", "Order", [("small", "Size"), ("extra cheese", "Topping")]),
        ("to New York from Rome", "Order", [("New York", "Place.to"), ("Rome", "Place.from")]),
        ("one { brace", "Order", []),
        ("penguins in the ocean", "out_of_scope", []), ("and seals", "out_of_scope", []),
    ]
    assert [one.place for one in found.refused] == [f"{tmp_path}/pizza.lu:11"]
    assert found.synonyms == {"Topping": {"cheese": ["extra cheese", "mozzarella"], "ham": ["bacon"]},
                              "Drink": {"cola": ["coke"]}}
    assert found.notes["patterns that are not used here"] == 1


def test_rasas_first_markdown_is_read(tmp_path):
    found = read([put(tmp_path / "nlu.md", RASA_MD)])
    assert taken(found) == [("a large coffee to NYC", "order", [("large", "size"), ("NYC", "city")]),
                            ("and Boston too", "order", [("Boston", "city")])]
    assert found.synonyms == {"city": {"New York": ["NYC"], "Massachusetts": ["Boston"]},
                              "size": {"small": [], "tiny": []}}


def test_a_synonym_of_rasa_holds_in_every_role_and_wins_over_a_lookup(tmp_path):
    found = read([put(tmp_path / "nlu.yml", """
nlu:
- lookup: city
  examples: |
    - NYC
    - Rome
- intent: fly
  examples: |
    - from [NYC]{"entity": "city", "role": "from", "value": "New York"} to [Rome]{"entity": "city", "role": "to"}
    - two [large]{"entity": "size", "group": "1"} ones
""")])
    assert found.synonyms == {role: {"New York": ["NYC"], "Rome": []} for role in ("city.from", "city.to")}
    assert any("grouped" in note for note in found.notes)


def test_examples_of_rasa_that_yaml_folds_into_one_line_are_refused_and_further_labels_are_told(tmp_path):
    found = read([put(tmp_path / "nlu.yml", """
nlu:
- intent: fly
  examples: >
    - to Rome
    - to Oslo
- intent: stay
  examples: |
    - in [Rome][{"entity": "city"}, {"entity": "place"}]
""")])
    assert taken(found) == [("in Rome", "stay", [("Rome", "city")])]
    assert [(one.place, "folds" in one.reason) for one in found.refused] == [(f"{tmp_path}/nlu.yml:4", True)]
    assert any("several labels" in note for note in found.notes)


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
    assert taken(found) == [("Show my Saving  account, not savings2", "show", [("Saving  account", "account")]),
                            ("savings!", "show", [("savings", "account")]), ("all", "show", [])]
    assert found.notes["spans of account, which the list of its values gave"] == 2
    assert found.notes["labels with values but no span in any row, which no head will find (unused)"] == 1


def test_spans_that_people_marked_are_not_added_to_by_a_list(tmp_path):
    body = json.loads(json.dumps(LISTED["watson"]))
    body["intents"][0]["examples"][1]["mentions"] = [{"entity": "account", "location": [0, 7]}]
    found = read([put(tmp_path / "skill.json", body)])
    assert [row[2] for row in taken(found)] == [[], [("savings", "account")], []]


def test_a_dialogflow_intent_in_a_context_is_told(tmp_path):
    put(tmp_path / "intents/yes.json", {"name": "yes", "contexts": ["asked"], "fallbackIntent": False})
    put(tmp_path / "intents/yes_usersays_en.json", [{"id": "1", "data": [{"text": "sure", "userDefined": False}]}])
    found = read([tmp_path])
    assert taken(found) == [("sure", "yes", [])] and any("context" in note for note in found.notes)


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


COLUMNS = "text,label\nlamp on,1\nlamp off,0\n"
FEATURES = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["off", "on"], "_type": "ClassLabel"}}


def test_numbers_in_a_csv_get_their_names_from_what_stands_beside_or_are_told(tmp_path):
    found = read([put(tmp_path / "a/train.csv", COLUMNS)])
    assert found.notes["rows whose intent is a number; --names FILE says what it means"] == 2
    named = read([put(tmp_path / "a/train.csv", COLUMNS)], Options(names={"": ["off", "on"]}))
    put(tmp_path / "b/dataset_infos.json", {"default": {"features": FEATURES}})
    beside = read([put(tmp_path / "b/train.csv", COLUMNS)])
    assert taken(named) == taken(beside) == [("lamp on", "on", []), ("lamp off", "off", [])]


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
    assert taken(found) == [("lamp on", "on", []), ("lamp off", "off", [])] and found.splits == ("test",)


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
    assert taken(read([place], Options(names={"": ["off", "on"]}))) == [wanted]
    with pytest.raises(Misconfigured, match=r"rows\.jsonl:1: .* is a number"):
        read([place])


@pytest.mark.parametrize("name", ["a.bio", "a.txt"])
def test_a_tag_may_stand_before_its_word(tmp_path, name):
    body = "O\ta\nB-Rating\tfive\nI-Rating\tstar\nO\tdiner\n\nO\tyes\n"
    assert taken(read([put(tmp_path / name, body)], Options(intent="find"))) == [
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
    assert taken(found) == [("turn it on", "on", []), ("the attic, please", "on", [("attic", "room")]),
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
    assert [row[1] for row in taken(found)] == ["Solde", "fallback_connect_to_agent", "out_of_scope"]
