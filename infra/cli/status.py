"""`headrace status`: what runs, how far it is, and what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command
from infra.cli.values import number
from infra.counted import counted
from topology.addresses import load_running
from topology.pacing import PACING

if TYPE_CHECKING:
    from infra.status import Seen
    from topology.settings import Settings

MOST_TENANTS = 20  # of a ring, whose versions the text names
ABOUT = """\
say what runs, how far it is, and what is wrong. It looks at consumer groups with their members and lag, heads by ring,
Redis, and the processes of `headrace up` on this machine. Exit status: 0 all is well, 1 something is wrong, 2
misconfigured."""
EXAMPLES = """
headrace status
headrace status --watch 5
headrace status --json | jq .troubles"""


def add_commands(commands: Any) -> None:
    """Put `status` among `commands`."""
    status = add_command(commands, "status", _status, ABOUT, EXAMPLES)
    status.add_argument("--json", action="store_true", help="one JSON object a look")
    status.add_argument("--watch", type=number(above=True), metavar="SECONDS", help="look again so often, until Ctrl-C")


def _status(args: argparse.Namespace) -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what is wrong is said once, below
    logging.getLogger("topology").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_looks(args, load_running(args.config)))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _looks(args: argparse.Namespace, settings: Settings) -> int:
    from infra.observe import observe
    from infra.status import troubles

    interrupted = _told_of_interrupts()
    before, seen = None, await observe(settings)
    while not interrupted.is_set():  # a time-out that races with the cancellation can swallow it
        if before is None and any(group.lag for group in seen.groups):  # does it move?
            await asyncio.sleep(PACING.status_apart_s)
            before, seen = seen, await observe(settings)
        found = troubles(settings, seen, before)
        print(_json(seen, found) if args.json else _text(seen, found), flush=True)
        if args.watch is None:
            return int(bool(found))
        await asyncio.sleep(args.watch)
        before, seen = seen, await observe(settings)
    raise asyncio.CancelledError


def _told_of_interrupts() -> asyncio.Event:
    """Set by Ctrl-C, which also cancels this task."""
    interrupted, task = asyncio.Event(), asyncio.current_task()

    def interrupt() -> None:
        interrupted.set()
        if task is not None:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    return interrupted


def _json(seen: Seen, found: list[str]) -> str:
    from infra.status import releases

    body = asdict(seen) | {"troubles": found}
    for group, told in zip(seen.groups, body["groups"], strict=True):
        told |= {"lag": group.lag, "releases": releases(group)}
        for one, partition in zip(group.partitions, told["partitions"], strict=True):
            partition["lag"] = one.lag
    for process, told in zip(seen.processes, body["processes"], strict=True):
        told["running"] = process.running
    return json.dumps(body, ensure_ascii=False)


def _text(seen: Seen, found: list[str]) -> str:
    from infra.status import releases

    lines = [time.strftime("%H:%M:%S", time.localtime(seen.at_s))]
    lines += [f"broker   {one}" for one in seen.replicas.brokers]
    for group in seen.groups:
        if group.members or group.lag or not group.name.endswith(".backfill"):
            lags = " ".join(f"{one.number}:{one.lag}" for one in group.partitions)
            lines.append(f"group    {group.name}: {group.state}, members {group.members}, lag {group.lag} "
                         f"({lags}) of {group.topic}")
            lines += [f"release  {version}: {', '.join(names)}" for version, names in releases(group).items()]
    lines += [f"heads    ring {ring}: {counted(count, 'tenant')}" for ring, count in sorted(seen.heads.items())]
    lines += _versions(seen)
    lines += [f"cell     {ring}/{cell}: {counted(count, 'tenant')} with heads"
              for ring, counts in sorted(seen.cells.items()) if len(counts) > 1
              for cell, count in sorted(counts.items())]
    if seen.no_heads[0]:  # no trouble by itself: whose head it is stays as it was
        lines.append(f"heads    passed over, as no heads: {counted(seen.no_heads[0], 'record')}; the newest: "
                     f"{seen.no_heads[1][:200]!r}")
    if seen.redis is not None:
        limit = f"{seen.redis.max_bytes / 1e6:.0f} MB" if seen.redis.max_bytes else "no limit"
        lines.append(f"redis    {seen.redis.version}: {seen.redis.used_bytes / 1e6:.0f} MB of {limit}, "
                     f"{seen.redis.policy}")
    for one in seen.processes:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.started_s))
        lines.append(f"process  {one.name}: {one.pid}, up since {since}, restarts {one.restarts}")
    lines += [f"away     {what}: since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at_s))}, when a look first "
              "found it so" for what, at_s in seen.away_since_s.items()]
    return "\n".join([*lines, *(f"WRONG    {one}" for one in found or ())] + ([] if found else ["all is well"]))


def _versions(seen: Seen) -> list[str]:
    """Which version answers for whom, where they are few."""
    lines = []
    for ring, tenants in sorted(seen.versions.items()):
        if len(tenants) > MOST_TENANTS:
            lines.append(f"version  ring {ring}: `headrace head list --ring {ring}` names all {len(tenants)}")
        else:
            lines += [f"version  {ring}/{tenant}: {version}" for tenant, version in sorted(tenants.items())]
    return lines
