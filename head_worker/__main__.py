"""`python -m head_worker --ring en --cell a`: one head worker process, as a container starts it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from pathlib import Path

from head_worker.answered import Answered
from head_worker.cache import HeadCache
from head_worker.room import Room
from head_worker.store import open_store
from head_worker.worker import HeadWorker
from topology import topics
from topology.addresses import load_running
from topology.errors import Misconfigured
from topology.pacing import PACING
from topology.placement import Placement
from topology.settings import Settings
from topology.stream import arguments, metrics, sign_on
from topology.stream.health import Health
from topology.stream.kafka import Producer
from topology.stream.page import Page
from topology.stream.placed import PlacedConsumer, PlacedLoop
from topology.stream.placement import PlacementFollower
from topology.stream.process import INSTANCE_HELP, run_process
from topology.stream.registry import RegistryFollower
from topology.stream.replies import ReplyWriter
from topology.stream.work import WorkNotes

log = logging.getLogger("head_worker")


def main() -> int:
    """Parse the command line and run until SIGTERM. Exit codes: 0 stopped, 2 misconfigured, 75 start me again."""
    args = make_parser().parse_args()
    return run_process(lambda stop: run(args, stop))


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="head_worker", description=__doc__)
    parser.add_argument("--config", help="headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml)")
    parser.add_argument("--ring", required=True, help="the ring the cell belongs to")
    parser.add_argument("--cell", required=True, help="the cell whose tenants to serve")
    parser.add_argument("--lane", choices=topics.LANES, default="live", help="live traffic, or replays and batch jobs")
    parser.add_argument("--instance", default=os.environ.get("HEADRACE_INSTANCE", ""), help=INSTANCE_HELP)
    arguments.add_page(parser)
    return parser


async def run(args: argparse.Namespace, stop: asyncio.Event) -> None:
    """Read the registry to its end, then score until `stop`."""
    health = Health(stop)
    health.follow_loop()
    read = health.awaits("the registry of heads is being read")
    assigned = health.awaits("no partitions are assigned yet")
    page = Page(args.metrics_host, args.metrics_port, health)
    settings = load_running(args.config)
    await sign_on.check(settings)
    _check(settings, args.ring, args.cell)
    heads, room, registry, follower = await _told(settings, args.ring, args.cell)
    read()
    replies = ReplyWriter(settings.redis, settings.prefix)
    source = settings.prefix, args.ring, args.cell, args.lane
    worker = HeadWorker(settings, args.ring, args.cell, heads, args.lane, Answered(replies))
    consumer = PlacedConsumer(
        settings.broker, topics.embeddings(*source), topics.head_group(*source), args.instance
    )
    producer = Producer(settings.broker)
    # Callers have results as replies already, so predictions linger.
    loop = PlacedLoop(worker, consumer, producer, replies, follower, linger_s=PACING.prediction_linger_s)
    loop.on_assigned = lambda count: assigned()

    def figures() -> dict[str, float]:
        return {**worker.stats(), **loop.stats(), **consumer.zones.stats()}

    loop.note = WorkNotes(args.instance, figures)
    labels = {"ring": args.ring, "cell": args.cell}
    page.tell(metrics.of_worker("head", lambda: {**figures(), **room.stats()}, labels, worker.stages))
    following = asyncio.create_task(registry.follow())
    following.add_done_callback(loop.note_failure)
    try:
        await loop.run(stop)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        log.info("stats %s", json.dumps(figures()))
        await registry.stop()
        await replies.close()


async def _told(
    settings: Settings, ring: str, cell: str
) -> tuple[HeadCache, Room, RegistryFollower, PlacementFollower]:
    """The ring's heads and where its tenants live, both read to their ends."""
    store = open_store(settings.heads, Path(settings.state_dir) / "heads-cache")
    heads = HeadCache(ring, store, settings.heads.memory_mb << 20, settings.heads.pinned)
    placement = Placement(settings.rings[ring])
    follower = PlacementFollower(settings.broker, topics.placement(settings.prefix), placement)
    await follower.start()
    room = Room(placement, cell, heads.apply)
    registry = RegistryFollower(settings.broker, topics.heads(settings.prefix), room.apply, ring)
    log.info("registry read: %d records", await registry.start())
    return heads, room, registry, follower


def _check(settings: Settings, ring: str, cell: str) -> None:
    if ring not in settings.rings:
        raise Misconfigured(f"there is no ring {ring!r} in headrace.toml; known: {', '.join(settings.rings)}")
    if cell not in settings.rings[ring].cells:
        known = ", ".join(settings.rings[ring].cells)
        raise Misconfigured(f"ring {ring!r} has no cell {cell!r} in headrace.toml; known: {known}")


if __name__ == "__main__":
    sys.exit(main())
