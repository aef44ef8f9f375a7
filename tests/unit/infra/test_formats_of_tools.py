"""Formats of tools that people build assistants with: the right texts, places, splits and words."""

import json
import zipfile

from infra.training.formats.registry import read
from tests.exports import (
    ASSISTANT,
    CLINC,
    CLU,
    LUIS,
    MASSIVE,
    OLD_RASA,
    RASA,
    SNIPS,
    USERSAYS,
    WATSON,
    lines_refused,
    put,
    taken,
)


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
