"""`python -m encoder_worker --ring en`: one encoder worker process, as a container starts it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from pathlib import Path

from huggingface_hub import snapshot_download

from encoder_worker.compute import Compute
from encoder_worker.load import build as build_engine
from encoder_worker.tokens import Tokenizer
from encoder_worker.worker import EncoderWorker
from topology import topics
from topology.addresses import load_running
from topology.encoders import find_encoder, read_meta, space_of
from topology.errors import Misconfigured
from topology.pacing import ENCODER_PACING
from topology.settings import Ring, Settings
from topology.stream import metrics, sign_on
from topology.stream.embedding_cache import EmbeddingCache
from topology.stream.kafka import GroupConsumer, Producer
from topology.stream.loop import Loop
from topology.stream.process import INSTANCE_HELP, announce_ready, run_process, step_back
from topology.stream.replies import ReplyWriter

log = logging.getLogger("encoder_worker")


def main() -> int:
    """Parse the command line and run until SIGTERM. Exit codes: 0 stopped, 2 misconfigured, 75 start me again."""
    parser = argparse.ArgumentParser(prog="encoder_worker", description=__doc__)
    parser.add_argument("--config", help="headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml)")
    parser.add_argument("--ring", required=True, help="the ring whose utterances to encode")
    parser.add_argument("--lane", choices=topics.LANES, default="live", help="live traffic, or replays and batch jobs")
    parser.add_argument("--instance", default=os.environ.get("HEADRACE_INSTANCE", ""), help=INSTANCE_HELP)
    parser.add_argument("--metrics-port", type=int, default=0, help="serve Prometheus metrics there (default: not)")
    args = parser.parse_args()
    return run_process(lambda stop: run(args, stop))


async def run(args: argparse.Namespace, stop: asyncio.Event) -> None:
    """Load the encoder, then encode until `stop`."""
    settings = load_running(args.config)
    await sign_on.check(settings)
    ring = settings.rings.get(args.ring)
    if ring is None:
        raise Misconfigured(f"there is no ring {args.ring!r} in headrace.toml; known: {', '.join(settings.rings)}")
    worker, cache = build(settings, ring, args.lane)
    replies = ReplyWriter(settings.redis, settings.prefix)
    topic = topics.utterances(settings.prefix, ring.name, args.lane)
    group = topics.encoder_group(settings.prefix, ring.name, args.lane)
    consumer, producer = GroupConsumer(settings.broker, topic, group, args.instance), Producer(settings.broker)
    loop = Loop(worker, consumer, producer, replies, ENCODER_PACING)
    loop.on_assigned = lambda count: announce_ready()
    metrics.serve(args.metrics_port, "encoder", lambda: {**worker.stats(), **loop.stats()}, {"ring": ring.name})
    await loop.run(stop)
    log.info("stats %s", json.dumps({**worker.stats(), **loop.stats()}))
    await replies.close()
    if cache is not None:
        await cache.close()


def build(settings: Settings, ring: Ring, lane: topics.Lane) -> tuple[EncoderWorker, EmbeddingCache | None]:
    """The worker with its encoder loaded and timed, and its cache. Raises: Misconfigured."""
    directory = _directory(ring.encoder)
    meta = read_meta(directory)
    engine = build_engine(directory, ring.device, ring.precision, ring.threads)
    tokenizer = Tokenizer(directory, settings.limits.max_tokens, meta.prefix)
    space = space_of(directory, settings.limits.max_tokens)
    cache = None
    if settings.cache.enabled:
        version = f"{space}-{engine.precision}"
        cache = EmbeddingCache(settings.redis, settings.cache, settings.prefix, ring.name, version, engine.hidden)
    compute = Compute(engine, ring, ENCODER_PACING)
    compute.warm_up(tokenizer)
    if engine.on_gpu:
        sys.setswitchinterval(ENCODER_PACING.gil_switch_s)
    else:
        step_back()
    fixed_s, per_token_s = compute.cost.fixed_and_per_token_s
    log.info(
        "ring %s: %s in %s, space %s; a batch takes %.2f ms and %.3f ms a token", ring.name, directory.name,
        engine.precision, space, fixed_s * 1e3, per_token_s * 1e3,
    )
    worker = EncoderWorker(settings, ring, compute, tokenizer, space, cache, lane)
    return worker, cache


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
