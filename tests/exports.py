"""Files of training data as tools export them, and what the tests of the formats read out of them.

Lines of Snips (CC0 1.0, Coucke et al., 2018) and CLINC150 (CC BY 3.0, Larson et al., 2019) are as published; those of
other formats are written for these tests in the shapes that the tools export.
"""

import json
from pathlib import Path

RASA = """\
version: "3.1"
nlu:
- intent: light_on
  examples: |
    - turn on the [kitchen](room) lamp
    - lamp in [NYC]{"entity": "city", "value": "New York"}
    - from [Oslo]{"entity": "city", "role": "from"} to [a {b}]{"entity": "city", "role": "to", "value": "x } y"}
    - broken [LA]{"entity: }
    no dash before it
    - apart [kitchen] (room)
    - see [1][2] (or ask)
- intent: yes
  examples:
  - text: |
      yes
  - text: no [hall](room:corridor)
    metadata: {a: b}
- synonym: New York
  examples: |
    - big apple
- synonym: nobody says it
  examples: |
    - never said
- lookup: room
  examples: |
    - attic
    - hall
- regex: zip
  examples: |
    - \\d{5}
responses:
  utter_hi:
  - text: hi
"""
SNIPS = b"""{"PlayMusic": [
{"data": [{"text": "I want toi hear some "},
 {"text": "Pop Punk Perfection \xed\xa0\xbc\xed\xbd\x95", "entity": "playlist"},
 {"text": " off of "}, {"text": "Deezer", "entity": "service"}]},
{"data": [{"text": "play"}, {"txt": "no text"}]}
]}"""
CLINC = {
    "oos_val": [["a show on broadway", "oos"]],
    "val": [["in french, how do i say, see you later", "translate"]],
    "train": [["what expression would i use to say i love you if i were an italian", "translate"],
              ["of", "three", "parts"]],
    "oos_train": [["how much is an overdraft fee for bank", "oos"]],
    "test": [["how would you say fly in italian", "translate"]],
}
MASSIVE = "\n".join(
    json.dumps({"locale": locale, "partition": part, "intent": "alarm_set", "utt": said, "annot_utt": marked})
    for locale, part, said, marked in (
        ("de-DE", "train", "weck mich um neun", "weck mich um [time : neun]"),
        ("zh-CN", "dev", "这周五点叫我起床", "[date : 这周] [time : 五点] 叫我起床"),
        ("de-DE", "test", "um 5:30 uhr", "um [time : 5:30 uhr]"),
        ("de-DE", "test", "ganz anders", "um [time : fünf]"),
        ("de-DE", "test", "um fünf", "um [time fünf]"),
    )
)
LUIS = {
    "luis_schema_version": "7.0.0", "culture": "en-us", "patterns": [{"pattern": "a {b}", "intent": "on"}],
    "closedLists": [{"name": "room", "subLists": [{"canonicalForm": "hall", "list": ["corridor", "entry"]}]}],
    "utterances": [
        {"text": "hall off", "intent": "off", "entities": [{"entity": "room", "startPos": 0, "endPos": 3}]},
        {"text": "😀 hall on", "intent": "on",
         "entities": [{"entity": "room", "role": "main", "startPos": 3, "endPos": 6}]},
        {"text": "😀 hall on", "intent": "on", "entities": [{"entity": "room", "startPos": 2, "endPos": 5}]},
        {"text": "who is it", "intent": "None", "entities": []},
        {"text": "two red lamps", "intent": "on", "entities": [
            {"entity": "order", "startPos": 0, "endPos": 12, "children": [
                {"entity": "count", "startPos": 0, "endPos": 2}, {"entity": "thing", "startPos": 8, "endPos": 12}]}]},
        {"text": "short", "intent": "on", "entities": [{"entity": "room", "startPos": 3, "endPos": 9}]},
    ],
}
USERSAYS = [
    {"id": "1", "isTemplate": False, "data": [
        {"text": "lamp in the "}, {"text": "attic", "alias": "where", "meta": "@room", "userDefined": True},
        {"text": " at "}, {"text": "nine", "alias": "time", "meta": "@sys.time"}]},
    {"id": "2", "data": [{"text": "@room:where lamp"}], "isTemplate": True},
    {"id": "3", "data": [{"text": "just "}, {"text": "this", "meta": "@sys.ignore"}]},
]
CONLL = """\
# id = 1
# text = Regnet's heute?
# intent = weather/find
1\tRegnet\tweather/find\tB-attribute
2\t's\tweather/find\tO
3\theute\tweather/find\tB-datetime
5\t?\tweather/find\tI-datetime

# text = other words
# intent = weather/find
1\tthese\tweather/find\tO
2\tones\tweather/find\tB-x
"""
VIEWER = {
    "features": [
        {"feature_idx": 0, "name": "text", "type": {"dtype": "string", "_type": "Value"}},
        {"feature_idx": 1, "name": "label", "type": {"names": ["greet", "oos"], "_type": "ClassLabel"}},
    ],
    "rows": [
        {"row_idx": 0, "row": {"text": "hello", "label": 0}, "truncated_cells": []},
        {"row_idx": 1, "row": {"text": "who painted it", "label": 1}, "truncated_cells": []},
        {"row_idx": 2, "row": {"text": "cut sh", "label": 0}, "truncated_cells": ["text"]},
        {"row_idx": 3, "row": {"text": "no such", "label": 7}, "truncated_cells": []},
    ],
    "num_rows_total": 4,
}

OLD_RASA = {"rasa_nlu_data": {
    "common_examples": [{"text": "in NYC", "intent": "go", "entities": [
        {"start": 3, "end": 6, "value": "New York", "entity": "city"}]},
        {"text": "bad", "entities": [{"start": 0}]}],
    "entity_synonyms": [{"value": "New York", "synonyms": ["big apple"]}],
    "lookup_tables": [{"name": "city", "elements": ["Oslo"]}], "regex_features": [{"name": "a", "pattern": "b"}]}}
ASSISTANT = {"language": "fr", "intents": {"on": {"utterances": [
    {"data": [{"text": "dans la "}, {"text": "chambre", "entity": "room", "slot_name": "where"}]}]}},
    "entities": {"room": {"data": [{"value": "chambre", "synonyms": ["piaule"]}]}}}
CLU = {"stringIndexType": "Utf16CodeUnit", "metadata": {"language": "en-us"}, "assets": {
    "entities": [{"category": "room", "list": {"sublists": [
        {"listKey": "hall", "synonyms": [{"language": "en-us", "values": ["corridor"]}]}]}}],
    "utterances": [
        {"text": "😀 hall on", "intent": "on", "dataset": "Train",
         "entities": [{"category": "room", "offset": 3, "length": 4}]},
        {"text": "who", "intent": "None", "dataset": "Test", "language": "de"}, {"intent": "on"}]}}
WATSON = {"language": "en", "intents": [{"intent": "buy", "examples": [
    {"text": "a mac please", "mentions": [{"entity": "brand", "location": [2, 5]}]}, {"text": "one of @brand"},
    {"text": "mail me@brand.example"}]}],
    "entities": [{"entity": "brand", "values": [{"type": "synonyms", "value": "Apple", "synonyms": ["mac"]}]}],
    "counterexamples": [{"text": "who are you"}]}
ROWS = '{"tokens":["lamp","in","hall"],"ner_tags":[0,0,1],"label":1}\n{"tokens":["lamp"],"ner_tags":[0],"label":0}\n'
INFO = {"features": {"label": {"names": ["off", "on"], "_type": "ClassLabel"}, "ner_tags": {
    "feature": {"names": ["O", "B-room"], "_type": "ClassLabel"}, "_type": "Sequence"}}}
CARD = """\
---
dataset_info:
  features:
  - name: tokens
    sequence: string
  - name: ner_tags
    sequence:
      class_label:
        names:
          '0': O
          '1': B-room
  - name: label
    dtype:
      class_label:
        names:
          '0': 'off'
          '1': 'on'
---
# A set
"""


def put(place: Path, body: object) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    text = body if isinstance(body, str | bytes) else json.dumps(body, ensure_ascii=False, indent=1)
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return place


def taken(found):
    """(text, intent, [(what is said, label)], split, language) of every row."""
    return [(row.example.text, row.example.intent,
             [(row.example.text[e.start : e.end], e.label) for e in row.example.entities], row.split, row.language)
            for row in found.rows]


def lines_refused(found):
    return [int(one.place.rpartition(":")[2].partition(",")[0]) for one in found.refused]


def labelled(found):
    """(text, intent, [(what is said, label)]) of every row."""
    return [row[:3] for row in taken(found)]
