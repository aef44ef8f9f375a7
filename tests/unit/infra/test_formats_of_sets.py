"""Formats of published sets, token by token and row by row: CoNLL, Hugging Face, Parquet."""

import json

import pytest

from infra.training.formats.found import Options
from infra.training.formats.huggingface import read_names
from infra.training.formats.registry import read
from tests.exports import CARD, CONLL, INFO, ROWS, VIEWER, lines_refused, put, taken
from topology.errors import Misconfigured


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


def test_numbers_without_names_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(Misconfigured, match="--names"):
        read([put(tmp_path / "train.jsonl", ROWS)])
