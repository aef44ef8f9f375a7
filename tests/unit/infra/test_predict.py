"""What `headrace predict` reads and prints, and `headrace head delete` where nobody can be asked."""

import asyncio
import io

import pytest

from headrace import Entity, Reply
from infra.cli.main import main
from infra.cli.predict import _line, _Reading, _request
from topology.errors import InvalidUtterance


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


@pytest.mark.parametrize("line", [
    b"{oops", b"", b"7", b'{"text": 3}', b'{"text": null}', b'{"text": "hi", "lang": 5}', b'{"text": "\xff"}',
])
def test_a_line_that_is_no_request_is_named_by_its_number(line):
    with pytest.raises(InvalidUtterance, match="standard input, line 12: "):
        _request(12, line)


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
    assert _request(1, b'\xef\xbb\xbf{"text": "on"}\r\n') == {"text": "on", "lang": None}


def test_standard_input_that_is_closed_is_told(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", None)
    assert main(["predict", "acme"]) == 2
    assert "standard input is closed" in capsys.readouterr().err


@pytest.mark.parametrize("stdin", [None, io.StringIO("y\n")])
def test_a_head_is_not_deleted_unasked_where_there_is_no_terminal(monkeypatch, capsys, stdin):
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["head", "delete", "acme"]) == 2
    assert "--yes" in capsys.readouterr().err
