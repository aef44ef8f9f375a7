"""What `headrace predict` prints for people."""

import pytest

from headrace import Entity, Reply
from infra.cli.predict import _line, _request
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


@pytest.mark.parametrize("line", ["{oops", "", "7", '{"text": 3}', '{"text": null}', '{"text": "hi", "lang": 5}'])
def test_a_line_that_is_no_request_is_named_by_its_number(line):
    with pytest.raises(InvalidUtterance, match="standard input, line 12: "):
        _request(12, line)
