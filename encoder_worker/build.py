"""A ring's encoder worker with its encoder loaded and timed."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from huggingface_hub import snapshot_download

from encoder_worker.compute import Compute
from encoder_worker.languages import check_languages
from encoder_worker.load import build as build_engine
from encoder_worker.routes import routes_of
from encoder_worker.tokens import Tokenizer
from encoder_worker.worker import EncoderWorker
from topology import topics
from topology.encoders import find_encoder, read_meta, space_of
from topology.errors import Misconfigured
from topology.pacing import ENCODER_PACING
from topology.settings import Ring, Settings
from topology.stream.embedding_cache import EmbeddingCache
from topology.stream.process import step_back

log = logging.getLogger(__name__)


def build(
    settings: Settings, ring: Ring, lane: topics.Lane, kind: type[EncoderWorker] = EncoderWorker
) -> tuple[EncoderWorker, EmbeddingCache | None]:
    """The worker, of class `kind`, and its cache. Raises: Misconfigured."""
    directory = _directory(ring.encoder)
    meta = read_meta(directory)
    engine = build_engine(directory, ring.device, ring.precision, ring.threads)
    tokenizer = Tokenizer(directory, settings.limits.max_tokens, meta.prefix)
    check_languages(ring.name, ring.encoder, tokenizer, ring.languages)
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
    return kind(settings, ring, compute, tokenizer, space, cache, lane, routes_of(settings, ring, lane)), cache


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
