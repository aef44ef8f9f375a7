"""Tables and rows whose columns have other names than ours: usual names are known, others are named on the line."""

import json
from pathlib import Path

import pytest

from infra.cli.main import main
from infra.training.formats.found import Options
from infra.training.formats.registry import read
from topology.errors import Misconfigured

ROWS = [{"Wortlaut": "Licht an", "Absicht": "on", "wer": "anna"}, {"Wortlaut": "Licht aus", "Absicht": "off",
                                                                   "wer": "ben"}]
CHOSEN = Options(columns={"text": "Wortlaut"}, intent="absicht")  # --intent: a column, as one is called so
WANTED = [("Licht an", "on"), ("Licht aus", "off")]


def put(place: Path, body: str | bytes) -> Path:
    place.write_bytes(body if isinstance(body, bytes) else body.encode())
    return place


def table(rows, delimiter=","):
    return "".join(f"{delimiter.join(row)}\n" for row in (rows[0], *(one.values() for one in rows)))


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def taken(found):
    return [(row.example.text, row.example.intent) for row in found.rows]


SHAPES = {
    "a.csv": table(ROWS), "semicolon.csv": table(ROWS, ";"), "a.tsv": table(ROWS, "\t"), "no_suffix": table(ROWS),
    "bar.csv": table(ROWS, "|"), "mark.csv": b"\xef\xbb\xbf" + table(ROWS).replace("\n", "\r\n").encode(),
    "utf16.csv": table(ROWS, "\t").encode("utf-16"), "a.jsonl": lines(ROWS), "a.json": json.dumps(ROWS),
    "viewer.json": json.dumps({"features": [], "rows": [{"row_idx": 0, "row": row} for row in ROWS]}),
    "one.jsonl": lines(ROWS[:1]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_columns_of_any_name_are_read_where_they_are_named(tmp_path, name):
    place = put(tmp_path / name, SHAPES[name])
    assert taken(read([place], CHOSEN)) == WANTED[: 1 if name == "one.jsonl" else 2]


def test_columns_of_parquet_keep_the_names_of_their_numbers(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    features = {"Absicht": {"names": ["off", "on"], "_type": "ClassLabel"}}
    rows = pyarrow.table({"Wortlaut": ["Licht an", "Licht aus"], "Absicht": [1, 0]}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(rows, tmp_path / "a.parquet")
    assert taken(read([tmp_path / "a.parquet"], CHOSEN)) == WANTED
    with pytest.raises(Misconfigured, match=r"columns are: Wortlaut, Absicht. --text COLUMN and --intent COLUMN"):
        read([tmp_path / "a.parquet"])


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("no_suffix", "one.jsonl")])
def test_columns_that_are_not_known_are_told_with_what_to_type(tmp_path, name):
    place = put(tmp_path / name, SHAPES[name])
    with pytest.raises(Misconfigured, match=r"columns are: Wortlaut, Absicht, wer\. --text COLUMN and --intent COL"):
        read([place])
    with pytest.raises(Misconfigured, match=r"--text Wortlauf: no column is called so; .*Wortlaut, Absicht, wer"):
        read([place], Options(columns={"text": "Wortlauf"}))


def test_a_column_that_is_named_wins_over_one_of_a_usual_name(tmp_path):
    rows = [{"text": "raw", "label": "x", "clean": "lamp on", "intent2": "on"}]
    for body in (table(rows), lines(rows * 2)):
        found = read([put(tmp_path / "a.txt", body)], Options(columns={"text": "clean"}, intent="intent2"))
        assert taken(found)[0] == ("lamp on", "on")


@pytest.mark.parametrize("header", [
    ("utterance", "intent_name"), ("Query", "Intent Name"), ("sentence", "label"), ("instruction", "category"),
    ("User Utterance", "class"), ("training-phrase", "Intent Display Name"), ("transcript", "topic"), ("text", "mood"),
    ("said", "intent"),
])
def test_usual_names_of_other_tools_are_known_whatever_their_letters(tmp_path, header):
    rows = [dict(zip(header, pair, strict=True)) for pair in WANTED]
    assert taken(read([put(tmp_path / "a.csv", table(rows))])) == WANTED
    if not {"mood", "said"} & set(header):
        assert taken(read([put(tmp_path / "a.jsonl", lines(rows))])) == WANTED


def test_a_first_row_that_may_be_a_header_is_told(tmp_path):
    body = "Wortlaut,Absicht\nLicht an,on\nLicht aus,off\nLampe an,on\n"
    found = read([put(tmp_path / "a.csv", body)])
    assert len(found.rows) == 4 and any("'Wortlaut', 'Absicht'" in note for note in found.notes)
    assert not read([put(tmp_path / "b.csv", "a,on\nb,off\nc,on\nd,off\n")]).notes


def test_entities_in_a_column_are_read_as_json(tmp_path):
    spans = [{"start": 0, "end": 5, "label": "thing"}]
    rows = [{"q": "Licht an", "i": "on", "marks": spans}, {"q": "Licht aus", "i": "off", "marks": []}]
    chosen = Options(columns={"text": "q", "entities": "marks"}, intent="i")
    quoted = "q;i;marks\n" + "".join(f"{row['q']};{row['i']};{json.dumps(row['marks'])}\n" for row in rows).replace(
        '[{"', '"[{""').replace('": ', '"": ').replace(', "', ', ""').replace('"thing"', '""thing""').replace(
        '}]', '}]"')
    for body in (lines(rows), quoted, lines([{**row, "marks": json.dumps(row["marks"])} for row in rows])):
        found = read([put(tmp_path / "a.txt", body)], chosen)
        assert [len(row.example.entities) for row in found.rows] == [1, 0], found.refused


def test_an_intent_for_all_rows_is_still_given_where_no_column_is_called_so(tmp_path):
    found = read([put(tmp_path / "a.csv", "text,who\nhello,anna\nhi,ben\n")], Options(intent="greet"))
    assert {row.example.intent for row in found.rows} == {"greet"}


@pytest.mark.parametrize("command", [["data", "convert"], ["data", "check"]])
def test_the_same_words_name_columns_in_every_command(tmp_path, capsys, command):
    rows = [{"Wortlaut": f"{text} {i}", "Absicht": intent} for i in range(12) for text, intent in WANTED]
    place = str(put(tmp_path / "a.csv", table(rows)))
    assert main([*command, place, "--text", "Wortlaut", "--intent", "Absicht"]) == 0, capsys.readouterr()
    assert main([*command, place, "--text", "Wort"]) == 2
    assert "Wortlaut, Absicht" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_spans_that_stand_in_the_text_are_read_as_such_whatever_the_column_is_called(tmp_path, name):
    rows = [{"answer_annotation": "wake me at [time : six am] [date : tomorrow]", "intent": "set"},
            {"answer_annotation": "the note [sic]: stop", "intent": "stop"}]
    found = read([put(tmp_path / name, table(rows) if name == "a.csv" else lines(rows))],
                 Options(columns={"text": "answer_annotation"}))
    assert taken(found) == [("wake me at six am tomorrow", "set"), ("the note [sic]: stop", "stop")]
    assert [(e.start, e.end, e.label) for e in found.rows[0].example.entities] == [(11, 17, "time"), (18, 26, "date")]
    assert found.notes["rows whose [label : words] are spans now"] == 1
