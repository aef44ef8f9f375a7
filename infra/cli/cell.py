"""`headrace cell ...`: which cells take a ring's tenants, and how full they are."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command, add_group
from infra.cli.running import running
from infra.cli.train import ring_of
from infra.cli.values import number
from topology.settings import settings_path

if TYPE_CHECKING:
    from infra.fleet.cells import CellState

EXAMPLE = """
headrace cell list
headrace cell add b --ring en
headrace cell drain a --ring en"""
ADD = """\
let a cell take its share of a ring's tenants. It must stand in headrace.toml: its topics are created, a head worker of
it is waited for, and only then do tenants move: the new cell's share, and nobody else. Both cells answer meanwhile; the
order of a conversation holds. A cell that is there takes the weight that headrace.toml has now. Interrupted, it goes on
where it was."""
DRAIN = """\
give a cell's tenants to the other cells, pinned ones too, and wait until nothing waits in it. Then its head workers may
be stopped and it may be removed from headrace.toml. Interrupted, it goes on where it was; `headrace cell add` takes it
back."""
LIST = """\
print each cell with its weight, its share of the ring, tenants with heads, the room for them (max_heads), head workers
and records that wait. Exit status: 1 where a cell is at 80 % of max_heads or more, or takes tenants without standing in
headrace.toml."""
COLUMNS = ("ring", "cell", "state", "weight", "share", "heads", "of", "workers", "partitions", "lag")


def add_commands(commands: Any) -> None:
    """Put `cell` among `commands`."""
    group = add_group(commands, "cell", "let cells take a ring's tenants, or give them up", EXAMPLE)
    add = add_command(group, "add", _add, ADD, "headrace cell add b --ring en")
    add.add_argument("--wait", type=number(), default=120.0, metavar="SECONDS", help="for its head worker (120)")
    drain = add_command(group, "drain", _drain, DRAIN, "headrace cell drain a --ring en")
    for command in (add, drain):
        command.add_argument("cell")
        command.add_argument("--ring", help="the ring (default: the only one)")
        command.add_argument("--json", action="store_true", help="one JSON object: the cell as it is afterwards")
    found = add_command(group, "list", _list, LIST, "headrace cell list\nheadrace cell list --json")
    found.add_argument("--json", action="store_true", help="a JSON list")


def _add(args: argparse.Namespace) -> int:
    from infra.fleet.cells import add_cell

    settings = running(args.config)
    ring = ring_of(settings, args.ring)
    path, say = str(settings_path(args.config)), _say(args)
    asyncio.run(add_cell(settings, ring, args.cell, args.wait, path, say))
    return _tell(args, ring.name)


def _drain(args: argparse.Namespace) -> int:
    from infra.fleet.cells import drain_cell

    settings = running(args.config)
    ring = ring_of(settings, args.ring)
    asyncio.run(drain_cell(settings, ring, args.cell, str(settings_path(args.config)), _say(args)))
    return _tell(args, ring.name)


def _say(args: argparse.Namespace) -> Any:
    return (lambda line: None) if args.json else (lambda line: print(line, flush=True))


def _tell(args: argparse.Namespace, ring: str) -> int:
    from infra.fleet.cells import list_cells

    if args.json:
        found = asyncio.run(list_cells(running(args.config)))
        print(json.dumps(next(asdict(one) for one in found if (one.ring, one.cell) == (ring, args.cell))))
    return 0


def _list(args: argparse.Namespace) -> int:
    from infra.fleet.cells import list_cells

    found = asyncio.run(list_cells(running(args.config)))
    if args.json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        rows = [COLUMNS, *(_row(one) for one in found)]
        widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        for one in found:
            if one.alarm:
                print(f"WRONG    {one.alarm}")
    return int(any(one.alarm for one in found))


def _row(one: CellState) -> tuple[str, ...]:
    state = one.state if one.settled else f"{one.state}, not settled"
    return (one.ring, one.cell, state, f"{one.weight:g}", f"{one.share:.1%}", str(one.heads), str(one.max_heads),
            str(one.members), str(one.partitions), "?" if one.lag is None else str(one.lag))
