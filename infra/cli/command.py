"""How commands and groups of commands are put into the parser: each with what it is for, a group with an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

Run = Callable[[argparse.Namespace], int | None]


class Parser(argparse.ArgumentParser):
    """Takes what is no option before, after and between options: argparse alone gives a word that may be left out, or
    may be one of several, no second chance after an option."""

    _mixing = False

    def error(self, message: str) -> NoReturn:
        """Says what is wrong in one line; argparse's own puts all of the usage before it. Exit status: 2."""
        self.exit(2, f"headrace: {message}; `{self.prog} --help` says what is wanted\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse has it, the words that stand after options included."""
        fixed = (argparse.PARSER, argparse.REMAINDER)  # which argparse cannot mix
        if self._mixing or any(one.nargs in fixed for one in self._get_positional_actions()):
            return super().parse_known_args(args, namespace)
        self._mixing = True  # what is called below calls this once for the options, and once for the words
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def add_group(commands: Any, name: str, text: str, example: str) -> Any:
    """A group among `commands`, such as `headrace head`. Returns where its own commands are added."""
    parser = commands.add_parser(
        name, help=text.replace("%", "%%"), description=text, epilog=_examples(example),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser.add_subparsers(required=True, metavar="COMMAND")


def add_command(commands: Any, name: str, run: Run, text: str, example: str = "") -> argparse.ArgumentParser:
    """A command among `commands`; `run` gets what was typed and returns the exit status (None is 0)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text.partition(". ")[0].rstrip(".").replace("%", "%%"), description=text,
        epilog=_examples(example) if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _examples(example: str) -> str:
    return "example:\n" + "\n".join(f"  {line}" for line in example.strip().splitlines())
