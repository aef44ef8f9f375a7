"""How commands and groups of commands are put into the parser: each with what it is for, a group with an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong with what was typed in one line; argparse's own puts all of the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Exit status: 2."""
        self.exit(2, f"headrace: {message}; `{self.prog} --help` says what is wanted\n")


Run = Callable[[argparse.Namespace], int | None]


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
