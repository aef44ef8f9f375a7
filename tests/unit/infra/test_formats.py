"""Files that people bring, whatever their format: each bad row is named, and costs itself alone."""

import json
from random import Random

import pytest

from infra.cli import data
from infra.training.checks import check
from infra.training.formats.found import Options
from infra.training.formats.registry import FORMATS, read, recognized
from infra.training.formats.source import sources_of
from tests.exported_marks import ALEXA, LINES, PHRASES, SNIPS_YAML, TASKS, WIT
from tests.exports import (
    ASSISTANT,
    CARD,
    CLINC,
    CLU,
    CONLL,
    INFO,
    LUIS,
    MASSIVE,
    OLD_RASA,
    RASA,
    ROWS,
    SNIPS,
    USERSAYS,
    VIEWER,
    WATSON,
    lines_refused,
    put,
    taken,
)
from topology.errors import Misconfigured


def test_a_language_that_is_no_code_is_not_heeded(tmp_path):
    row = {"text": "hi", "intent": "out_of_scope/other", "language": "English"}
    assert read([put(tmp_path / "a.jsonl", json.dumps(row))]).languages == ()


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
    ("alexa.json", ALEXA), ("wit.json", WIT), ("phrases.json", PHRASES), ("tasks.json", TASKS),
    ("dataset.yml", SNIPS_YAML),
    ("p.jsonl", "\n".join(map(json.dumps, LINES["prodigy"]))), ("pairs.json", LINES["spacy"]),
    ("d.jsonl", "\n".join(map(json.dumps, LINES["doccano"]))),
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
