"""`headrace backfill compare`: what another version of a head would have said."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli.bar import shown
from infra.cli.command import add_command
from infra.cli.train import ring_of
from infra.cli.values import file_to_write, whole
from infra.counted import counted
from topology.addresses import load_placed, load_running

if TYPE_CHECKING:
    from infra.backfill.live import LiveWatch

TEXT = """\
Score the same utterances with two versions of a tenant's head and show what differs: agreement, changed intents,
entities, confidence, and utterances to read. A version is TENANT@VERSION, TENANT@current, or a head directory that need
not be published. Nothing is written to any topic; the page holds the tenant's texts."""
EXAMPLE = """\
headrace backfill compare acme@v1 acme@v2 --from 7d
headrace backfill compare acme@current ./acme-head --source embeddings --report acme.html"""
SHOWN = 5  # changes that are printed
NAME_CHARS = 60  # of a name in the page's file name


def add_commands(backfill: Any) -> None:
    """Put `compare` among the commands of `backfill`."""
    compare = add_command(backfill, "compare", _compare, TEXT, EXAMPLE)
    compare.add_argument("before", metavar="HEAD1")
    compare.add_argument("after", metavar="HEAD2")
    compare.add_argument("--ring", help="the ring (default: the only one)")
    compare.add_argument("--source", default="utterances", help="as of `backfill run`: utterances (default), "
                         "embeddings, or files; their lines that name no tenant are this one's")
    compare.add_argument("--from", dest="start", default="earliest", metavar="WHEN", help="as of `backfill run`")
    compare.add_argument("--to", dest="end", default="latest", metavar="WHEN", help="as of `backfill run`")
    compare.add_argument("--limit", type=whole(), default=10_000, help="utterances at most (default: 10000)")
    compare.add_argument("--ignore-live", action="store_true", help="do not give way to live traffic")
    compare.add_argument("--report", type=file_to_write, help="the page (default: compare-TENANT-V1-V2.html)")
    compare.add_argument("--json", type=file_to_write, help="write the same as JSON too")


def _compare(args: argparse.Namespace) -> int:
    from infra.backfill.compare.compare import compare
    from infra.backfill.compare.page import write_page
    from infra.backfill.job import SOURCES, Asked
    from infra.backfill.live import LiveWatch
    from infra.backfill.plan import CURRENT
    from topology.stream.process import step_back_whole

    typed = (args.before, args.after)
    needs_broker = args.source in SOURCES or any(one.endswith(f"@{CURRENT}") for one in typed)
    settings = (load_running if needs_broker else load_placed)(args.config)
    ring = ring_of(settings, args.ring)
    asked = Asked(ring.name, args.source, args.start, args.end)
    if not args.ignore_live:
        step_back_whole()
    watch = LiveWatch(settings, ring.name) if needs_broker and not args.ignore_live else None
    with shown("comparing") as show:
        def note(compared: int, read: int, why: str) -> None:
            told = f"{compared:,} compared, {counted(read, 'record')} read"
            show(compared / args.limit, f"{told}; {why}" if why else told)

        result = asyncio.run(_watched(watch, compare(settings, ring, typed, asked, args.limit, note, watch)))
    page = write_page(result, args.report or Path(_file_name(result)))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    print("\n".join(_lines(result)))
    print(f"written to {page}" + (f" and {args.json}" if args.json else ""))
    return int(not result["compared"])


async def _watched(watch: LiveWatch | None, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """What `work` gives; it waits while `watch` says that live traffic is late."""
    if watch is None:
        return await work
    await watch.start()
    try:
        return await work
    finally:
        await watch.stop()


def _file_name(result: dict[str, Any]) -> str:
    versions = result["versions"]
    names = (result["tenant"], versions["before"], versions["after"])
    return f"compare-{'-'.join(name.strip('./').replace('/', '_')[:NAME_CHARS] for name in names)}.html"


def _lines(result: dict[str, Any]) -> Iterator[str]:
    """The summary for a terminal: agreement, and the largest changes of intents."""
    versions = result["versions"]
    yield from (f"note: {text}" for text in result["warnings"])
    if not result["compared"]:
        return
    agreed, whole = result["same_intent"], result["same_result"]
    low, high = agreed["interval"]
    yield (f"{result['tenant']}, {versions['before']} -> {versions['after']}: "
           f"{counted(result['compared'], 'utterance')}, same intent {agreed['share']:.1%} "
           f"(95 % interval {low:.1%} to {high:.1%}), same result {whole['share']:.1%}, "
           f"mean confidence {result['confidence']['shift']:+.3f}")
    changed = result["changed_intents"]
    yield from (f"  {_printable(a)} -> {_printable(b)}: {count:,}" for a, b, count in changed[:SHOWN])
    if len(changed) > SHOWN:
        yield f"  {len(changed) - SHOWN} other changes: see the page"
    if refused := result["kinds"]["refused"]:
        yield f"  refused by one version only: {refused:,}"


def _printable(label: str) -> str:
    """A label as a terminal may show it: it was written by a tenant."""
    return label if label.isprintable() else repr(label)
