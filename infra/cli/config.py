"""`headrace init`, `headrace config` and `headrace topics`: the file, and what it asks of Kafka."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from infra.cli.command import add_command, add_group
from topology.addresses import load_placed, load_running
from topology.errors import Misconfigured
from topology.settings import advice, missing, settings_path
from topology.topics import wanted

STARTER = """\
# headrace.toml: checked whole by `headrace config check`.
[rings.en]
languages = ["en"]
encoder = "minilm-l6"     # a directory, a prepared name (`headrace encoder fetch`), or a Hugging Face id
[rings.en.cells.a]
"""


def add_commands(commands: Any) -> None:
    """Put `init`, `config` and `topics` among `commands`."""
    add_command(commands, "init", _init, "write a headrace.toml to start from")
    config = add_group(commands, "config", "check headrace.toml", "headrace --config headrace.toml config check")
    add_command(config, "check", _check, "name every mistake with its line")
    topics = add_group(commands, "topics", "create the topics that headrace.toml asks for", "headrace topics apply")
    add_command(topics, "apply", _apply, "create what is missing, say what differs; safe to run twice")


def _init(args: argparse.Namespace) -> None:
    place = Path(args.config or "headrace.toml")
    if place.exists():
        raise Misconfigured(f"{place} is there already")
    place.write_text(STARTER)
    print(f"{place} written; next: headrace encoder fetch minilm-l6 && headrace up")


def _check(args: argparse.Namespace) -> None:
    settings = load_placed(args.config)
    for line in missing(settings, args.config):  # the machine that checks need not be the one that has them
        print(f"warning: {line}; a process here would not start", file=sys.stderr)
    for line in advice(settings, args.config):
        print(f"warning: {line}", file=sys.stderr)
    cells = sum(len(ring.cells) for ring in settings.rings.values())
    print(f"{settings_path(args.config)}: {len(settings.rings)} rings, {cells} cells, no mistakes")


def _apply(args: argparse.Namespace) -> int:
    from topology.stream.admin import apply_topics

    settings = load_running(args.config)
    reports = asyncio.run(apply_topics(settings, wanted(settings)))
    for report in reports:
        print(report.name, "created" if report.created else "; ".join(report.differences) or "as wanted", sep="\t")
    return int(any(report.differences for report in reports))
