"""What `headrace predict` reads and prints, and `headrace head delete` where nobody can be asked."""

import argparse
import asyncio
import io
import json

import pytest

from headrace import Entity, Reply
from infra.cli.main import main
from infra.cli.predict import _ask_one, _line, _Reading, _request
from producers.request import RequestBuilder
from topology.settings import Redis, Ring, Settings


def reply(**more):
    return Reply("1", "shop", "en", "en", "how old is the moon", "store_hours", 0.66, more.pop("out_of_scope", False),
                 more.pop("entities", ()), False, "v1", {"submitted": 0, "replied": 5_000})


@pytest.mark.parametrize("said, words", [
    (reply(), "store_hours (66%)  no entities  5 ms"),
    (reply(out_of_scope=True), "out of scope (nearest: store_hours (66%))  no entities  5 ms"),
    (reply(entities=(Entity(0, 3, "sys.number", "how", 1.0, 3.0),)), "store_hours (66%)  sys.number='how' (3.0)  5 ms"),
])
def test_an_utterance_that_is_out_of_scope_is_said_to_be(said, words):
    assert _line(said) == words


WRONG = {
    b"{oops": 'a line is JSON: {"text": "…"}, this is none: ', b"turn it on": 'a line is JSON: {"text": "…"}',
    b"7": "a map is wanted", b'"hi"': "a map is wanted", b"{}": "text is missing", b'{"lang": "en"}': "text is missing",
    b'{"text": 3}': "text: a string is wanted, this is 3", b'{"text": null}': "text: a string is wanted, this is null",
    b'{"text": "hi", "lang": 5}': "lang: a string is wanted, this is 5", b'{"text": "\xff"}': "a line is JSON",
    b'{"text": " "}': "text: it is empty", b'{"text": "hi", "lang": "xx"}': "'xx'",
}


class Client:
    """Of a stack that was never started: it checks what it is asked, and takes nothing."""

    def __init__(self):
        rings = {"en": Ring(name="en", languages=("en",), encoder="none")}
        self.builder = RequestBuilder(Settings(redis=Redis(url="redis://127.0.0.1:1/0"), rings=rings), "replies")

    async def predict(self, tenant, text, lang):
        self.builder.build(tenant, text, lang, None, None, None)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("line, words", WRONG.items())
async def test_a_line_that_is_no_request_is_told_in_words_with_its_number(line, words, as_json):
    args = argparse.Namespace(tenant="acme", text=None, lang=None, json=as_json)
    status, said = await _ask_one(Client(), args, 12, line)
    said = json.loads(said)["message"] if as_json else said
    assert status == 1 and "standard input, line 12: " in said and words in said


async def test_a_text_that_was_typed_has_no_line():
    args = argparse.Namespace(tenant="acme", text="", lang=None, json=False)
    assert await _ask_one(Client(), args, 1, b'{"text": ""}') == (
        1, "headrace: invalid_utterance: text: it is empty; there is nothing to understand")


@pytest.mark.parametrize("typed", [["a/b"], ["a/b", "on"], [".hidden"], [""]])
def test_a_tenant_that_is_no_name_is_refused_before_anything_is_asked(capsys, typed):
    assert main(["predict", *typed]) == 2
    told = capsys.readouterr().err
    assert "tenant: " in told and "headrace predict TENANT TEXT" in told


class Open:
    """A client that is open at once."""

    def __init__(self, settings):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        pass


@pytest.mark.parametrize("terminal", [False, True])
def test_a_forgotten_text_is_told_with_what_is_wanted(monkeypatch, capsys, terminal):
    stdin = io.TextIOWrapper(io.BytesIO(b"\n"))
    monkeypatch.setattr(stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr("producers.Headrace", Open)
    monkeypatch.setattr("infra.cli.predict._settings", lambda args: None)
    assert main(["predict", "is my bike ready"]) == 0
    told = capsys.readouterr().err
    assert told.count("headrace predict TENANT TEXT is wanted") == 1 and "'is my bike ready'" in told


async def read(lines):
    reading, found = _Reading(lines), []
    while (line := await asyncio.wait_for(reading.next(), 20)) is not None:
        found.append(line)
        reading.room.release()
    return found


async def test_blank_lines_of_standard_input_are_passed_over_and_count_as_lines():
    text = b'\n{"text": "a"}\n  \t\n\r\n{"text": "b"}\n\n{"text": "c"}'
    assert await read(io.BytesIO(text)) == [(2, b'{"text": "a"}\n'), (5, b'{"text": "b"}\n'), (7, b'{"text": "c"}')]


async def test_who_reads_standard_input_hears_that_it_cannot_be_read():
    def lines():
        yield b'{"text": "a"}\n'
        raise IsADirectoryError(21, "Is a directory")

    with pytest.raises(IsADirectoryError):
        await read(lines())


def test_a_line_with_a_byte_order_mark_is_read():
    assert _request(b'\xef\xbb\xbf{"text": "on"}\r\n') == {"text": "on", "lang": None}


def test_standard_input_that_is_closed_is_told(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", None)
    assert main(["predict", "acme"]) == 2
    assert "standard input is closed" in capsys.readouterr().err


@pytest.mark.parametrize("stdin", [None, io.StringIO("y\n")])
def test_a_head_is_not_deleted_unasked_where_there_is_no_terminal(monkeypatch, capsys, stdin):
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["head", "delete", "acme"]) == 2
    assert "--yes" in capsys.readouterr().err
