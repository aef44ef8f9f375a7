"""`headrace data`: files that people bring, converted and checked."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command, add_group
from infra.cli.reading import add_reading, options_of
from topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra.training.checks import Finding, Tokens
    from infra.training.formats.found import Found, Row

FORMATS = """\
Formats, known by content (a directory or .zip is read whole):

  headrace     {"text": "hall off", "intent": "off", "entities": [{"start": 0, "end": 4, "label": "room"}]}
               JSON lines. Places count characters, end exclusive. A value that the text does not say is a synonym.
  csv          "My card, the blue one, is gone",lost_or_stolen_card
               With a header (text, utterance, query, …; intent, category, label, …; entities), or text,intent
               without one: Watson, Lex. Columns of other names: --text COLUMN --intent COLUMN.
               entities.csv of Watson: entity, value, ways to say it.
  rasa         - lamp in [NYC]{"entity": "city", "value": "New York"}
               nlu.yml, nlu.md, nlu.json: values, synonyms and lookups come along; a role is put after its label:
               city.to. Groups and regular expressions are not kept.
  snips        {"LightOn": [{"data": [{"text": "lamp in the "}, {"text": "kitchen", "entity": "room"}]}]}
               Segments are joined as they stand. validate_* is the test split, as in the published set.
  clinc        {"train": [["dim the hall", "light_off"]], "oos_train": [["who painted this", "oos"]]}
               CLINC150: every split with its oos_* part, which becomes out_of_scope.
  massive      {"locale": "de-DE", "partition": "train", "intent": "alarm_set", "utt": "weck mich um neun",
               "annot_utt": "weck mich um [time : neun]"}
  dialogflow   [{"data": [{"text": "lamp in the "}, {"text": "attic", "alias": "room", "meta": "@room"}]}]
               ES: an export (.zip or unpacked) with its entities, or NAME_usersays_LANG.json. alias is the label;
               templates are filled with their entities' values; contexts are not kept.
  luis         {"text": "hall off", "intent": "off", "entities": [{"entity": "room", "startPos": 0, "endPos": 3}]}
               An app's JSON, or utterances. endPos is inclusive. None becomes out_of_scope. Lists are synonyms, and
               give the spans of labels that no utterance shows (so in lu, clu and watson).
  lu           - {@room=hall} off
               LUIS's text files: # intent above, @ list entities. {place} without words is a pattern: not used.
  clu          {"assets": {"utterances": [{"text": "hall off", "intent": "off", "entities": []}]}}
               A project of LUIS's successor: spans are offset and length, dataset is the split.
  lex          {"name": "off", "sampleUtterances": ["{Room} off"], "slots": [{"name": "Room", "slotType": "Rooms"}]}
               V1's JSON, or an export of V2 (.zip or unpacked). {Slots} are filled with values of their types.
  alexa        {"languageModel": {"intents": [{"name": "off", "samples": ["{room} off"], "slots": []}], "types": []}}
               A skill's interaction model; {slots} are filled with values of their types.
  dialogflow-cx  {"trainingPhrases": [{"parts": [{"text": "attic", "parameterId": "room"}, {"text": " off"}]}]}
               A JSON package (.zip or unpacked). The parameter is the label; entries become synonyms.
  wit          {"utterances": [{"text": "hall off", "intent": "off", "entities": [], "traits": []}]}
               A backup (.zip or unpacked), or utterances of the API. Without an intent it is out of scope.
  label-studio  [{"id": 1, "data": {"text": "hall off"}, "annotations": [{"result": []}]}]
               JSON or JSON-MIN. The choice is the intent.
  prodigy      {"text": "hall off", "spans": [], "accept": ["off"], "answer": "accept"}
  doccano      {"text": "hall off", "cats": ["off"], "entities": [[0, 4, "room"]]}
  spacy        [["hall off", {"entities": [[0, 4, "room"]], "cats": {"off": 1.0}}]]
               Of these three the category, or a choice, is the intent.
  snips-yaml   type: intent
               Snips NLU's: - lamp in the [room:rooms](kitchen)
  watson       {"intents": [{"intent": "off", "examples": [{"text": "hall off"}]}]}
               A skill's JSON: mentions are spans, counterexamples are out of scope, values come along. @entity in an
               example is filled with its values.
  conll        kitchen B-room
               A token and its tag a line (`# text`, `# intent` are heeded), ATIS's lines, seq.in/seq.out/label.
  huggingface  {"tokens": ["lamp", "in", "hall"], "ner_tags": [0, 0, 1], "label": 4}
               JSON lines or the viewer's JSON. Names: its features, dataset_info.json or README.md beside, --names.
  synonyms     {"room": {"living room": ["lounge", "parlor"]}}
               Beside any of the others: label, value, ways to say it. train.synonyms.json is that of train.jsonl."""
CONVERT = f"""\
Convert training data of other tools to the JSON lines that `head train` reads (it also reads these formats itself).
Train, dev and test stay apart, and so do languages. A row that cannot be used is named by its line and costs itself
alone; the exit status is then 1. Without --to and -o nothing is written.

{FORMATS}"""
CONVERT_EXAMPLE = """\
headrace data convert nlu.yml --to shop
headrace data convert agent.zip --to shop --lang en
headrace data convert massive/ --to massive
headrace data convert data_full.json --split test -o test.jsonl
headrace data convert train.jsonl --names labels.txt --to bank
headrace data convert ner.conll --intent order --to ner"""
CHECK = """\
Say what is wrong with training data, by line, and what it will cost: rows that cannot be read, spans that are no
whole words or not the value given (and which offsets would fit), overlaps, one text under two intents, too few
examples, texts beyond the ring's token limit, texts of --test that are in training too. Every format of `data convert`
is read. The exit status is 1 where anything is found that costs something."""
CHECK_EXAMPLE = """\
headrace data check shop.jsonl
headrace data check nlu.yml --test unseen.jsonl
headrace data check shop.csv --json"""


def add_commands(commands: Any) -> None:
    """Put `data` among `commands`."""
    data = add_group(commands, "data", "convert and check training data",
                     "headrace data convert nlu.yml --to shop\nheadrace data check shop/train.jsonl")
    convert = add_command(data, "convert", _convert, CONVERT, CONVERT_EXAMPLE)
    convert.add_argument("files", type=Path, nargs="+", metavar="FILE",
                         help="files, directories, .zip archives, or -: stdin")
    convert.add_argument("--to", type=Path, metavar="DIR", help="write SPLIT.jsonl here (LANG/SPLIT.jsonl where there "
                         "are several languages), and synonyms.json")
    convert.add_argument("-o", "--output", type=Path, metavar="FILE", help="write all rows into one file of JSON lines "
                         "(-: the standard output)")
    convert.add_argument("--split", choices=("train", "dev", "test"), help="only this split")
    convert.add_argument("--all", action="store_true", help="show every row that is left out, not only the first")
    convert.add_argument("--json", action="store_true", help="the summary as one JSON object")
    check = add_command(data, "check", _check, CHECK, CHECK_EXAMPLE)
    check.add_argument("files", type=Path, nargs="+", metavar="FILE",
                       help="files, directories, .zip archives, or -: stdin")
    check.add_argument("--tune", type=Path, metavar="FILE", help="examples that tune, which must not be in training")
    check.add_argument("--test", type=Path, metavar="FILE", help="unseen examples, which must not be in training")
    check.add_argument("--ring", help="whose token limit holds (default: the only one of headrace.toml)")
    check.add_argument("--all", action="store_true", help="show every line, not only the first of each kind")
    check.add_argument("--json", action="store_true", help="one JSON object with every finding")
    for command in (convert, check):
        add_reading(command)


def _convert(args: argparse.Namespace) -> int:
    from infra.training.formats.registry import read
    from infra.training.formats.write import parts_of, write_parts

    if args.to and args.output:
        raise Misconfigured("--to DIR keeps splits and languages apart, -o FILE puts all into one: give one of them")
    found = read(args.files, options_of(args))
    rows = [row for split in ((args.split,) if args.split else found.splits)
            for row in found.of(split, [args.lang] if args.lang else [])]
    parts = parts_of(rows)
    written: list[Path] = []
    if args.output and len(parts) > 1:
        names = ", ".join(" ".join(filter(None, part)) for part in parts)
        raise Misconfigured(f"-o {args.output}: there are {names}: choose with --split and --lang, or give --to DIR")
    if rows and (args.to or args.output):
        written = write_parts(parts, found.synonyms, args.to, args.output)
    to = sys.stderr if str(args.output) == "-" else sys.stdout
    if args.json:
        print(json.dumps(_summary(found, parts, written), ensure_ascii=False), file=to)
    else:
        print("\n".join(_report(args, found, parts, written)), file=to)
    if not rows:
        raise Misconfigured("there are no rows" + (f" of {args.split} {args.lang}" if found.rows else ""))
    return int(bool(found.refused))


def _summary(found: Found, parts: dict[tuple[str, str], list[Row]], written: Sequence[Path]) -> dict[str, Any]:
    return {
        "formats": found.formats,
        "parts": [{"split": split, "language": language, **_counts(rows)} for (split, language), rows in parts.items()],
        "refused": [{"place": one.place, "reason": one.reason} for one in found.refused],
        "notes": {**found.notes, **{f"--out-of-scope: no row has the intent {name!r}": 0 for name in found.unmet}},
        "synonyms": sum(map(len, found.synonyms.values())),
        "written": list(map(str, written)),
    }


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    from infra.training.examples import OUT_OF_SCOPE

    intents = Counter(row.example.intent for row in rows)
    outside = intents.pop(OUT_OF_SCOPE, 0)
    spans = Counter(one.label for row in rows for one in row.example.entities)
    return {"rows": len(rows), "intents": len(intents), "out_of_scope": outside, "labels": len(spans),
            "spans": spans.total()}


def _table(parts: dict[tuple[str, str], list[Row]]) -> Iterator[str]:
    yield f"{'split':6} {'language':9} {'rows':>8} {'intents':>8} {'out of scope':>13} {'labels':>7} {'spans':>8}"
    for (split, language), rows in parts.items():
        n = _counts(rows)
        yield (f"{split:6} {language or '-':9} {n['rows']:8,} {n['intents']:8,} {n['out_of_scope']:13,} "
               f"{n['labels']:7,} {n['spans']:8,}")


def _report(
    args: argparse.Namespace, found: Found, parts: dict[tuple[str, str], list[Row]], written: Sequence[Path]
) -> Iterator[str]:
    shown = len(found.refused) if args.all else 10
    yield f"read as {', '.join(found.formats)}"
    yield from _table(parts)
    if found.synonyms:
        values = sum(map(len, found.synonyms.values()))
        yield f"values that come along with their synonyms: {values:,}, of labels: {len(found.synonyms):,}"
    if found.trimmed:
        yield f"rows whose spans had blanks around, which are cut off: {len(found.trimmed):,}"
    yield from (f"{text}: {count:,}" for text, count in sorted(found.notes.items()))
    yield from (f"--out-of-scope: no row has the intent {name!r}" for name in found.unmet)
    if found.refused:
        yield f"rows left out: {len(found.refused):,}"
        yield from (f"  {one.place}: {one.reason}" for one in found.refused[:shown])
        if len(found.refused) > shown:
            yield f"  … and {len(found.refused) - shown:,} more: --all shows them"
    if str(args.output) == "-":
        return
    if written:
        yield f"written: {', '.join(map(str, written))}"
        yield f"next: {_next(written)}"
    elif parts:
        yield "nothing is written: --to DIR or -o FILE says where"


def _next(written: Sequence[Path]) -> str:
    """The command that trains on what was written first."""
    folder = written[0].parent
    by_name = {place.name: place for place in written if place.parent == folder or place.name == "synonyms.json"}
    train = by_name.get("train.jsonl", written[0])
    options = {"--tune": by_name.get("dev.jsonl"), "--test": by_name.get("test.jsonl"),
               "--synonyms": next((p for p in written if p.name.endswith("synonyms.json")), None)}
    more = "".join(f" {name} {place}" for name, place in options.items() if place and place != train)
    return f"headrace head train TENANT {train}{more}"


def _check(args: argparse.Namespace) -> int:
    from infra.training.checks import check, costly, told
    from infra.training.formats.registry import read

    found = read(args.files, options_of(args))
    languages = [args.lang] if args.lang else []
    first = found.splits[0] if found.splits else "train"
    train = found.of(first, languages)
    held_out = [row for split in found.splits if split != first for row in found.of(split, languages)]
    for split, place in (("dev", args.tune), ("test", args.test)):
        if place is None:
            continue
        other = read([place], options_of(args))
        held_out += [replace(row, split=split) for part in other.splits for row in other.of(part, languages)]
        found.refused += other.refused
        found.met |= other.met
    limit, why = _limit(args)
    if not train:
        raise Misconfigured("; ".join([f"there are no rows {args.lang and f'in {args.lang}'}".strip(),
                                       *(f"{one.place}: {one.reason}" for one in found.refused[:3])]))
    findings = check(found, train, held_out, limit)
    if args.json:
        print(json.dumps(_as_json(args, found, [*train, *held_out], findings, why), ensure_ascii=False))
        return int(costly(findings))
    from infra.training.formats.write import parts_of

    print("\n".join([f"read as {', '.join(found.formats)}", *_table(parts_of([*train, *held_out]))]))
    for line in (*(f"{text}: {count:,}" for text, count in sorted(found.notes.items())), *([why] if why else [])):
        print(line)
    for line in told(findings, None if args.all else 10):
        print(line)
    if not findings:
        print("nothing is wrong")
    return int(costly(findings))


def _as_json(
    args: argparse.Namespace, found: Found, rows: Sequence[Row], findings: Sequence[Finding], why: str
) -> dict[str, Any]:
    from infra.training.checks import COSTS, NOTES
    from infra.training.formats.write import parts_of

    counts = Counter(one.kind for one in findings)
    return {
        "files": list(map(str, args.files)), "formats": found.formats,
        "parts": [{"split": split, "language": language, **_counts(rows)}
                  for (split, language), rows in parts_of(rows).items()],
        "counts": {kind: {"count": counts[kind], "what": what, "cost": cost, "costly": kind in COSTS}
                   for kind, (what, cost) in {**COSTS, **NOTES}.items() if counts[kind]},
        "findings": [{"kind": one.kind, "place": one.place, "what": one.what} for one in findings],
        "notes": {**found.notes, **({why: 1} if why else {})},
    }


def _limit(args: argparse.Namespace) -> tuple[Tokens | None, str]:
    """(the ring's token limit, or why it is not known)."""
    from infra.cli.train import ring_of
    from topology.addresses import load_placed
    from topology.settings import settings_path

    if not args.ring and not settings_path(args.config).is_file():
        return None, "the token limit was not checked: there is no headrace.toml here"
    settings = load_placed(args.config)
    if not args.ring and len(settings.rings) > 1:
        return None, "the token limit was not checked: --ring NAME says whose"
    ring = ring_of(settings, args.ring)
    try:
        from infra.training.limit import token_limit
    except ModuleNotFoundError as error:
        return None, f"the token limit was not checked: {error.name} is not installed"
    limit = token_limit(settings, ring)
    return limit, "" if limit else f"the token limit was not checked: headrace encoder fetch {ring.encoder} comes first"
