"""`headrace data convert`, `headrace data check` and `headrace head train` on files of other tools, as typed."""

import gzip
import io
import itertools
import json
import re

import pytest

from infra.cli.main import main
from infra.training.checks import COSTS

torch = pytest.importorskip("torch")
from transformers import BertConfig, BertModel, BertTokenizerFast  # noqa: E402

WORDS = ("turn", "switch", "on", "off", "light", "lamp", "fan", "kitchen", "bathroom", "hall", "the", "in", "please")
CONFIG = """
[limits]
max_tokens = 16
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
[rings.en.cells.a]
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory with headrace.toml and a BERT of random weights, whose vectors still tell words apart."""
    torch.manual_seed(0)
    encoder = tmp_path / "encoder"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(encoder)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(encoder)
    (tmp_path / "headrace.toml").write_text(CONFIG.format(encoder=encoder))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def marked():
    """(intent, text with Rasa's marks) of 72 utterances, in an order that mixes them."""
    found = [
        (act, f"{verb} {act} the {thing} in the [{room}](room){end}")
        for verb, act, thing, room, end in itertools.product(
            ("turn", "switch"), ("on", "off"), ("light", "lamp", "fan"), ("kitchen", "bathroom", "hall"),
            ("", " please"),
        )
    ]
    return [found[i * 31 % len(found)] for i in range(len(found))]


def nlu(rows):
    sections = (f"- intent: {intent}\n  examples: |\n    - {text}\n" for intent, text in rows)
    return "nlu:\n" + "".join(sections)


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


def write(place, *rows):
    place.write_text("\n".join(json.dumps(row) if isinstance(row, dict) else row for row in rows))


def plenty(intent, *labelled):
    return [{"text": f"{intent} number {i}", "intent": intent, "entities": list(labelled)} for i in range(12)]


def span(start, end, label, **more):
    return {"start": start, "end": end, "label": label, **more}


KINDS = {
    "row": ['{"text": 4}'],
    "offsets": [{"text": "😀 kitchen on", "intent": "on", "entities": [span(3, 10, "room", value="kitchen")]}],
    "overlap": [{"text": "kitchen on", "intent": "on", "entities": [span(0, 7, "room"), span(3, 10, "room")]}],
    "two-intents": [{"text": "on number 1", "intent": "off"}],
    "part-of-word": [{"text": "kitchen on", "intent": "on", "entities": [span(0, 4, "room")]}],
    "shared-word": [{"text": "add 20kg flour", "intent": "on", "entities": [span(4, 6, "room"), span(6, 8, "unit")]}],
    "too-long": [{"text": "on " * 40 + "kitchen", "intent": "on", "entities": [span(120, 127, "room")]}],
    "few-examples": [{"text": "once", "intent": "rare"}],
    "few-spans": [{"text": "the attic", "intent": "on", "entities": [span(4, 9, "where")]}],
    "named-outside": [{"text": f"strange {i}", "intent": "oos"} for i in range(12)],
}


def checked(capsys, *typed):
    code = main(["data", "check", *typed, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", KINDS)
def test_check_names_each_kind_of_mistake_by_its_line_with_a_count_and_a_cost(home, capsys, kind):
    good = [*plenty("on", span(0, 2, "room")), *plenty("off", span(0, 3, "unit"))]
    write(home / "shop.jsonl", *good)
    assert checked(capsys, "shop.jsonl")[0] == 0
    write(home / "shop.jsonl", *good, *KINDS[kind])
    code, found = checked(capsys, "shop.jsonl")
    mine = [one for one in found["findings"] if one["kind"] == kind]
    line = 2 if kind == "two-intents" else len(good) + 1
    assert code == 1 and mine[0]["place"] == f"shop.jsonl:{line}"
    assert found["counts"][kind]["count"] == len(mine) and found["counts"][kind]["cost"]
    assert main(["data", "check", "shop.jsonl"]) == 1
    told = capsys.readouterr().out
    assert f"{COSTS[kind][0]}: {len(mine)} ({COSTS[kind][1]})" in told and f"shop.jsonl:{line}" in told


def test_check_tells_what_is_in_training_and_in_the_test_too_and_when_all_is_well(home, capsys):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"))
    write(home / "test.jsonl", {"text": "ON  number 3", "intent": "on"}, {"text": "new", "intent": "on"})
    code, found = checked(capsys, "shop.jsonl", "--test", "test.jsonl")
    assert code == 1 and [one["place"] for one in found["findings"]] == ["test.jsonl:1"]
    assert "shop.jsonl:4" in found["findings"][0]["what"]
    assert main(["data", "check", "shop.jsonl"]) == 0 and "nothing is wrong" in capsys.readouterr().out


def test_check_names_intents_and_labels_of_the_test_that_nothing_teaches(home, capsys):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"))
    write(home / "test.jsonl", {"text": "bill me", "intent": "pay", "entities": [span(5, 7, "who")]},
          {"text": "a joke", "intent": "out_of_scope"}, {"text": "pay now", "intent": "pay"})
    code, found = checked(capsys, "shop.jsonl", "--test", "test.jsonl")
    assert code == 1 and [(one["kind"], one["place"], one["what"]) for one in found["findings"]] == [
        ("untaught", "test.jsonl:1", "label who"), ("untaught", "test.jsonl:1", "pay")]


def test_blanks_around_spans_and_repeated_texts_are_told_and_cost_nothing(home, capsys):
    again = {"text": "off number 0", "intent": "off"}
    write(home / "shop.jsonl", *plenty("on", span(0, 3, "room")), *plenty("off"), again)
    code, found = checked(capsys, "shop.jsonl")
    assert code == 0 and {kind: one["count"] for kind, one in found["counts"].items()} == {"blanks": 12, "repeated": 1}


def test_spans_that_cut_words_say_when_other_units_would_not(home, capsys):
    rows = [{"text": f"😀 kitchen on {i}", "intent": "on", "entities": [span(3, 10, "room")]} for i in range(12)]
    write(home / "shop.jsonl", *rows, *plenty("off"))
    _, found = checked(capsys, "shop.jsonl")
    cut = [one["what"] for one in found["findings"] if one["kind"] == "part-of-word"]
    assert len(cut) == 12 and all("UTF-16 offsets would fit: 'kitchen'" in one for one in cut)
    assert checked(capsys, "shop.jsonl", "--offsets", "utf-16")[0] == 0


def test_training_tells_what_check_tells_and_goes_on_without_the_bad_rows(home, capsys):
    write(home / "shop.jsonl", *(one for kind in ("row", "offsets", "shared-word") for one in KINDS[kind]),
          *plenty("on", span(0, 2, "room")), *plenty("off", span(0, 3, "unit")))
    assert main(["head", "train", "shop", "shop.jsonl", "--epochs", "2"]) == 0
    told = capsys.readouterr().out
    for kind in ("row", "offsets", "shared-word"):
        assert f"{COSTS[kind][0]}: 1" in told
    assert "shop.jsonl:1" in told and "'kg' (unit, 6..8)" in told


def test_training_tells_of_bad_rows_and_known_texts_in_the_files_that_tune_and_test(home, capsys):
    write(home / "shop.jsonl", *plenty("on"), *plenty("off"))
    write(home / "tune.jsonl", {"text": "on number 3", "intent": "on"}, {"text": "light off", "intent": "off"})
    write(home / "test.jsonl", '{"text": 4}', {"text": "lamp on", "intent": "on"})
    assert main(["head", "train", "shop", "shop.jsonl", "--tune", "tune.jsonl", "--test", "test.jsonl",
                 "--epochs", "2"]) == 0
    told = capsys.readouterr().out
    assert "test.jsonl:1: text is missing" in told
    assert "tune.jsonl:1: 'on number 3' stands in training too: shop.jsonl:4" in told


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
