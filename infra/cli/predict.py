"""`headrace predict`: ask a running stack."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command
from infra.cli.values import number
from topology.addresses import load_running
from topology.errors import HeadraceError, InvalidUtterance, Misconfigured
from topology.names import fault_of_name
from topology.pacing import PACING

if TYPE_CHECKING:
    from producers import Headrace, Reply
    from topology.settings import Settings

WANTED = 'headrace predict TENANT TEXT is wanted, or {"text": "…"} lines at the standard input'


def add_commands(commands: Any) -> None:
    """Put `predict` among `commands`."""
    predict = add_command(commands, "predict", _predict, "ask a running stack",
                          'headrace predict acme "turn on the light"\nheadrace predict acme --json < utterances.jsonl')
    predict.add_argument("tenant", help="whose head")
    predict.add_argument("text", nargs="?", help='the utterance; without it, {"text": …, "lang": …} lines from stdin')
    predict.add_argument("--lang", help="BCP 47 tag (default: identified from the text)")
    predict.add_argument("--deadline", type=number(0, 86_400, above=True), help="seconds")
    predict.add_argument("--json", action="store_true", help="print replies as JSON lines")


def _predict(args: argparse.Namespace) -> int:
    if fault := fault_of_name(args.tenant):
        raise Misconfigured(f"tenant: {fault}; {WANTED}")
    if args.text is not None:
        return asyncio.run(_ask_all(args, [json.dumps({"text": args.text}).encode()]))
    if sys.stdin is None:
        raise Misconfigured("standard input is closed: give the utterance, or lines of JSON")
    if sys.stdin.isatty():
        print(f"headrace: no text for {args.tenant!r}: {WANTED}", file=sys.stderr)
    return asyncio.run(_ask_all(args, sys.stdin.buffer))


async def _ask_all(args: argparse.Namespace, lines: Iterable[bytes]) -> int:
    """Replies in the order of the lines, each printed once those before it are; `pacing.max_at_once` in flight, and no
    line is read beyond them. Blank lines are passed over."""
    from producers import Headrace

    failed, said, reading = 0, "", _Reading(lines)
    async with Headrace(_settings(args)) as client:
        asking = asyncio.Queue[asyncio.Task[tuple[int, str]] | None]()

        async def ask() -> None:
            try:
                while (line := await reading.next()) is not None:
                    asking.put_nowait(asyncio.create_task(_ask_one(client, args, *line)))
            finally:
                asking.put_nowait(None)

        asked = asyncio.create_task(ask())
        while (one := await asking.get()) is not None:
            status, said = await one
            failed |= status
            print(said, file=sys.stderr if status and not args.json else sys.stdout, flush=True)
            reading.room.release()
        await asked  # raises what standard input did
    if not said and not sys.stdin.isatty():
        print(f"headrace: no text for {args.tenant!r}, nothing was asked: {WANTED}", file=sys.stderr)
    return failed


def _settings(args: argparse.Namespace) -> Settings:
    """With --deadline as the default of every call, and of connecting."""
    settings = load_running(args.config)
    if args.deadline is None:
        return settings
    return replace(settings, limits=replace(settings.limits, deadline_s=args.deadline))


class _Reading:
    """Lines read by a thread of their own, which nobody waits for at the end: standard input may stay open. A line
    takes one of `room`, which the caller gives back."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.room = threading.Semaphore(PACING.max_at_once)
        self._read, self._loop = asyncio.Queue[tuple[int, bytes] | OSError | None](), asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(lines,), daemon=True).start()

    def _run(self, lines: Iterable[bytes]) -> None:
        end: OSError | None = None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            try:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        self.room.acquire()
                        self._loop.call_soon_threadsafe(self._read.put_nowait, (number, line))
            except OSError as error:  # a directory, a terminal that is gone
                end = error
            self._loop.call_soon_threadsafe(self._read.put_nowait, end)

    async def next(self) -> tuple[int, bytes] | None:
        """The next line that is not blank, with its number; None after the last. Raises: what reading it did."""
        line = await self._read.get()
        if isinstance(line, OSError):
            raise line
        return line


async def _ask_one(client: Headrace, args: argparse.Namespace, number: int, line: bytes) -> tuple[int, str]:
    """(exit status, what to print). A line that is no request costs only itself, and its error has its number."""
    text, place = line.decode(errors="replace")[:200], "" if args.text is not None else f"{_place(number)}: "
    try:
        one = _request(line)
        text = one["text"]
        reply = await client.predict(args.tenant, text, lang=one["lang"] or args.lang)
    except HeadraceError as error:
        if args.json:
            return 1, json.dumps({"text": text, "error": error.code, "message": f"{place}{error}"})
        return 1, f"headrace: {error.code}: {place}{error}"
    return 0, json.dumps(asdict(reply), ensure_ascii=False) if args.json else _line(reply)


def _place(number: int) -> str:
    return f"standard input, line {number}"


def _request(line: bytes) -> dict[str, Any]:
    """Raises: InvalidUtterance."""
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        fault = f", this is none: {error}" if line.lstrip()[:1] == b"{" else ""
        raise InvalidUtterance(f'a line is JSON: {{"text": "…"}}{fault}') from error
    if not isinstance(body, dict):
        raise InvalidUtterance('a map is wanted: {"text": "…"}')
    if "text" not in body:
        raise InvalidUtterance('text is missing: {"text": "…"} is wanted')
    for name in ("text", "lang"):
        value = body.get(name)
        if not isinstance(value, str) and (name == "text" or value is not None):
            raise InvalidUtterance(f"{name}: a string is wanted, this is {json.dumps(value)[:40]}")
    return {"text": body["text"], "lang": body.get("lang")}


def _line(reply: Reply) -> str:
    spans = ", ".join(
        f"{e.label}={e.text!r}" + (f" ({e.value})" if e.value is not None else "") for e in reply.entities
    )
    total = f"{reply.times_ms['total']:.0f} ms"
    intent = f"{reply.intent} ({reply.confidence:.0%})"
    if reply.out_of_scope:
        intent = f"out of scope (nearest: {intent})"
    return f"{intent}  {spans or 'no entities'}  {total}"
