"""`headrace lag`: how far behind each group is, how old the oldest waiting record is, and how busy workers are."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import time
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command
from infra.cli.values import number
from infra.counted import counted
from topology.addresses import load_running
from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.stream import arguments

if TYPE_CHECKING:
    from infra.autoscale.signals_rates import WorkerLoad
    from infra.autoscale.signals_reading import GroupLag, PartitionLag, Reading
    from topology.settings import Settings

ABOUT = """\
how far behind every consumer group is: records and tokens that wait, the age of the oldest, what comes and what is
finished a second, how busy workers are, and when nothing will wait. Replays that have not ended too. Rates need two
looks, which lie 2.5 s apart."""
EXAMPLES = """
headrace lag
headrace lag --watch 5
headrace lag --json | jq '.groups[] | {group, lag, oldest_age_s}'
headrace lag --metrics-port 9090"""
COLUMNS = ("partition", "lag", "oldest", "arrivals/s", "finished/s", "commit", "start", "end", "")


def add_commands(commands: Any) -> None:
    """Put `lag` among `commands`."""
    lag = add_command(commands, "lag", _lag, ABOUT, EXAMPLES)
    lag.add_argument("--json", action="store_true", help="one JSON object a look")
    lag.add_argument("--watch", type=number(above=True), metavar="SECONDS", help="look again so often, until Ctrl-C")
    lag.add_argument("--metrics-port", type=arguments.port, metavar="PORT",
                     help="only serve Prometheus there, until Ctrl-C")
    arguments.add_page_host(lag)


def _lag(args: argparse.Namespace) -> int:
    if args.metrics_port is not None and args.metrics_port < 1:
        raise Misconfigured(f"--metrics-port {args.metrics_port}: a port number above 0 is wanted")
    logging.getLogger("topology").setLevel(logging.CRITICAL)  # what is wrong is said once, below
    if args.metrics_port is not None:
        return _serve(args)
    try:
        return asyncio.run(_looks(args, load_running(args.config)))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _serve(args: argparse.Namespace) -> int:
    from infra.autoscale.signals_page import serve_until
    from topology.stream.process import run_process

    settings = load_running(args.config)
    return run_process(lambda stop: serve_until(args.metrics_host, args.metrics_port, settings, stop))


async def _looks(args: argparse.Namespace, settings: Settings) -> int:
    from infra.autoscale.signals import Signals

    signals = Signals(settings)
    try:
        if not (first := await signals.look()).away:
            await asyncio.sleep(PACING.status_apart_s)
        while True:
            reading = await signals.look(replays=True) if not first.away else first
            if args.watch is None and reading.away:
                raise Unavailable(reading.away)
            print(json.dumps(reading.to_json(), ensure_ascii=False) if args.json else text_of(reading), flush=True)
            if args.watch is None:
                return 0
            await asyncio.sleep(args.watch)
            first = reading if not reading.away else await signals.look()
    finally:
        await signals.stop()


def text_of(reading: Reading) -> str:
    """The table. `?`: not known."""
    lines = [time.strftime("%H:%M:%S", time.localtime(reading.at_s))]
    if reading.away:
        return f"{lines[0]}  {reading.away}"
    for group in reading.groups:
        if group.members or group.lag or group.lane == "live":
            lines += ["", _summary(group), *_rows([COLUMNS, *(_row(one) for one in group.partitions)])]
            lines += [_worker(one) for one in group.workers]
    for replay in reading.replays:
        left = "records are left, of files" if replay.remaining is None else (
            counted(replay.remaining, "record is left", "records are left"))
        lines += ["", f"replay {replay.id}: {replay.state}, {left}"]
    return "\n".join(lines)


def _summary(group: GroupLag) -> str:
    if not group.partitions:
        return f"{group.group}: topic {group.topic} is not there: `headrace topics apply` creates it"
    tokens = "" if group.lag_tokens is None else f" ({counted(round(group.lag_tokens), 'token')})"
    drain_s = group.drain_s
    ends = "it is not known when nothing will" if drain_s is None else (
        f"none will in {drain_s:,.1f} s" if math.isfinite(drain_s) else "nothing gets less as it is now"
    )
    waits = counted(group.lag, "record waits", "records wait")
    waits = f"{waits}{tokens}, the oldest for {_figure(group.oldest_age_s)} s; {ends}" if group.lag else "nothing waits"
    return f"{group.group}: {group.state}, {counted(group.members, 'member')}; {waits}"


def _row(one: PartitionLag) -> tuple[str, ...]:
    note = "stuck" if one.stuck else "no member" if one.owned is False else ""
    age = f"{_figure(one.oldest_age_s)} s" if one.lag else "-"
    commit = "-" if one.committed is None else str(one.committed)
    return (str(one.partition), f"{one.lag:,}", age, _figure(one.arrivals_per_s), _figure(one.finished_per_s), commit,
            str(one.start), str(one.end), note)


def _rows(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [f"  {line}".rstrip() for line in lines]


def _worker(one: WorkerLoad) -> str:
    tokens = "" if not one.true_tokens_per_s else f" ({one.true_tokens_per_s:,.0f} tokens/s)"
    busy = "?" if one.busy_share is None else f"{one.busy_share:.0%}"
    return (f"  worker {one.worker}: busy {busy}, finishes {_figure(one.records_per_s)}/s, could finish "
            f"{_figure(one.true_records_per_s)}/s{tokens}")


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:,.1f}"
