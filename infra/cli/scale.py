"""`headrace scale ...`: what autoscaling decided, and how it does on traces."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command, add_group
from infra.cli.values import file_to_write, number, whole
from infra.counted import counted
from topology.addresses import load_placed
from topology.errors import Misconfigured
from topology.settings import Settings, load, settings_path

if TYPE_CHECKING:
    from infra.autoscale.simulator import System
    from infra.autoscale.traces import Trace

SIMULATE = """\
try the decision on traces before anybody waits for it. The same function that scales the workers runs beside KEDA's
Kafka scaler, a CPU target and fixed fleets, over the same seeded arrivals; rivals are tuned with hindsight. It needs no
brokers. The policy is `[autoscale]` of headrace.toml, where there is one. docs/SCALING.md says what is simulated."""
HISTORY = """\
print the last decisions: when, which tier, how many workers, and why. Whoever decides on this machine writes them:
`headrace scaler`, or `headrace up --autoscale`."""
EXAMPLE = """
headrace scale simulate
headrace scale simulate --trace step --trace 'flash crowd' --rate 800 --json out.json --plot out.png
headrace scale simulate --csv monday.csv --encoder-tokens-per-s 120000     (lines of seconds,utterances a second)
headrace scale history --tier encoder/en --last 20"""
MOST_HOURS = 24.0 * 7


def add_commands(commands: Any) -> None:
    """Put `scale` among `commands`."""
    group = add_group(commands, "scale", "what autoscaling decided, and how it does on traces", EXAMPLE)
    run = add_command(group, "simulate", _simulate, SIMULATE, EXAMPLE)
    run.add_argument("--trace", action="append", metavar="NAME", help="only this one (again for more; default: all)")
    run.add_argument("--csv", type=Path, action="append", metavar="FILE",
                     help="a trace of one's own: seconds,utterances a second")
    run.add_argument("--rate", type=number(above=True), default=400.0,
                     help="utterances a second of the made-up traces (400)")
    run.add_argument("--hours", type=number(0, MOST_HOURS, above=True), default=1.0,
                     help="length of the made-up traces (1)")
    run.add_argument("--seed", type=whole(0), default=1, help="the same seed gives the same figures (1)")
    for name, kind, text in (
        ("encoder-tokens-per-s", float, "of one encoder worker (default: measured, docs/benchmarks)"),
        ("head-per-s", float, "records of one head worker (default: measured, docs/benchmarks)"),
        ("tokens", float, "of a mean utterance (15)"), ("partitions", int, "of each topic (12)"),
        ("workers", int, "of each tier at the start (default: sized for the first rate)"),
        ("start-s", float, "what a worker takes to start (default: autoscale.start_s)"),
        ("rebalance-s", float, "how long a group stands still (default: autoscale.rebalance_s)"),
        ("parcels", int, "utterances move in about so many parcels; more: finer, slower (20000)"),
    ):
        run.add_argument(f"--{name}", type=kind, help=text)
    run.add_argument("--json", type=file_to_write, metavar="FILE", help="write every run's figures here")
    run.add_argument("--plot", type=file_to_write, metavar="FILE", help="write a picture here")
    history = add_command(group, "history", _history, HISTORY, EXAMPLE)
    history.add_argument("--tier", help="only this one, such as encoder/en or head/en/a")
    history.add_argument("--last", type=whole(), default=50, help="so many lines (50)")
    history.add_argument("--json", action="store_true", help="one JSON object a line")


def _simulate(args: argparse.Namespace) -> int:
    from infra.autoscale.comparison import as_json, compare, table
    from infra.autoscale.plots import draw

    settings = _settings(args)
    system, traces = _system(args, settings), _traces(args)
    print(f"encoder worker {system.encoder.work_per_s:,.0f} tokens/s, head worker {system.head.work_per_s:,.0f}/s, "
          f"{counted(system.partitions, 'partition')}, start {system.start_s:g} s, rebalance {system.rebalance_s:g} s, "
          f"objective {system.objective_s:g} s, seed {args.seed}", file=sys.stderr)
    found = compare(system, settings.autoscale, traces, args.seed,
                    lambda setting: print(f"  {setting} ...", file=sys.stderr), args.workers or 0)
    print("\n".join(table(found)))
    if args.json:
        own = [place.stem for place in args.csv or ()]
        args.json.write_text(json.dumps(as_json(found, system, settings.autoscale, args.seed, own), indent=1) + "\n")
    if args.plot:
        draw(args.plot, traces, found, system.objective_s)
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """Those of headrace.toml, where one was named or is there; else the defaults."""
    there = args.config or settings_path().exists()
    return load(args.config) if there else Settings()


def _system(args: argparse.Namespace, settings: Settings) -> System:
    from infra.autoscale.comparison import measured
    from infra.autoscale.simulator import System

    policy = settings.autoscale
    encoder, head = measured()
    given = {name: getattr(args, name) for name in ("tokens", "partitions", "start_s", "rebalance_s", "parcels")}
    for name in ("encoder_tokens_per_s", "head_per_s", "rate", "hours", *given):
        value = getattr(args, name)
        low = 0 if name in ("start_s", "rebalance_s") else 1e-9
        if value is not None and not low <= value < 1e12:
            raise Misconfigured(f"--{name.replace('_', '-')} {value:g}: a number above 0 is wanted")
    if (args.partitions or 1) > 1_000 or args.hours > MOST_HOURS:
        raise Misconfigured(f"at most 1,000 partitions and {MOST_HOURS:g} hours can be simulated")
    system = System(encoder, head, start_s=policy.start_s, rebalance_s=policy.rebalance_s,
                    objective_s=policy.objective_s)
    system = replace(system, **{name: value for name, value in given.items() if value is not None})
    if args.workers is not None and not 1 <= args.workers <= system.partitions:
        raise Misconfigured(f"--workers {args.workers}: from 1 to as many as there are partitions")
    return replace(system, encoder=replace(encoder, work_per_s=args.encoder_tokens_per_s or encoder.work_per_s),
                   head=replace(head, work_per_s=args.head_per_s or head.work_per_s))


def _traces(args: argparse.Namespace) -> list[Trace]:
    from infra.autoscale.traces import HOUR, read_csv, synthetic

    own = [read_csv(place) for place in args.csv or ()]
    if own and not args.trace:
        return own
    known = {one.name: one for one in synthetic(args.rate, args.hours * HOUR)}
    names = args.trace or list(known)
    for name in names:
        if name not in known:
            raise Misconfigured(f"--trace {name!r}: there are {', '.join(known)}")
    return [known[name] for name in names] + own


def _history(args: argparse.Namespace) -> int:
    from infra.autoscale.history import read

    lines = [one for one in read(Path(load_placed(args.config).state_dir)) if args.tier in (None, one.tier)]
    for one in lines[-args.last:]:
        if args.json:
            print(json.dumps(asdict(one), ensure_ascii=False))
            continue
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.since_s))
        print(f"{since}  {one.tier}: {one.why}")
        for report in one.reports:
            print(f"{'':21}! {report}")
    if not lines and not args.json:
        print("nothing was decided here yet")
    return 0
