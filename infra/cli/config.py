"""`headrace init`, `headrace config` and `headrace topics`: the file, and what it asks of Kafka."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command, add_group
from infra.cli.running import running
from infra.cli.values import number
from infra.counted import counted
from infra.languages import check_ring
from topology.addresses import load_placed, load_running
from topology.errors import Misconfigured
from topology.settings import advice, doubted, missing, settings_path
from topology.topics import wanted

if TYPE_CHECKING:
    from infra.topic_cost import TopicCost
    from infra.zone_cost import Crossing
    from topology.settings import Settings
    from topology.stream.admin import TopicReport

STARTER = """\
# headrace.toml: checked whole by `headrace config check`.
[rings.en]
languages = ["en"]
encoder = "minilm-l6"     # a directory, a prepared name (`headrace encoder fetch`), or a Hugging Face id
[rings.en.cells.a]
"""
APPLY = "create what is missing, say what differs; safe to run twice. Exit status: 0 as wanted, 1 something differs"
PRODUCTION = "set and check what survives the loss of a zone: at least 3 brokers, 3 replicas of each partition, \
min.insync.replicas 2, no unclean leader election"
COST = """\
say what topics cost. Bytes are the mean of the newest records of each partition, uncompressed, each in a batch of its
own: at most what they take on disk. Records a second are those of the last hour. Where a topic has no records, the
bytes are reckoned for a made-up utterance of 15 tokens (marked ~). GB a day are of one replica, GB kept of all."""
APPLY_RATE = 100.0  # utterances a second that `topics apply` tells the cost of kept embeddings for


def add_commands(commands: Any) -> None:
    """Put `init`, `config` and `topics` among `commands`."""
    add_command(commands, "init", _init, "write a headrace.toml to start from")
    config = add_group(commands, "config", "check headrace.toml", "headrace --config headrace.toml config check")
    add_command(config, "check", _check, "name every mistake with its line")
    topics = add_group(commands, "topics", "create the topics that headrace.toml asks for, and say what they cost",
                       "headrace topics apply\nheadrace topics cost --rate 100")
    apply = add_command(topics, "apply", _apply, APPLY)
    apply.add_argument("--production", action="store_true", help=PRODUCTION)
    cost = add_command(topics, "cost", _cost, COST)
    cost.add_argument("--rate", type=number(above=True), metavar="N",
                      help="utterances a second of each ring, instead of measured")
    cost.add_argument("--zones", action="store_true", help="also what crosses three zones, and what that costs")
    cost.add_argument("--gb-price", type=number(), metavar="PRICE",
                      help="of a GB from zone to zone, both sides together (default: 0.02)")
    cost.add_argument("--json", action="store_true", help="one JSON object")


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
    for line in [*advice(settings, args.config), *doubted(settings, args.config)]:
        print(f"warning: {line}", file=sys.stderr)
    check_scheme(settings)
    for ring in settings.rings.values():
        check_ring(settings, ring)
    rings, cells = len(settings.rings), sum(len(ring.cells) for ring in settings.rings.values())
    print(f"{settings_path(args.config)}: {counted(rings, 'ring')}, {counted(cells, 'cell')}, no mistakes")


def check_scheme(settings: Settings) -> None:
    """Raises: Misconfigured where no library knows where heads are stored."""
    scheme, is_url, _ = settings.heads.store.partition("://")
    if not is_url or find_spec("fsspec") is None:
        return
    if scheme not in importlib.import_module("fsspec").available_protocols():
        raise Misconfigured(f"heads.store: no library knows {scheme}://; a directory, s3://, gs:// or az:// is wanted")


def _apply(args: argparse.Namespace) -> int:
    from infra.fleet.changes import begin
    from topology.stream.admin import apply_topics

    settings = load_running(args.config)
    if args.production:
        reports = _apply_production(settings, args.config)
    else:
        reports = asyncio.run(apply_topics(settings, wanted(settings)))
    for report in reports:
        print(report.name, "created" if report.created else "; ".join(report.differences) or "as wanted", sep="\t")
    for ring, cells in asyncio.run(begin(settings)).items():
        for cell in cells:
            print(f"cell {cell} of ring {ring} takes no tenants yet: `headrace cell add {cell} --ring {ring}`")
    for line in _kept_embeddings(settings):
        print(line)
    return int(any(report.differences for report in reports))


def _apply_production(settings: Settings, config: str | None) -> list[TopicReport]:
    from topology.stream.production import apply_production
    from topology.topics import for_production

    if settings.broker.kind == "embedded":
        raise Misconfigured("the embedded broker is one process and keeps nothing: --production needs Apache Kafka")
    found = asyncio.run(apply_production(settings))
    for line in found.advice:
        print(f"warning: {line}", file=sys.stderr)
    for name, value in vars(for_production(settings).topics).items():
        if value != (given := getattr(settings.topics, name)):
            print(f"warning: {settings_path(config)}: topics.{name} is {given}: write {value}, or a topic that is "
                  "created without --production has fewer", file=sys.stderr)
    return found.topics


def _kept_embeddings(settings: Settings) -> list[str]:
    """A line for each ring whose embeddings are kept for longer or shorter than the default."""
    from infra.topic_cost import kept_embeddings
    from topology.settings import Ring

    lines = []
    for ring in settings.rings.values():
        if ring.embeddings_hours != Ring.embeddings_hours:
            a_day, kept = kept_embeddings(settings, ring, APPLY_RATE)
            lines.append(f"ring {ring.name} keeps embeddings for {ring.embeddings_hours:g} h: for each "
                         f"{APPLY_RATE:g} utterances/s {a_day:.4g} GB a day and replica, {kept:.4g} GB in all "
                         "(reckoned; `headrace topics cost` measures)")
    return lines


def _cost(args: argparse.Namespace) -> None:
    from infra.topic_cost import costs, summed
    from infra.zone_cost import GB_PRICE, crossings
    from topology.stream.traffic import read_traffic

    settings = running(args.config)
    if args.rate is None and settings.broker.kind == "embedded":
        raise Misconfigured("the embedded broker keeps no times, so no rate can be measured: give --rate N")
    traffic = asyncio.run(read_traffic(settings.broker, [spec.name for spec in wanted(settings)]))
    found = costs(settings, traffic, args.rate)
    sums, crossing = summed(found), crossings(settings, found) if args.zones else []
    if args.json:
        print(json.dumps({"topics": [asdict(one) for one in found], "zones": [asdict(one) for one in crossing],
                          "rings": {name: asdict(one) for name, one in sums.items()}}))
        return
    print(f"{'topic':48} {'B/record':>9} {'records/s':>10} {'B/utterance':>12} {'GB/day':>9} {'GB kept':>9}")
    for one in [*found, *sums.values()]:
        print(_cost_row(one, one in sums.values()))
    for ring in crossing:
        print(_crossing_lines(ring, GB_PRICE if args.gb_price is None else args.gb_price))


def _cost_row(one: TopicCost, is_sum: bool) -> str:
    each = "" if is_sum else f"{'' if one.measured else '~'}{one.bytes_each:.0f}"
    per_s = "" if is_sum else f"{one.per_s:.4g}"
    return (f"{one.topic:48} {each:>9} {per_s:>10} {one.bytes_an_utterance:>12.0f} {one.gb_a_day:>9.4g} "
            f"{one.kept_gb:>9.4g}")


def _crossing_lines(ring: Crossing, gb_price: float) -> str:
    lines = [f"ring {ring.ring}, from zone to zone for each utterance: {ring.written:.0f} B written to leaders, "
             f"{ring.replicated:.0f} B replicated, {ring.fetched:.0f} B fetched (0 with broker.rack)"]
    for nearest, how in ((False, "without broker.rack"), (True, "with broker.rack")):
        a_day = ring.gb_a_day(ring.per_s, nearest)
        lines.append(f"  {how}: {a_day:.4g} GB a day, {a_day * gb_price:.4g} a day at {gb_price:g} for each GB")
    return "\n".join(lines)
