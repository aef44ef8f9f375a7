"""Files that people bring: every format gives the right texts, places, splits and words, and names each bad row.

Lines of Snips (CC0 1.0, Coucke et al., 2018) and CLINC150 (CC BY 3.0, Larson et al., 2019) are as published; those of
other formats are written for these tests in the shapes that the tools export.
"""

import json
import zipfile
from pathlib import Path
from random import Random

import pytest

from infra.cli import data
from infra.training.checks import check
from infra.training.formats.found import Options
from infra.training.formats.huggingface import read_names
from infra.training.formats.registry import FORMATS, read, recognized
from infra.training.formats.source import sources_of
from topology.errors import Misconfigured

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


def test_rasas_marks_values_roles_synonyms_and_lookups_come_along(tmp_path):
    found = read([put(tmp_path / "nlu.yml", RASA)])
    assert taken(found) == [
        ("turn on the kitchen lamp", "light_on", [("kitchen", "room")], "train", ""),
        ("lamp in NYC", "light_on", [("NYC", "city")], "train", ""),
        ("from Oslo to a {b}", "light_on", [("Oslo", "city.from"), ("a {b}", "city.to")], "train", ""),
        ("see [1][2] (or ask)", "light_on", [], "train", ""),
        ("yes", "yes", [], "train", ""), ("no hall", "yes", [("hall", "room")], "train", ""),
    ]
    assert lines_refused(found) == [8, 9, 10]
    assert found.synonyms["city"]["New York"] == ["NYC", "big apple"]
    # hall stands in the lookup too, and means corridor.
    assert found.synonyms["room"] == {"corridor": ["hall"], "attic": [], "nobody says it": ["never said"]}
    assert any("zip" in note for note in found.notes)


def test_rasas_older_json_is_read_too(tmp_path):
    found = read([put(tmp_path / "nlu.json", OLD_RASA)])
    assert taken(found) == [("in NYC", "go", [("NYC", "city")], "train", "")] and len(found.refused) == 1
    assert found.synonyms == {"city": {"New York": ["NYC", "big apple"], "Oslo": []}}


def test_segments_of_snips_are_joined_as_they_stand_and_java_surrogate_pairs_are_read(tmp_path):
    put(tmp_path / "train_PlayMusic_full.json", SNIPS)
    put(tmp_path / "validate_PlayMusic.json", {"PlayMusic": [{"data": [{"text": "Cita Romántica "}]}]})
    found = read([tmp_path])
    assert taken(found) == [
        ("I want toi hear some Pop Punk Perfection 🍕 off of Deezer", "PlayMusic",
         [("Pop Punk Perfection 🍕", "playlist"), ("Deezer", "service")], "train", ""),
        ("Cita Romántica ", "PlayMusic", [], "test", ""),
    ]
    assert lines_refused(found) == [5] and "text" in found.refused[0].reason


def test_a_snips_assistants_values_become_synonyms_of_its_slots(tmp_path):
    found = read([put(tmp_path / "dataset.json", ASSISTANT)])
    assert taken(found) == [("dans la chambre", "on", [("chambre", "where")], "train", "fr")]
    assert found.synonyms == {"where": {"chambre": ["piaule"]}}


def test_clincs_splits_stay_apart_and_oos_is_out_of_scope(tmp_path):
    found = read([put(tmp_path / "data_full.json", CLINC)])
    assert [(row.split, row.example.intent) for row in found.rows] == [
        ("dev", "out_of_scope"), ("dev", "translate"), ("train", "translate"), ("train", "out_of_scope"),
        ("test", "translate")]
    assert len(found.refused) == 1 and "train 2" in found.refused[0].place


def test_massives_spans_stand_in_utt_whatever_blanks_annot_utt_has(tmp_path):
    found = read([put(tmp_path / "all.jsonl", MASSIVE)])
    assert taken(found) == [
        ("weck mich um neun", "alarm_set", [("neun", "time")], "train", "de-DE"),
        ("这周五点叫我起床", "alarm_set", [("这周", "date"), ("五点", "time")], "dev", "zh-CN"),
        ("um 5:30 uhr", "alarm_set", [("5:30 uhr", "time")], "test", "de-DE"),
    ]
    assert lines_refused(found) == [4, 5]


def test_luis_ends_are_inclusive_and_count_utf_16_where_that_gives_whole_words(tmp_path):
    found = read([put(tmp_path / "home.json", LUIS)])
    assert taken(found) == [
        ("hall off", "off", [("hall", "room")], "train", "en-us"),
        ("😀 hall on", "on", [("hall", "room.main")], "train", "en-us"),
        ("😀 hall on", "on", [("hall", "room")], "train", "en-us"),
        ("who is it", "out_of_scope", [], "train", "en-us"),
        ("two red lamps", "on", [("two", "count"), ("lamps", "thing")], "train", "en-us"),
    ]
    assert found.synonyms == {"room": {"hall": ["corridor", "entry"]}}
    assert len(found.refused) == 1 and "utterances 6" in found.refused[0].place


def test_luis_utterances_may_stand_in_lines_or_a_list(tmp_path):
    rows = LUIS["utterances"][:2]
    tests = read([put(tmp_path / "c.json", {"LabeledTestSetUtterances": rows})])
    assert tests.formats == ["luis"] and len(tests.rows) == 2
    lines = read([put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))])
    batch = read([put(tmp_path / "b.json", rows)])
    assert lines.formats == batch.formats == ["luis"] and taken(lines) == taken(batch)
    assert len(lines.rows) == 2


def test_a_clu_project_gives_offsets_lengths_lists_and_splits(tmp_path):
    found = read([put(tmp_path / "project.json", CLU)])
    assert taken(found) == [("😀 hall on", "on", [("hall", "room")], "train", "en-us"),
                            ("who", "out_of_scope", [], "test", "de")]
    assert found.synonyms == {"room": {"hall": ["corridor"]}} and len(found.refused) == 1


def test_a_watson_skill_gives_mentions_counterexamples_and_values(tmp_path):
    found = read([put(tmp_path / "skill.json", WATSON)])
    assert taken(found) == [("a mac please", "buy", [("mac", "brand")], "train", "en"),
                            ("one of Apple", "buy", [("Apple", "brand")], "train", "en"),
                            ("one of mac", "buy", [("mac", "brand")], "train", "en"),
                            ("mail me@brand.example", "buy", [], "train", "en"),
                            ("who are you", "out_of_scope", [], "train", "en")]
    assert found.synonyms == {"brand": {"Apple": ["mac"]}} and not found.refused


def export(folder):
    put(folder / "agent.json", {"language": "en", "supportedLanguages": ["de"]})
    put(folder / "package.json", {"version": "1.0.0"})
    put(folder / "intents/Lamp on.json", {"name": "Lamp: on", "fallbackIntent": False})
    put(folder / "intents/Lamp on_usersays_en.json", USERSAYS)
    put(folder / "intents/Lamp on_usersays_de.json", [{"data": [{"text": "Licht an"}]}])
    put(folder / "intents/Nothing.json", {"name": "Nothing", "fallbackIntent": True})
    put(folder / "intents/Nothing_usersays_en.json", [{"data": [{"text": "who are you"}]}])
    put(folder / "entities/room.json", {"name": "room", "isOverridable": True, "isRegexp": False})
    put(folder / "entities/room_entries_en.json", [{"value": "attic", "synonyms": ["attic", "loft"]}])
    put(folder / "entities/code.json", {"name": "code", "isRegexp": True})
    put(folder / "entities/code_entries_en.json", [{"value": "[0-9]+", "synonyms": ["[0-9]+"]}])
    return folder


def test_a_dialogflow_export_gives_aliases_languages_fallbacks_and_entries(tmp_path):
    folder = export(tmp_path / "agent")
    archive = tmp_path / "agent.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for place in folder.rglob("*.json"):
            packed.write(place, place.relative_to(folder))
    found = read([folder])
    assert sorted(taken(found)) == sorted([
        ("Licht an", "Lamp: on", [], "train", "de"),
        ("lamp in the attic at nine", "Lamp: on", [("attic", "where"), ("nine", "time")], "train", "en"),
        ("attic lamp", "Lamp: on", [("attic", "where")], "train", "en"),
        ("loft lamp", "Lamp: on", [("loft", "where")], "train", "en"),
        ("just this", "Lamp: on", [], "train", "en"), ("who are you", "out_of_scope", [], "train", "en"),
    ])
    assert found.synonyms == {"where": {"attic": ["loft"]}} and not found.refused
    assert sorted(taken(read([archive]))) == sorted(taken(found))


def test_a_single_dialogflow_file_is_named_by_the_one_beside_it(tmp_path):
    folder = export(tmp_path / "agent")
    assert {row.example.intent for row in read([folder / "intents/Nothing_usersays_en.json"]).rows} == {"out_of_scope"}
    alone = taken(read([put(tmp_path / "Order_usersays_pt-BR.json", USERSAYS[:1])]))[0]
    assert (alone[1], alone[4]) == ("Order", "pt-BR")


def test_conll_takes_places_from_its_text_and_says_where_spacing_is_lost(tmp_path):
    found = read([put(tmp_path / "de.test.conll", CONLL), put(tmp_path / "en.valid.conll", "# text = a\na O\n")])
    assert taken(found) == [
        ("Regnet's heute?", "weather/find", [("Regnet", "attribute"), ("heute?", "datetime")], "test", "de"),
        ("these ones", "weather/find", [("ones", "x")], "test", "de"), ("a", "unlabelled", [], "dev", "en"),
    ]
    department = read([put(tmp_path / "hr.test.conll", CONLL)])
    assert {row.language for row in department.rows} == {""}
    plain = read([put(tmp_path / "bio.txt", "kitchen B-room\nlamp O\n\n今 B-t\n日 I-t\n")], Options(intent="order"))
    assert taken(plain) == [("kitchen lamp", "order", [("kitchen", "room")], "train", ""),
                            ("今日", "order", [("今日", "t")], "train", "")]
    assert sum(plain.notes.values()) == 4  # two without an intent, two without their spacing


@pytest.mark.parametrize("name,body", [
    ("train", "i:O fly:O to:O las:B-to.city vegas:I-to.city <=> atis_flight\n"),
    ("atis.txt", "BOS i fly to las vegas EOS\tO O O O B-to.city I-to.city atis_flight\n"),
    ("iobes.txt", "i O\nfly O\nto O\nlas B-to.city\nvegas E-to.city\n"),
    ("conll2003.txt", "-DOCSTART- -X- -X- O\n\ni PRP B-NP O\nfly V B-VP O\nto P O O\nlas N B-NP I-to.city\n"
     "vegas N I-NP I-to.city\n"),
])
def test_bio_files_of_other_forms_give_the_same_spans(tmp_path, name, body):
    found = read([put(tmp_path / name, body)])
    assert taken(found)[0][:3] in [("i fly to las vegas", intent, [("las vegas", "to.city")])
                                   for intent in ("atis_flight", "unlabelled")]


def test_three_files_in_step_are_one_set(tmp_path):
    for split in ("train", "test"):
        put(tmp_path / split / "seq.in", "to las vegas\nhello\n")
        put(tmp_path / split / "seq.out", "O B-city I-city\nO O\n")
        put(tmp_path / split / "label", "flight\ngreet\n")
    found = read([tmp_path])
    assert [(row[0], row[1], row[2], row[3]) for row in taken(found)] == [
        ("to las vegas", "flight", [("las vegas", "city")], split) for split in ("test", "train")]
    assert lines_refused(found) == [2, 2]  # a token, two tags


def test_the_viewers_rows_are_named_by_their_own_features(tmp_path):
    found = read([put(tmp_path / "rows.json", VIEWER)])
    assert [row[:2] for row in taken(found)] == [("hello", "greet"), ("who painted it", "out_of_scope")]
    assert len(found.refused) == 2 and "cut" in found.refused[0].reason and "7" in found.refused[1].reason


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


@pytest.mark.parametrize("name,body", [("dataset_info.json", INFO), ("README.md", CARD), ("", "")])
def test_numbers_of_hugging_face_rows_are_named_by_what_stands_beside_or_is_given(tmp_path, name, body):
    rows = put(tmp_path / "train.jsonl", ROWS)
    if name:
        put(tmp_path / name, body)
    options = Options() if name else Options(names={"label": ["off", "on"], "ner_tags": ["O", "B-room"]})
    for given in (rows, tmp_path):
        assert taken(read([given], options)) == [("lamp in hall", "on", [("hall", "room")], "train", ""),
                                                 ("lamp", "off", [], "train", "")]


@pytest.mark.parametrize("label,tags", [
    ("off\non\n", ["O", "B-room"]), (["off", "on"], {"0": "O", "1": "B-room"}), ({"on": 1, "off": 0}, "O\nB-room"),
    ({"label": {"0": "off", "1": "on"}, "ner_tags": ["O", "B-room"]}, None),
    ({"id2label": {"0": "off", "1": "on"}}, ["O", "B-room"]),
])
def test_names_are_taken_from_files_of_the_usual_shapes(tmp_path, label, tags):
    names = {}
    for name, body in (("a.txt", label), ("b.txt", tags)):
        names.update(read_names(put(tmp_path / "names" / name, body)) if body else {})
    found = read([put(tmp_path / "train.jsonl", ROWS)], Options(names=names))
    assert [row[1:3] for row in taken(found)] == [("on", [("hall", "room")]), ("off", [])]


def test_parquet_is_read_with_the_names_that_it_carries(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist([json.loads(line) for line in ROWS.splitlines()])
    about = {"huggingface": json.dumps({"info": INFO})}
    parquet.write_table(table.replace_schema_metadata(about), tmp_path / "test-00000-of-00001.parquet")
    assert taken(read([tmp_path])) == [
        ("lamp in hall", "on", [("hall", "room")], "test", ""), ("lamp", "off", [], "test", "")]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(Misconfigured, match="no Parquet"):
        read([tmp_path / "bad.parquet"])


def test_a_language_that_is_no_code_is_not_heeded(tmp_path):
    row = {"text": "hi", "intent": "out_of_scope/other", "language": "English"}
    assert read([put(tmp_path / "a.jsonl", json.dumps(row))]).languages == ()


def test_numbers_without_names_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(Misconfigured, match="--names"):
        read([put(tmp_path / "train.jsonl", ROWS)])


def test_a_csv_keeps_newlines_and_commas_in_quotes_and_names_crooked_rows_by_line(tmp_path):
    body = 'text,category\n"My card, the blue one,\nis gone",lost\nfine,other\nno, quotes, here\n,other\n"last",lost\n'
    found = read([put(tmp_path / "bank.csv", body)])
    assert [row[:2] for row in taken(found)] == [
        ("My card, the blue one,\nis gone", "lost"), ("fine", "other"), ("last", "lost")]
    assert lines_refused(found) == [5, 6]


def test_a_quote_that_is_not_closed_costs_its_own_line(tmp_path):
    rows = "".join(f"line {i},on\n" for i in range(300))
    found = read([put(tmp_path / "a.csv", f'text,intent\n"open,on\n"hi" there,off\n"""quoted""",off\n{rows}')])
    assert len(found.rows) == 302 and lines_refused(found) == [2]
    assert [row[0] for row in taken(found)[:2]] == ['"hi" there', '"quoted"']


def test_a_csv_without_a_header_is_text_then_intent(tmp_path):
    found = read([put(tmp_path / "watson.csv", 'turn it on,on\n"off, now",off\n')])
    assert [row[:2] for row in taken(found)] == [("turn it on", "on"), ("off, now", "off")]
    tabs = read([put(tmp_path / "a.tsv", "utterance\tintent\tsplit\na, b\ton\tvalidation\n")])
    assert taken(tabs) == [("a, b", "on", [], "dev", "")]


def test_json_lines_end_at_newlines_alone(tmp_path):
    lines = '{"text": "a\u2028b\x85c", "intent": "on"}\r\n{"text": "d", "intent": "off"}'
    found = read([put(tmp_path / "a.jsonl", lines)])
    assert [row[0] for row in taken(found)] == ["a\u2028b\x85c", "d"]


@pytest.mark.parametrize("entity,told", [
    ({"start": 3, "end": 10, "label": "room", "value": "kitchen"}, "UTF-16 offsets would fit: characters 2..9"),
    ({"start": 5, "end": 12, "label": "room", "value": "kitchen"}, "byte offsets would fit: characters 2..9"),
    ({"start": 2, "end": 8, "label": "room", "value": "kitchen"}, "inclusive end would fit"),
    ({"start": 0, "end": 1, "label": "room", "value": "light"}, "it stands at 10..15"),
    ({"start": 2, "end": 9, "entity": "room"}, '"entity" where "label" is wanted'),
    ({"start": 2, "end": 9, "label": None}, "label must be a string"),
    ({"start": 2, "end": 99, "label": "a"}, "outside the text"),
    ({"start": True, "end": 9, "label": "a"}, "whole numbers"),
    ({"start": -1, "end": 9, "label": "a"}, "outside the text"),
])
def test_an_entity_that_does_not_fit_is_refused_with_what_would(tmp_path, entity, told):
    rows = [{"text": "😀 kitchen light on", "intent": "on", "entities": [entity]}, {"text": "fine", "intent": "on"}]
    found = read([put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))])
    assert len(found.rows) == 1 and lines_refused(found) == [1] and told in found.refused[0].reason


@pytest.mark.parametrize("unit,start,end", [("utf-16", 3, 10), ("bytes", 5, 12), ("characters", 2, 9)])
def test_offsets_that_count_other_units_are_read_when_they_are_named(tmp_path, unit, start, end):
    entity = {"start": start, "end": end, "label": "room", "value": "Kitchen"}
    row = json.dumps({"text": "😀 kitchen on", "intent": "on", "entities": [entity]})
    found = read([put(tmp_path / "a.jsonl", row)], Options(offsets=unit))
    assert taken(found)[0][2] == [("kitchen", "room")]


def test_a_value_that_the_text_does_not_say_is_a_synonym(tmp_path):
    row = {"text": "in NYC", "intent": "go", "entities": [{"start": 3, "end": 6, "label": "city", "value": "New York"}]}
    assert read([put(tmp_path / "a.jsonl", json.dumps(row))]).synonyms == {"city": {"New York": ["NYC"]}}


@pytest.mark.parametrize("line", [
    b'{"text": "a \\ud83d", "intent": "on"}', b'{"text": "caf\xe9", "intent": "on"}', b'{"text": "  ", "intent": "on"}',
    b'{"text": "a", "intent": 4, "entities": []}', b'{"text": "a"', b"[1]",
    b'{"text": "a", "intent": "' + b"x" * 300 + b'"}',
    b'{"text": "a b", "intent": "on", "entities": [{"start":0,"end":3,"label":"x"},{"start":1,"end":2,"label":"y"}]}',
    b'{"text": "a", "intent": "on", "entities": ' + b"[" * 9000 + b"]" * 9000 + b"}",
])
def test_a_bad_line_costs_itself_alone(tmp_path, line):
    good = b'{"text": "good", "intent": "on"}\n'
    found = read([put(tmp_path / "a.jsonl", good + line + b"\n" + good)])
    assert len(found.rows) == 2 and lines_refused(found) == [2]


def test_a_file_in_another_encoding_is_read_where_it_is_named_and_refused_by_byte_where_it_is_not(tmp_path):
    place = put(tmp_path / "a.csv", "text,intent\nun café,on\nthé,off\nok,off\n".encode("cp1252"))
    found = read([place])
    assert len(found.rows) == 1 and lines_refused(found) == [2, 3] and "0xe9" in found.refused[0].reason
    assert [row[0] for row in taken(read([place], Options(encoding="cp1252")))] == ["un café", "thé", "ok"]
    with pytest.raises(Misconfigured, match="--encoding ascii"):
        read([place], Options(encoding="ascii"))
    excel = put(tmp_path / "b.csv", "text,intent\nun café,on\n".encode("utf-16"))
    assert taken(read([excel]))[0][0] == "un café"


@pytest.mark.parametrize("body", ["", "just a sentence\n", '{"a": 1}', "{", "[1, 2]", "[" * 5000])
def test_a_file_of_no_known_format_is_refused_with_the_names_of_those_that_are(tmp_path, body):
    with pytest.raises(Misconfigured, match=r"x.txt: (of no format|the file is empty)"):
        read([put(tmp_path / "x.txt", body)])


@pytest.mark.parametrize("name", [one.name for one in FORMATS])
def test_the_line_that_the_help_shows_of_every_format_is_of_its_format(tmp_path, name):
    text = data.FORMATS.partition(f"\n  {name} ")[2].partition("\n               ")
    line = text[0].strip() + (text[2].partition("\n")[0] if name == "massive" else "")
    if name == "rasa":
        line = f"nlu:\n- intent: go\n  examples: |\n    {line}"
    if name == "lu":
        line = f"# off\n{line}"
    source = sources_of(put(tmp_path / "a.txt", line))[0]
    assert recognized(source).name == name


def test_directories_leave_out_what_is_of_no_format_and_say_so(tmp_path):
    put(tmp_path / "nlu.yml", RASA)
    put(tmp_path / "domain.yml", "intents:\n- light_on\n")
    put(tmp_path / "picture.png", b"\x89PNG\0\0")
    put(tmp_path / ".git/config", "[core]")
    found = read([tmp_path])
    assert len(found.rows) == 6 and any("domain.yml" in note for note in found.notes)


def broken(random, body):
    """The file with one to four members of its JSON replaced by others, or some bytes changed, cut or repeated."""
    if isinstance(body, dict | list) and random.random() < 0.7:
        found = json.loads(json.dumps(body))
        for _ in range(random.randint(1, 4)):
            inside, key = found, None
            while isinstance(inside, dict | list) and inside and (key is None or random.random() < 0.8):
                before, key = inside, random.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
                inside = inside[key]
            if key is not None:
                before[key] = random.choice([None, 1, -1, True, "x", "", [], {}, [[]], [None], {"a": 1}, "\ud83d"])
        return json.dumps(found).encode()
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    raw = bytearray(text.encode() if isinstance(text, str) else text)
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(raw) + 1)
        put_in = random.choice([b"", b"[", b'{"', b"\n- ", b"\t", b"\xff", bytes(raw[:30])])
        raw[at : at + random.randint(0, 12)] = put_in
    return bytes(raw)


@pytest.mark.parametrize("name,body", [
    ("nlu.yml", RASA), ("s.json", SNIPS), ("c.json", CLINC), ("m.jsonl", MASSIVE), ("l.json", LUIS), ("r.jsonl", ROWS),
    ("a_usersays_en.json", USERSAYS), ("de.conll", CONLL), ("v.json", VIEWER), ("README.md", CARD), ("CLU.json", CLU),
    ("skill.json", WATSON), ("old.json", OLD_RASA), ("assistant.json", ASSISTANT), ("a.csv", 'text,label\n"a,\nb",c\n'),
    ("entries.json", [{"value": "attic", "synonyms": ["attic", "loft"]}]), ("dataset_info.json", INFO),
])
def test_a_broken_file_is_read_in_part_or_refused_by_name_and_ends_nothing(tmp_path, name, body):
    random = Random(name)
    place = tmp_path / name
    for _ in range(40):
        place.write_bytes(broken(random, body))
        try:
            found = read([place])
        except Misconfigured as error:
            assert name in str(error) or "--names" in str(error)
            assert "cannot be read as" not in str(error)  # which is for shapes that nobody thought of
        else:
            check(found, found.rows, found.rows[:1])
