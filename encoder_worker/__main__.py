"""`python -m encoder_worker --ring en`: one encoder worker process, as a container starts it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys

from encoder_worker.build import build
from topology import topics
from topology.addresses import load_running
from topology.errors import Misconfigured
from topology.pacing import ENCODER_PACING
from topology.stream import arguments, metrics, sign_on
from topology.stream.health import Health
from topology.stream.kafka import Producer
from topology.stream.page import Page
from topology.stream.placed import PlacedConsumer, PlacedLoop
from topology.stream.placement import PlacementFollower
from topology.stream.process import INSTANCE_HELP, run_process
from topology.stream.replies import ReplyWriter
from topology.stream.work import WorkNotes

log = logging.getLogger("encoder_worker")


def main() -> int:
    """Parse the command line and run until SIGTERM. Exit codes: 0 stopped, 2 misconfigured, 75 start me again."""
    args = make_parser().parse_args()
    return run_process(lambda stop: run(args, stop))


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="encoder_worker", description=__doc__)
    parser.add_argument("--config", help="headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml)")
    parser.add_argument("--ring", required=True, help="the ring whose utterances to encode")
    parser.add_argument("--lane", choices=topics.LANES, default="live", help="live traffic, or replays and batch jobs")
    parser.add_argument("--instance", default=os.environ.get("HEADRACE_INSTANCE", ""), help=INSTANCE_HELP)
    arguments.add_page(parser)
    return parser


async def run(args: argparse.Namespace, stop: asyncio.Event) -> None:
    """Load the encoder, then encode until `stop`."""
    health = Health(stop)
    health.follow_loop()
    loaded, assigned = health.awaits("the encoder is being loaded"), health.awaits("no partitions are assigned yet")
    page = Page(args.metrics_host, args.metrics_port, health)
    settings = load_running(args.config)
    await sign_on.check(settings)
    ring = settings.rings.get(args.ring)
    if ring is None:
        raise Misconfigured(f"there is no ring {args.ring!r} in headrace.toml; known: {', '.join(settings.rings)}")
    worker, cache = build(settings, ring, args.lane)
    loaded()
    follower = PlacementFollower(settings.broker, topics.placement(settings.prefix), worker.routes.placement)
    await follower.start()
    replies = ReplyWriter(settings.redis, settings.prefix)
    topic = topics.utterances(settings.prefix, ring.name, args.lane)
    group = topics.encoder_group(settings.prefix, ring.name, args.lane)
    consumer, producer = PlacedConsumer(settings.broker, topic, group, args.instance), Producer(settings.broker)
    loop = PlacedLoop(worker, consumer, producer, replies, follower, ENCODER_PACING)
    loop.on_placed, loop.on_delivered = worker.routes.assigned, lambda outcome: worker.routes.delivered(outcome.done)
    loop.on_assigned = lambda count: assigned()

    def figures() -> dict[str, float]:
        return {**worker.stats(), **loop.stats(), **consumer.zones.stats(), "placed": loop.placed}

    loop.note = WorkNotes(args.instance, figures)
    page.tell(metrics.of_worker("encoder", figures, {"ring": ring.name}, worker.stages))
    await loop.run(stop)
    log.info("stats %s", json.dumps(figures()))
    await worker.routes.stop()
    await replies.close()
    if cache is not None:
        await cache.close()


if __name__ == "__main__":
    sys.exit(main())
