"""`headrace plan`: what so many tenants need, with every formula."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from infra.cli.command import add_command

PLAN = """\
reckon what tenants and utterances need: rings, cells, partitions, brokers, encoders, head workers, memory, network,
disk, Redis, replays, cost; the same as whole models; and what breaks first. Every line has its formula and its numbers.
It needs no brokers. Rates are measured ones (docs/PLAN.md) or yours (`headrace bench ... --json`); prices are
assumptions or yours."""
EXAMPLE = """
headrace plan --tenants 100000 --tps 1000 --languages en:3,de,fr
headrace plan --tenants 1000000 --tps 10000 --languages en,de --active-share 0.02 --rates .headrace/bench --json
"""


def add_commands(commands: Any) -> None:
    """Put `plan` among `commands`."""
    parser = add_command(commands, "plan", _plan, PLAN, EXAMPLE)
    for name, kind, text in (
        ("tokens", float, "of a mean utterance (15)"),
        ("active-share", float, "of tenants that ask within minutes of each other (0.1)"),
        ("zones", int, "availability zones, of which one may be lost (3)"),
        ("objective-ms", float, "p90 that is to hold (35)"),
        ("replays-share", float, "utterances replayed, for each live one (0)"),
        ("embeddings-hours", float, "that embeddings are kept (1)"),
        ("retention-hours", float, "that utterances and results are kept (168)"),
        ("asked-later-share", float, "of requests by submit() or an id of their own, whose replies are kept (0.1)"),
        ("fetch-share", float, "of fetches that cross zones (default: by chance, (zones - 1) / zones)"),
    ):
        parser.add_argument(f"--{name}", type=kind, help=text)
    parser.add_argument("--tenants", type=int, required=True)
    parser.add_argument("--tps", type=float, required=True, help="utterances a second, at the peak")
    parser.add_argument("--languages", default="en", help="en,de or en:3,de:1 for three parts and one (en)")
    parser.add_argument("--rates", type=Path, action="append", default=[], metavar="PLACE",
                        help="a result of `headrace bench --json`, or a directory of them (again for more)")
    parser.add_argument("--prices", type=Path, metavar="FILE", help="a price table (default: assumptions)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _plan(args: argparse.Namespace) -> None:
    from infra.plan.asked import Asked, read_languages
    from infra.plan.fleet import plan
    from infra.plan.page import as_json, page
    from infra.plan.prices import BUILT_IN, read_prices
    from infra.plan.rates import read_rates

    names = ("tokens", "active_share", "zones", "objective_ms", "replays_share", "embeddings_hours", "retention_hours",
             "asked_later_share", "fetch_share")
    said = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    asked = Asked(args.tenants, args.tps, read_languages(args.languages), **said)
    rates, (currency, prices) = read_rates(args.rates), read_prices(args.prices)
    found = plan(asked, rates, currency, prices)
    if args.json:
        print(json.dumps(as_json(found, rates, prices), ensure_ascii=False))
        return
    priced = str(args.prices) if args.prices else f"assumptions of {BUILT_IN.name}, not facts"
    print("\n".join(page(found, rates, prices, priced)))
