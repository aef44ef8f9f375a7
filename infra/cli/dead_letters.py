"""`headrace dead-letters`: what could not be processed, and sending it again."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command, add_group
from infra.cli.running import running
from infra.cli.values import number, whole
from infra.counted import counted
from topology.errors import Misconfigured
from topology.pacing import PACING

if TYPE_CHECKING:
    from infra.dead_letters import Filter, Letter, Replayed
    from topology.settings import Settings

ROW = "{:>8}  {:20}  {:18}  {:16}  {:40}  {}"
MESSAGE_CHARS = 60
EXAMPLES = """
headrace dead-letters list --since 2h
headrace dead-letters list --reason unknown_tenant --json
headrace dead-letters show 17
headrace dead-letters replay --reason unknown_tenant --tenant acme --dry-run"""
REPLAY = """\
send letters again to the topics they came from. Correct first what was wrong with them. Each goes with its own key,
value and headers, and with `headrace.replays`, which counts; its deadline is renewed, and nobody is replied to: the
result is on the predictions topic. Exit status: 0 all were sent, 1 some were not, each named, 2 misconfigured."""


def add_commands(commands: Any) -> None:
    """Put the group `dead-letters` among `commands`."""
    group = add_group(commands, "dead-letters", "records that could not be processed: list, look, send again", EXAMPLES)
    listing = add_command(group, "list", _list, "the letters that are there, oldest first, and how many by reason")
    _add_filters(listing)
    listing.add_argument("--json", action="store_true", help="one JSON object a line; the summary goes to stderr")
    show = add_command(group, "show", _show, "everything of one letter, as JSON, decoded where it decodes")
    show.add_argument("offset", metavar="OFFSET", help="as `list` shows it")
    _add_filters(show)
    replay = add_command(group, "replay", _replay, REPLAY)
    _add_filters(replay)
    replay.add_argument("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    replay.add_argument("--max-per-s", type=number(above=True), default=PACING.replays_per_s, metavar="N",
                        help="letters a second; they count against their tenants' quotas (default: %(default)g)")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", metavar="CODE", help="the error's code, such as unknown_tenant")
    parser.add_argument("--tenant", default="", help="whose record it is, as far as it tells")
    parser.add_argument("--topic", default="", help="where the record came from")
    parser.add_argument("--since", metavar="TIME", help="ISO 8601 (UTC where it names no zone), or an age: 15m, 2h, 7d")
    parser.add_argument("--until", metavar="TIME", help="the same; letters before it")
    parser.add_argument("--limit", type=whole(), metavar="N", help="at most so many, the oldest")


def _filter(args: argparse.Namespace) -> Filter:
    from infra.dead_letters import Filter
    from infra.times import time_ms

    now_s = time.time()
    since, until = (None if text is None else time_ms(text, now_s) for text in (args.since, args.until))
    return Filter(args.reason, args.tenant, args.topic, since, until, args.limit)


def _list(args: argparse.Namespace) -> None:
    asyncio.run(_listed(args, _filter(args), running(args.config)))


async def _listed(args: argparse.Namespace, chosen: Filter, settings: Settings) -> None:
    from infra.dead_letters import letters

    reasons: Counter[str] = Counter()
    async with aclosing(letters(settings, chosen)) as found:
        async for letter in found:
            if not args.json and not reasons:
                print(ROW.format("offset", "time", "reason", "tenant", "from", "message"))
            reasons[letter.reason] += 1
            print(_json(_summary(letter)) if args.json else _row(letter))
    each = ", ".join(f"{count} {_plain(reason) or '(none)'}" for reason, count in reasons.most_common())
    limited = ", as far as --limit goes" if reasons.total() == chosen.limit else ""
    told = f"{counted(reasons.total(), 'dead letter')}{': ' if each else ''}{each}{limited}"
    print(told, file=sys.stderr if args.json else sys.stdout)


def _row(letter: Letter) -> str:
    from infra.times import iso

    message = letter.told("exception.message")
    cut = f"{message[: MESSAGE_CHARS - 1]}…" if len(message) > MESSAGE_CHARS else message
    return ROW.format(letter.name, iso(letter.record.timestamp_ms),
                      *map(_plain, (letter.reason, letter.tenant, letter.origin, cut)))


def _summary(letter: Letter) -> dict[str, Any]:
    from infra.times import iso

    return {
        "partition": letter.record.partition, "offset": letter.record.offset,
        "time": iso(letter.record.timestamp_ms), "timestamp_ms": letter.record.timestamp_ms,
        "reason": letter.reason, "tenant": letter.tenant,
        "from": {name: letter.told(name) for name in ("topic", "partition", "offset")},
        "message": letter.told("exception.message"), "replays": letter.replays, "cut": letter.cut,
    }


def _show(args: argparse.Namespace) -> int:
    from dataclasses import replace

    place = re.fullmatch(r"(?:(\d{1,9}):)?(\d{1,18})", args.offset, re.ASCII)
    if place is None:
        raise Misconfigured(f"{args.offset!r} is no letter: an offset is wanted, or PARTITION:OFFSET")
    chosen = replace(_filter(args), place=(int(place[1] or 0), int(place[2])))
    return asyncio.run(_shown(args, chosen, running(args.config)))


async def _shown(args: argparse.Namespace, chosen: Filter, settings: Settings) -> int:
    from infra.dead_letters import letters
    from infra.decoded import decoded, text_of
    from topology.stream.records import CUT, own_headers

    async with aclosing(letters(settings, chosen)) as found:
        async for letter in found:
            body = _summary(letter) | {
                "exception": letter.told("exception.class.name"),
                "stacktrace": letter.told("exception.stacktrace").splitlines(),
                "key": text_of(letter.record.key),
                "headers": [[name, text_of(value)] for name, value in own_headers(letter.record)],
                "size_before": {name: text_of(letter.headers[f"{CUT}{name}"]) for name in letter.cut},
                "value": decoded(letter.record.value),
            }
            print(_json(body, indent=2))
            return 0
    print(f"headrace: there is no dead letter {args.offset} that these filters let pass", file=sys.stderr)
    return 1


def _replay(args: argparse.Namespace) -> int:
    return asyncio.run(_replayed(args, _filter(args), running(args.config)))


async def _replayed(args: argparse.Namespace, chosen: Filter, settings: Settings) -> int:
    from infra.dead_letters import Replay

    replay = Replay(settings, lambda line: print(_plain(line)), args.dry_run, args.max_per_s)
    try:
        await replay.run(chosen)
    finally:
        print(_told(replay.done, args.dry_run))
    return int(bool(replay.done.left))


def _told(done: Replayed, dry_run: bool) -> str:
    left = "".join(f", {count} not ({why})" for why, count in done.left.most_common())
    back = counted(done.came_back, "has", "have")
    came_back = f", {back} come back before: the newest stands for all" if done.came_back else ""
    verbs = ("letter would be", "letters would be") if dry_run else ("letter was", "letters were")
    return f"{counted(done.sent, *verbs)} sent{left}{came_back}"


def _plain(text: str) -> str:
    """Text that anybody may have written, on one line and without what a terminal would obey."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _json(body: dict[str, Any], indent: int | None = None) -> str:
    text = json.dumps(body, ensure_ascii=False, indent=indent)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
