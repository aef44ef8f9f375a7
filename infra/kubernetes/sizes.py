"""What each kind of pod asks for, from what was measured.

A request is what it uses; a limit of memory is where something is wrong. Processors have no limit: the kernel's
throttling stops a process for up to 100 ms, three times the p90 that is aimed at.
"""

from __future__ import annotations

from typing import Any

from infra.kubernetes.text import Noted
from topology.pacing import PACING
from topology.settings import Ring, Settings

# Utterances of 15 tokens that one worker does in a second.
ENCODER_PER_S = 536  # int8 on one core, one at a time: docs/benchmarks/engine.json
GPU_PER_S = 1_747  # one at a time, the least of any batch: docs/benchmarks/engine-h200.json
HEAD_PER_S = 687  # a worker on one core, at p90 25 ms: docs/benchmarks/heads.json
REPLY_BYTES = 1_300  # in Redis, until redis.reply_ttl_s is over
QUEUED_MI = PACING.max_queued_bytes >> 20


def resources(cpu: Noted | str, memory_mi: int, limit_mi: int, note: str, **more: Any) -> dict[str, Any]:
    """Requests and limits; `more`: such as GPUs, which are asked for as they are limited."""
    return {
        "requests": {"cpu": cpu, "memory": Noted(f"{memory_mi}Mi", note), **more},
        "limits": {"memory": f"{limit_mi}Mi", **{name: size for name, size in more.items() if "/" in name}},
    }


def encoder(ring: Ring) -> dict[str, Any]:
    """Of an encoder worker."""
    if ring.device == "cuda":
        cpu = Noted("2", f"the loop and {PACING.max_on_gpu_threads} threads that launch work")
        return resources(cpu, 4_096, 8_192, "not measured: CUDA's libraries and the weights", **{"nvidia.com/gpu": 1})
    cpu = Noted("1", f"a batch is computed on one core: {ENCODER_PER_S}/s (docs/benchmarks/engine.json)")
    if ring.precision == "int8":
        return resources(cpu, 384, 768, f"137 MB (docs/benchmarks/memory.json), {QUEUED_MI} MiB read ahead, fetches")
    return resources(cpu, 1_536, 3_072, "not measured: torch about 300 MB, float32 weights 227 MB, batches")


def head(settings: Settings) -> dict[str, Any]:
    """Of a head worker: heads.memory_mb, and what is beside the heads."""
    heads = settings.heads.memory_mb
    cpu = Noted("700m", "a core at autoscale.utilization: 497 us an utterance (docs/benchmarks/pipeline.json)") \
        if settings.autoscale.utilization == 0.7 else f"{settings.autoscale.utilization * 1_000:.0f}m"
    note = f"heads.memory_mb, and 77 MB beside them (docs/benchmarks/memory.json), {QUEUED_MI} MiB read ahead"
    copies = {"ephemeral-storage": Noted(f"{settings.heads.disk_mb}Mi", "heads.disk_mb")}
    return resources(cpu, heads + 256, heads + heads // 4 + 768, note, **copies)


def small(cpu: str = "100m", memory_mi: int = 192, limit_mi: int = 384) -> dict[str, Any]:
    """Of a process beside the workers."""
    return resources(cpu, memory_mi, limit_mi, "not measured")


def redis_mb(settings: Settings) -> int:
    """Redis' maxmemory: a reply for each utterance of reply_ttl_s with all encoders busy at autoscale.utilization, and
    what rings keep of embeddings."""
    busy = settings.autoscale.utilization
    per_s = sum(ring.workers * per_worker_s(ring) * busy for ring in settings.rings.values())
    cached = len(settings.rings) * settings.cache.embeddings_mb if settings.cache.enabled else 0
    return round(256 + cached + per_s * settings.redis.reply_ttl_s * REPLY_BYTES / 1e6)


def per_worker_s(ring: Ring) -> int:
    """Utterances a second of one encoder worker."""
    return GPU_PER_S if ring.device == "cuda" else ENCODER_PER_S
