"""Bots as Lex, LUIS and Rasa export them, written by hand after their public documentation."""

import zipfile

import pytest

from infra.training.formats.registry import read
from tests.exports import labelled, put

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


def test_a_lex_bot_of_v1_fills_its_slots_with_values_and_says_which_have_none(tmp_path):
    found = read([put(tmp_path / "Flowers.json", LEX_V1)])
    assert found.formats == ["lex"] and found.languages == ("de-DE",) and not found.refused
    rows = labelled(found)
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
    assert labelled(found) == [*(("book a " + said + " room", "Book", [(said, "Room")])
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
    assert labelled(found) == [
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
    assert labelled(found) == [("a large coffee to NYC", "order", [("large", "size"), ("NYC", "city")]),
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
    assert labelled(found) == [("in Rome", "stay", [("Rome", "city")])]
    assert [(one.place, "folds" in one.reason) for one in found.refused] == [(f"{tmp_path}/nlu.yml:4", True)]
    assert any("several labels" in note for note in found.notes)
