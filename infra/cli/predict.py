"""`headrace predict`: ask a running stack."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command
from topology.errors import HeadraceError, Misconfigured

if TYPE_CHECKING:
    from producers import Headrace, Reply


def add_commands(commands: Any) -> None:
    """Put `predict` among `commands`."""
    predict = add_command(commands, "predict", _predict, "ask a running stack",
                          'headrace predict acme "turn on the light"\nheadrace predict acme --json < utterances.jsonl')
    predict.add_argument("tenant", help="whose head")
    predict.add_argument("text", nargs="?", help='the utterance; without it, {"text": …, "lang": …} lines from stdin')
    predict.add_argument("--lang", help="BCP 47 tag (default: identified from the text)")
    predict.add_argument("--deadline", type=float, help="seconds")
    predict.add_argument("--json", action="store_true", help="print replies as JSON lines")


def _predict(args: argparse.Namespace) -> int:
    return asyncio.run(_ask(args, [{"text": args.text}] if args.text is not None else _asked()))


def _asked() -> list[dict[str, Any]]:
    asked = []
    for number, line in enumerate(sys.stdin, 1):
        try:
            asked.append({"text": str(json.loads(line)["text"]), "lang": json.loads(line).get("lang")})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Misconfigured(f'standard input, line {number}: {{"text": …}} is wanted: {error}') from error
    return asked


async def _ask(args: argparse.Namespace, asked: list[dict[str, Any]]) -> int:
    from producers import Headrace

    failed = 0
    async with Headrace(args.config) as client:
        for one in asked:
            failed |= await _ask_one(client, args, one)
    return failed


async def _ask_one(client: Headrace, args: argparse.Namespace, one: dict[str, Any]) -> int:
    try:
        reply = await client.predict(
            args.tenant, one["text"], lang=one.get("lang") or args.lang, deadline=args.deadline
        )
    except HeadraceError as error:
        if args.json:
            print(json.dumps({"text": one["text"], "error": error.code, "message": str(error)}))
        else:
            print(f"headrace: {error.code}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(reply), ensure_ascii=False) if args.json else _line(reply))
    return 0


def _line(reply: Reply) -> str:
    spans = ", ".join(
        f"{e.label}={e.text!r}" + (f" ({e.value})" if e.value is not None else "") for e in reply.entities
    )
    total = f"{reply.times_ms['total']:.0f} ms"
    return f"{reply.intent} ({reply.confidence:.0%})  {spans or 'no entities'}  {total}"
