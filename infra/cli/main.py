"""The `headrace` command's parser and exit status; the commands themselves stand beside it, a file a group."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from infra.cli import (
    backfill,
    cell,
    config,
    data,
    dead_letters,
    encoder,
    head,
    insights,
    lag,
    plan,
    predict,
    render,
    scale,
    scaler,
    stack,
    status,
    tenant,
)
from infra.cli.command import Parser, add_command
from topology.errors import HeadraceError, Misconfigured
from topology.release import VERSION

INSTALLED = "headrace.commands"  # entry points: name = "module:function", called with where commands are added
ABOUT = """\
One shared encoder, a small head for each tenant, over Kafka.

  a first look         headrace demo
  a stack of your own  headrace init, encoder fetch, up; then head train, head publish, predict
  something is wrong   headrace status"""


def main(argv: list[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 failed, 2 misconfigured, 130 interrupted."""
    args = make_parser().parse_args(argv)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it says, five times a second, our errors say once
    try:
        code = args.run(args)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:  # `headrace ... | head` closed the pipe: nobody reads on, which is no mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Misconfigured as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 2
    except HeadraceError as error:
        print(f"headrace: {error.code}: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # of a file or directory, whose name is in it
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"headrace: {error.name} is not installed; pip install 'headrace[demo]' brings it", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command, those that other packages bring included."""
    parser = Parser(
        prog="headrace", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", help="headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml)")
    parser.add_argument("--version", action="version", version=f"headrace {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (config, encoder, stack, status, lag, cell, tenant, scale, scaler, predict, head, data, backfill,
                  insights, render, plan, dead_letters):
        group.add_commands(commands)
    for point in entry_points(group=INSTALLED):
        if point.name not in commands.choices:
            _add_installed(commands, point)
    return parser


def _add_installed(commands: Any, point: EntryPoint) -> None:
    """A command of another package; one that cannot be loaded says so when it is called, and breaks no other."""
    try:
        point.load()(commands)
    except (Exception, SystemExit) as error:
        reason = f"{point.value} cannot be loaded: {type(error).__name__}: {error}"
        commands.choices.pop(point.name, None)

        def fail(args: argparse.Namespace) -> None:
            raise Misconfigured(reason)

        add_command(commands, point.name, fail, reason)
