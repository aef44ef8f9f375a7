"""`python -m encoder_worker --ring en`: one encoder worker process, as a container starts it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from huggingface_hub import snapshot_download

from encoder_worker.engine import TorchEngine
from encoder_worker.tokens import Tokenizer
from encoder_worker.worker import EncoderWorker
from topology import topics
from topology.addresses import load_running
from topology.encoders import find_encoder, read_meta, space_of
from topology.errors import Misconfigured
from topology.settings import Ring, Settings
from topology.stream.kafka import GroupConsumer, Producer
from topology.stream.loop import Loop, Pace
from topology.stream.process import announce_ready, run_process
from topology.stream.replies import ReplyWriter

log = logging.getLogger("encoder_worker")


def main() -> int:
    """Parse the command line and run until SIGTERM. Exit codes: 0 stopped, 2 misconfigured, 75 start me again."""
    parser = argparse.ArgumentParser(prog="encoder_worker", description=__doc__)
    parser.add_argument("--config", help="headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml)")
    parser.add_argument("--ring", required=True, help="the ring whose utterances to encode")
    parser.add_argument("--lane", choices=topics.LANES, default="live", help="live traffic, or replays and batch jobs")
    parser.add_argument("--threads", type=int, default=0, help="torch threads on a CPU (default: torch's own choice)")
    args = parser.parse_args()
    return run_process(lambda stop: run(args, stop))


async def run(args: argparse.Namespace, stop: asyncio.Event) -> None:
    """Load the encoder, then encode until `stop`."""
    settings = load_running(args.config)
    ring = settings.rings.get(args.ring)
    if ring is None:
        raise Misconfigured(f"there is no ring {args.ring!r} in headrace.toml; known: {', '.join(settings.rings)}")
    worker = build(settings, ring, args.lane, args.threads)
    replies = ReplyWriter(settings.redis, settings.prefix)
    topic = topics.utterances(settings.prefix, ring.name, args.lane)
    group = topics.encoder_group(settings.prefix, ring.name, args.lane)
    loop = Loop(worker, GroupConsumer(settings.broker, topic, group), Producer(settings.broker), replies, Pace())
    loop.on_assigned = lambda count: announce_ready()
    await loop.run(stop)
    await replies.close()


def build(settings: Settings, ring: Ring, lane: topics.Lane, threads: int) -> EncoderWorker:
    """The worker with its encoder loaded. Raises: Misconfigured."""
    directory = _directory(ring.encoder)
    meta = read_meta(directory)
    engine = TorchEngine(directory, ring.device, ring.precision, threads)
    tokenizer = Tokenizer(directory, settings.limits.max_tokens, meta.prefix)
    engine.encode([row.ids for row in tokenizer.rows(["warm up"])])
    space = space_of(directory, settings.limits.max_tokens)
    log.info("ring %s: %s in %s, space %s", ring.name, directory.name, engine.precision, space)
    return EncoderWorker(settings, ring, engine, tokenizer, space, lane)


def _directory(encoder: str) -> Path:
    if (found := find_encoder(encoder)) is not None:
        return found
    try:
        return Path(snapshot_download(encoder))
    except Exception as error:  # the hub's client has a dozen error classes; all mean the same here
        raise Misconfigured(
            f"encoder {encoder!r}: no such directory, none of that name is prepared (`headrace encoder fetch "
            f"{encoder}`), and the hub gave none: {type(error).__name__}"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
