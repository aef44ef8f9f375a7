"""`headrace insights` and `headrace usage`: counting live predictions, and what was counted."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command
from infra.cli.running import running
from infra.counted import counted
from topology.errors import Misconfigured
from topology.stream import arguments

if TYPE_CHECKING:
    from infra.insights.usage import Span, Usage

ROW = "{:12}  {:24}  {:20}  {:>10}  {:>11}  {:>7}  {:>12}  {:>10}  {:>8}  {}"
INSIGHTS = """\
count a ring's live predictions, off the delivery path. By tenant and minute, hour and day: usage, errors by code,
out-of-scope share, confidence, intents, latency by stage. Several processes share the work. Stops at Ctrl-C or SIGTERM.
Exit status: 0 stopped, 2 misconfigured, 75 start it again."""
USAGE = """\
what tenants used, as `headrace insights` counted it: utterances, predictions, errors by code. Whole windows are
counted; the first line says which. Exit status: 0, 2 misconfigured, 1 the broker is away."""


def add_commands(commands: Any) -> None:
    """Put `insights` and `usage` among `commands`."""
    insights = add_command(commands, "insights", _insights, INSIGHTS,
                           "headrace insights --ring en --metrics-port 9108")
    insights.add_argument("--ring", default="", help="whose predictions to count (default: the only ring)")
    arguments.add_page(insights)
    usage = add_command(commands, "usage", _usage, USAGE,
                        "headrace usage --from 2026-11-01 --to 2026-12-01\nheadrace usage --from 2h --by minute --json")
    usage.add_argument("--from", dest="since", default="7d", metavar="TIME",
                       help="ISO 8601 (UTC where it names no zone), or an age: 15m, 2h, 7d (default: %(default)s)")
    usage.add_argument("--to", dest="until", metavar="TIME", help="the same; before it (default: now)")
    usage.add_argument("--by", choices=("minute", "hour", "day"), help="a row for each (default: one for all of it)")
    usage.add_argument("--tenant", default="", help="this one alone")
    usage.add_argument("--ring", default="", help="this one alone")
    usage.add_argument("--json", action="store_true", help="one JSON object")


def _insights(args: argparse.Namespace) -> int:
    from infra.insights.__main__ import run

    return run(args)


def _usage(args: argparse.Namespace) -> None:
    from infra.insights.usage import span_of, usage
    from infra.times import iso, time_ms

    now_s = time.time()
    from_s = time_ms(args.since, now_s) / 1e3
    to_s = time_ms(args.until, now_s) / 1e3 if args.until else now_s
    if from_s >= to_s:
        raise Misconfigured(f"--from {args.since} is not before --to {args.until or 'now'}")
    settings = running(args.config)
    if args.ring and args.ring not in settings.rings:
        raise Misconfigured(f"--ring {args.ring!r}: one of {', '.join(settings.rings)} is wanted")
    span = span_of(from_s, to_s, now_s, args.by or "")
    rings = [args.ring] if args.ring else list(settings.rings)
    rows = asyncio.run(usage(settings, rings, span, args.tenant, each=bool(args.by)))
    if args.json:
        body = {"from": iso(span.from_s * 1_000), "to": iso(span.to_s * 1_000), "windows": span.grain.name,
                "usage": [row.as_dict() for row in rows]}
        print(json.dumps(body, ensure_ascii=False))
    else:
        print("\n".join(_table(span, rows)))


def _table(span: Span, rows: list[Usage]) -> list[str]:
    from infra.times import iso

    lines = [f"{iso(span.from_s * 1_000)} to {iso(span.to_s * 1_000)}, counted by {span.grain.name}s"]
    lines.append(ROW.format("ring", "tenant", "from", "utterances", "predictions", "errors", "out of scope",
                            "confidence", "p90 ms", "by code"))
    for row in rows:
        told = row.as_dict()
        codes = ", ".join(f"{count} {code}" for code, count in told["errors"].items())
        p90 = told["latency_ms"].get("all", {}).get("p90")
        lines.append(ROW.format(
            row.ring, _plain(row.tenant), told["start"] or "", told["utterances"], told["predictions"],
            sum(told["errors"].values()), _share(told["out_of_scope_share"]), _share(told["confidence"]),
            "" if p90 is None else f"{p90:g}", _plain(codes) + ("  (partial)" if told["partial"] else ""),
        ).rstrip())
    total = sum(row.window.utterances for row in rows)
    tenants = len({(row.ring, row.tenant) for row in rows})
    return [*lines, f"{counted(total, 'utterance')} of {counted(tenants, 'tenant')}"]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _plain(text: str) -> str:
    """Names that clients made up do not steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
