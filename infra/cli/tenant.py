"""`headrace tenant ...`: where tenants live, and having them live elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command, add_group
from infra.cli.running import running
from infra.cli.train import ring_of

if TYPE_CHECKING:
    from infra.fleet.tenants import Where

EXAMPLE = """
headrace tenant where acme
headrace tenant move acme --to b
headrace tenant list --cell b"""
MOVE = """\
have a tenant live in another cell. It is pinned there, and the command waits until every encoder worker has heard of it
and its former cell has finished what it holds. Both cells answer meanwhile; nothing is lost or answered twice, and the
order of a conversation holds. Interrupted, the move holds; the same command waits on."""
PIN = """\
keep a tenant where it lives, whatever happens to the shares of cells; with --cell it moves there, as `tenant move`
does. A cell that is drained gives up its pinned tenants too."""
UNPIN = """\
let a tenant live where its ring's shares put it, or a pin in headrace.toml. It moves there as `tenant move` moves
it."""
WORDS = {"share": "by the ring's shares", "pinned": "pinned by a command", "file": "pinned in headrace.toml"}


def add_commands(commands: Any) -> None:
    """Put `tenant` among `commands`."""
    group = add_group(commands, "tenant", "where tenants live, and having them live elsewhere", EXAMPLE)
    move = add_command(group, "move", _move, MOVE, "headrace tenant move acme --to b")
    move.add_argument("--to", required=True, dest="cell", metavar="CELL", help="where it is to live")
    pin = add_command(group, "pin", _move, PIN, "headrace tenant pin acme\nheadrace tenant pin acme --cell b")
    pin.add_argument("--cell", default="", help="the cell (default: where it lives)")
    unpin = add_command(group, "unpin", _unpin, UNPIN, "headrace tenant unpin acme")
    where = add_command(group, "where", _where, "the cell of a tenant, and why it lives there",
                        "headrace tenant where acme")
    found = add_command(group, "list", _list, "tenants that have heads or are pinned, with their cells",
                        "headrace tenant list --cell b")
    found.add_argument("--cell", default="", help="only of this cell")
    for command in (move, pin, unpin, where):
        command.add_argument("tenant")
    for command in (move, pin, unpin):
        command.add_argument("--no-wait", action="store_true", help="return before its former cell has finished")
    for command in (move, pin, unpin, where, found):
        command.add_argument("--ring", help="the ring (default: the only one)")
        command.add_argument("--json", action="store_true", help="JSON")


def _move(args: argparse.Namespace) -> None:
    from infra.fleet.tenants import move

    settings = running(args.config)
    ring = ring_of(settings, args.ring)
    found = asyncio.run(move(settings, ring, args.tenant, args.cell, not args.no_wait, _say(args)))
    _print(args, found)


def _unpin(args: argparse.Namespace) -> None:
    from infra.fleet.tenants import unpin

    settings = running(args.config)
    ring = ring_of(settings, args.ring)
    _print(args, asyncio.run(unpin(settings, ring, args.tenant, not args.no_wait, _say(args))))


def _where(args: argparse.Namespace) -> None:
    from infra.fleet.tenants import find

    settings = running(args.config)
    _print(args, asyncio.run(find(settings, ring_of(settings, args.ring), args.tenant)), with_head=True)


def _list(args: argparse.Namespace) -> None:
    from infra.fleet.tenants import list_tenants

    settings = running(args.config)
    found = asyncio.run(list_tenants(settings, ring_of(settings, args.ring), args.cell))
    if args.json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False))
        return
    for one in found:
        print(_text(one, with_head=True))


def _say(args: argparse.Namespace) -> Any:
    return (lambda line: None) if args.json else (lambda line: print(line, flush=True))


def _print(args: argparse.Namespace, found: Where, with_head: bool = False) -> None:
    if args.json:
        body = asdict(found)
        if not with_head:
            del body["has_head"]
        print(json.dumps(body, ensure_ascii=False))
    else:
        print(_text(found, with_head))


def _text(one: Where, with_head: bool) -> str:
    former = f"; records may wait in {', '.join(one.former)}" if one.former else ""
    no_head = "; it has no head" if with_head and not one.has_head else ""
    return f"{one.ring}/{one.tenant}: {one.cell}, {WORDS[one.why]}{former}{no_head}"
