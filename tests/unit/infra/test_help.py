"""`--help` of every command can be printed: argparse formats the texts, and a bare per cent sign breaks them."""

import argparse

from infra.cli import _parser


def parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


def test_every_command_explains_itself():
    found = list(parsers(_parser()))
    assert len(found) > 25
    for parser in found:
        text = parser.format_help()
        assert "'metavar'" not in text and parser.prog in text
