"""`headrace data convert`, `headrace data check` and `headrace head train` on files of other tools, as typed."""

import gzip
import io
import json
import re

import pytest

pytest.importorskip("torch")

from infra.cli.main import main
from tests.shop import marked, nlu, plenty, write


def test_rasa_files_are_converted_trained_on_and_tested(home, capsys):
    rows = marked()
    (home / "bot").mkdir()
    (home / "bot/train.yml").write_text(nlu(rows[:56]) + "- synonym: corridor\n  examples: |\n    - hall\n")
    (home / "bot/test.yml").write_text(nlu(rows[56:]) + "- intent: on\n  examples: |\n    - [broken]{\n")
    assert main(["data", "convert", "bot", "--to", "out"]) == 1
    told = capsys.readouterr().out
    assert "bot/test.yml:52" in told and "--test out/test.jsonl --synonyms out/synonyms.json" in told
    assert len((home / "out/train.jsonl").read_text().splitlines()) == 56
    assert main(["head", "train", "acme", "out/train.jsonl", "--test", "out/test.jsonl", "--synonyms",
                 "out/synonyms.json", "--epochs", "20", "--seed", "1"]) == 0
    told = capsys.readouterr().out
    line = next(line for line in told.splitlines() if line.startswith("out/test") and "%" in line)
    accuracy, spans = (float(one) for one in re.findall(r"(?:accuracy|F1) ([\d.]+)%", line)[:2])
    assert accuracy >= 90 and spans >= 90, line
    assert main(["head", "train", "acme", "bot", "--test", "bot", "--out", "direct", "--epochs", "2"]) == 0
    assert "bot/test.yml:52" in capsys.readouterr().out
    heads = [json.loads((home / name / "head.json").read_text()) for name in ("acme-head", "direct")]
    assert heads[0]["synonyms"] == heads[1]["synonyms"] == {"room": {"corridor": ["hall"]}}


def test_training_reads_what_convert_reads_by_the_same_words(home, capsys):
    bare = [(intent, text.replace("[", "").replace("](room)", "")) for intent, text in marked()]
    rows = [{"text": f"{text} café", "label": 2 if "please" in text else int(intent == "off")} for intent, text in bare]
    (home / "a.jsonl").write_bytes("\n".join(json.dumps(one, ensure_ascii=False) for one in rows[:40]).encode("cp1252"))
    (home / "b.jsonl").write_text("\n".join(map(json.dumps, rows[40:])))
    (home / "names.txt").write_text("on\noff\nnone of these\n")
    reading = ["--encoding", "cp1252", "--names", "names.txt", "--out-of-scope", "none of these, nor this"]
    assert main(["data", "convert", "a.jsonl", *reading, "b.jsonl", "-o", "both.jsonl"]) == 0
    assert main(["data", "check", "a.jsonl", *reading, "b.jsonl"]) == 0
    assert main(["head", "train", "acme", *reading, "a.jsonl", "--epochs", "1", "b.jsonl"]) == 0
    assert json.loads((home / "acme-head/head.json").read_text())["intents"] == ["off", "on"]
    assert "left out" not in capsys.readouterr().out


def test_training_takes_columns_by_the_names_that_are_typed(home, capsys):
    rows = [f"{text.replace('[', '').replace('](room)', '')};{intent}" for intent, text in marked()]
    (home / "a.csv").write_text("\n".join(["Wortlaut;Absicht", *rows]))
    (home / "b.csv").write_text("\n".join(["Wortlaut;Absicht;wer", *(f"{row};anna" for row in rows[:9])]))
    typed = ["--text", "wortlaut", "--intent", "Absicht"]
    assert main(["head", "train", "acme", "a.csv", "--test", "b.csv", *typed, "--epochs", "1"]) == 0
    assert json.loads((home / "acme-head/head.json").read_text())["intents"] == ["off", "on"]
    capsys.readouterr()
    assert main(["head", "train", "acme", "b.csv"]) == 2
    said = capsys.readouterr().err
    assert "the columns are: Wortlaut, Absicht, wer. --text COLUMN and --intent COLUMN say which" in said


def test_synonyms_that_convert_wrote_are_found_beside_the_rows_or_in_their_directory(home, capsys):
    (home / "nlu.yml").write_text(nlu(marked()) + "- synonym: corridor\n  examples: |\n    - hall\n")
    assert main(["data", "convert", "nlu.yml", "--to", "shop"]) == 0
    assert main(["data", "convert", "nlu.yml", "-o", "one.jsonl"]) == 0
    (home / "more.json").write_text('{"room": {"bath": ["bathroom"]}}')
    for name in ("shop", "shop/train.jsonl", "one.jsonl"):
        assert main(["head", "train", "acme", "--synonyms", "more.json", "--epochs", "1", name]) == 0
        synonyms = json.loads((home / "acme-head/head.json").read_text())["synonyms"]
        assert synonyms == {"room": {"corridor": ["hall"], "bath": ["bathroom"]}}
    assert "left out" not in capsys.readouterr().out


def test_a_file_with_more_bad_rows_than_good_is_not_trained_on(home, capsys):
    write(home / "shop.jsonl", '{"text": 1}', '{"text": 2}', '{"text": 3}', *plenty("on")[:2])
    assert main(["head", "train", "shop", "shop.jsonl"]) == 2
    assert "shop.jsonl:2" in capsys.readouterr().err


def test_a_directory_of_tenants_takes_files_of_any_format_each_with_its_synonyms(home, capsys):
    (home / "all").mkdir()
    (home / "all/bot.yml").write_text(nlu(marked()[:12]))
    assert main(["data", "convert", "all/bot.yml", "-o", "all/shop.jsonl"]) == 0
    (home / "all/shop.synonyms.json").write_text('{"room": {"hall": ["corridor"]}}')
    (home / "all/bad.csv").write_text("no\n")
    assert main(["head", "train", "all", "--epochs", "2"]) == 1
    told = capsys.readouterr().out
    assert "bad was not trained" in told and "synonyms was" not in told
    heads = {name: json.loads((home / f"{name}-head/head.json").read_text()) for name in ("bot", "shop")}
    assert heads["bot"]["synonyms"] == {} and heads["shop"]["synonyms"] == {"room": {"hall": ["corridor"]}}
    assert heads["bot"]["sha256"] == heads["shop"]["sha256"]


def test_rows_go_to_the_standard_output_alone_where_that_is_asked_for(home, capsys):
    write(home / "a.json", {"train": [["dim the hall", "off"], ["who", "oos"]]})
    assert main(["data", "convert", "a.json", "-o", "-"]) == 0
    told = capsys.readouterr()
    assert [json.loads(line)["intent"] for line in told.out.splitlines()] == ["off", "out_of_scope"]
    assert "read as clinc" in told.err


@pytest.mark.parametrize("body", ["[]", "{", '{"room": ["hall"]}', '{"room": {"hall": "corridor"}}'])
def test_synonyms_of_another_shape_are_refused_by_their_files_name(home, capsys, body):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"))
    (home / "words.json").write_text(body)
    assert main(["head", "train", "shop", "shop.jsonl", "--synonyms", "words.json"]) == 2
    assert "words.json" in capsys.readouterr().err


def test_a_rings_languages_choose_the_rows_of_a_file_in_several(home, capsys):
    rows = [{"locale": locale, "intent": "on", "utt": f"{locale} {i}", "annot_utt": f"{locale} {i}"}
            for i in range(12) for locale in ("en-US", "de-DE")]
    write(home / "all.jsonl", *rows)
    assert main(["data", "convert", "all.jsonl", "--to", "out"]) == 0
    assert sorted(place.parent.name for place in (home / "out").rglob("train.jsonl")) == ["de-DE", "en-US"]
    write(home / "de.jsonl", *rows[1::2])
    assert main(["head", "train", "shop", "de.jsonl"]) == 2
    assert "de-DE, the ring is for en" in capsys.readouterr().err


@pytest.mark.parametrize("typed,told", [
    (["convert", "nothing.yml"], "nothing.yml"), (["convert", "a.jsonl", "--format", "word"], "--format word"),
    (["convert", "a.jsonl", "--names", "no.txt"], "no.txt"), (["convert", "a.jsonl", "--to", "x", "-o", "y"], "--to"),
    (["convert", "clinc.json", "-o", "all.jsonl"], "--split"), (["convert", "clinc.json", "--split", "dev"], "no rows"),
    (["check", "a.jsonl", "--ring", "fr"], "--ring fr"),
])
def test_what_cannot_be_done_is_told_in_one_line_with_status_2(home, capsys, typed, told):
    write(home / "a.jsonl", *plenty("on"))
    write(home / "clinc.json", {"train": [["dim the hall", "off"]], "test": [["hall on", "on"]]})
    assert main(["data", *typed]) == 2
    assert told in capsys.readouterr().err
    assert not list(home.glob("all.jsonl"))


PLAIN = "text,intent\na on,on\nb öff,off\n"


@pytest.mark.parametrize("body", [
    PLAIN.encode(), b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(), PLAIN.replace("\n", "\r").encode(),
    PLAIN.encode("utf-16"), PLAIN.encode("utf-16-le"), PLAIN.encode("utf-16-be"), gzip.compress(PLAIN.encode()),
], ids=["plain", "mark and crlf", "cr", "utf-16", "utf-16-le", "utf-16-be", "gzip"])
def test_a_file_is_read_whatever_its_marks_and_ends_of_lines_are(home, capsys, body):
    (home / "a.csv").write_bytes(body)
    assert main(["data", "convert", "a.csv", "-o", "out.jsonl"]) == 0
    assert [json.loads(line)["text"] for line in (home / "out.jsonl").read_text().splitlines()] == ["a on", "b öff"]


def test_the_standard_input_is_read_where_a_file_may_stand(home, capsys, monkeypatch):
    for typed in (["data", "convert", "-", "-o", "out.jsonl"], ["data", "check", "-"],
                  ["head", "train", "acme", "--epochs", "1", "-"]):
        rows = "".join(f"{text},{intent}\n" for intent, text in marked())
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"text,intent\n{rows}".encode())))
        assert main(typed) == 0, capsys.readouterr()
    assert len((home / "out.jsonl").read_text().splitlines()) == 72


@pytest.mark.parametrize("name,body,told", [
    ("empty.jsonl", b"", "the file is empty"), ("blank.csv", b"\n\n", "the file is empty"),
    ("nosuch.jsonl", None, "No such file"), ("a.bin", b"\x00\x01\x00\x00" * 99 + b"\x07", "no text"),
    ("cut.json", b'{"text": "b off"', "line 1 column 17"), ("list.json", b"[]", "nothing in it"),
    ("plain.txt", b"hello world\n", "of no format that is known"), ("bad.gz", b"\x1f\x8b\x08\x00j", "cannot be read"),
])
@pytest.mark.parametrize("command", [["data", "convert"], ["data", "check"], ["head", "train", "acme"]])
def test_a_file_that_cannot_be_read_is_named_in_one_line_with_status_2(home, capsys, command, name, body, told):
    if body is not None:
        (home / name).write_bytes(body)
    assert main([*command, name]) == 2
    said = capsys.readouterr().err
    assert name in said and told in said and len(said.splitlines()) == 1
