"""`--help` of every command can be printed: argparse formats the texts, and a bare per cent sign breaks them."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cli.main import make_parser
from infra.training.checks import COSTS, NOTES
from infra.training.formats.registry import FORMATS


def parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


def test_every_command_explains_itself():
    found = list(parsers(make_parser()))
    assert len(found) > 25
    for parser in found:
        text = parser.format_help()
        assert "'metavar'" not in text and parser.prog in text


def test_every_group_gives_an_example_that_its_own_commands_accept():
    parser = make_parser()
    groups = [one for one in parsers(parser) if re.fullmatch(r"headrace (?!$)[\w-]+", one.prog)]
    examples = [line.strip() for one in groups for line in (one.epilog or "").splitlines()[1:]]
    assert len(examples) >= 8
    for one in groups:
        if one._subparsers:
            assert one.epilog, one.prog
    for line in examples:
        words = shlex.split(re.sub(r"   .*|[<|].*", "", line))
        assert words[0] == "headrace"
        parser.parse_args(words[1:])


@pytest.fixture
def headrace(tmp_path):
    """Runs `headrace` where another package brings commands: some of them cannot be loaded."""
    package = tmp_path / "other-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[headrace.commands]\nmissing = nowhere.to_be:found\nbroken = broken_commands:add_commands\n"
        "exits = exits_at_import:add_commands\nhead = good_commands:add_commands\ngood = good_commands:add_commands\n"
    )
    (tmp_path / "broken_commands.py").write_text("def add_commands(commands):\n    1 / 0\n")
    (tmp_path / "exits_at_import.py").write_text("raise SystemExit(9)\n")
    (tmp_path / "good_commands.py").write_text(
        "from infra.cli.command import add_command\n"
        "def add_commands(commands):\n    add_command(commands, 'good', lambda args: print('it runs'), 'is well')\n"
    )

    def run(*args):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", *args], env=environment, capture_output=True, text=True, timeout=60
        )

    return run


def test_another_package_brings_its_own_commands(headrace):
    assert headrace("good").stdout == "it runs\n"


@pytest.mark.parametrize("name", ["missing", "broken", "exits"])
def test_commands_that_cannot_be_loaded_say_why_and_break_no_others(headrace, name):
    done = headrace(name)
    assert (done.returncode, "cannot be loaded" in done.stderr) == (2, True), done.stderr
    assert headrace("--help").returncode == 0
    assert headrace("head", "--help").stdout.startswith("usage: headrace head")  # ours, not the other package's


@pytest.mark.parametrize("typed,name,given", [
    ("head train acme --epochs 5 data.jsonl", "data", ["data.jsonl"]),
    ("head train --epochs 5 acme a.yml --seed 1 b.yml", "data", ["a.yml", "b.yml"]),
    ("head publish a-head b-head", "directories", ["a-head", "b-head"]),
    ("data convert a.yml --to out b.yml", "files", ["a.yml", "b.yml"]),
    ("data check a.yml --json b.yml", "files", ["a.yml", "b.yml"]),
    ("predict acme --lang en hello", "text", "hello"),
    ("predict acme --lang en -- -20", "text", "-20"),
    ("backfill run --ignore-live job.toml", "file", "job.toml"),
])
def test_words_may_stand_after_options_in_every_command(typed, name, given):
    found = getattr(make_parser().parse_args(typed.split()), name)
    assert ([str(one) for one in found] if isinstance(given, list) else str(found)) == given


def test_what_is_no_option_and_no_word_of_a_command_is_refused(capsys):
    for typed in ("predict acme hello there", "head train acme data.jsonl --nosuch", "head show --ring en"):
        with pytest.raises(SystemExit) as end:
            make_parser().parse_args(typed.split())
        assert end.value.code == 2
    assert "unrecognized arguments: there" in capsys.readouterr().err


def test_every_command_line_of_the_docs_can_be_typed(capsys):
    parser, root = make_parser(), Path(__file__).parents[3]
    pages = {place.name: re.sub(r"\\\n\s*", "", place.read_text("utf-8"))  # a line goes on after a backslash
             for place in (root / "README.md", *sorted((root / "docs").glob("*.md")))}
    lines = [(name, line) for name, page in pages.items()
             for line in re.findall(r"^ {4}(headrace [a-z].*)$", page, re.MULTILINE)]
    assert len(lines) > 30
    for name, line in lines:
        words = shlex.split(re.sub(r"\s(#|\||<|>|\s\s).*", "", line))[1:]
        try:
            parser.parse_args(words)
        except SystemExit:
            pytest.fail(f"{name}: {line}: {capsys.readouterr().err}")


def test_the_page_of_formats_names_every_format_and_every_finding():
    page = (Path(__file__).parents[3] / "docs/FORMATS.md").read_text(encoding="utf-8")
    for one in FORMATS:
        assert re.search(rf"^\| .*`{one.name}`", page, re.MULTILINE), one.name
    for kind, (what, cost) in {**COSTS, **NOTES}.items():
        assert f"| `{kind}` | {what} | {cost} |" in page
