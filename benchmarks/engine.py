"""The bare encoder and a head, by batch and length, on a CPU or a GPU. Needs no broker, no hub and no download."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.arrivals import lengths
from benchmarks.report import Result
from benchmarks.shapes import FFN, HIDDEN, LAYERS, SPECIAL, UNIFORM_TOKENS, WORDS, encoder_directory, write_heads
from encoder_worker.batcher import pack
from encoder_worker.engine import Engine
from encoder_worker.load import build
from encoder_worker.quantize import cosines
from head_worker.engine import TokenVectors
from head_worker.load import load_head
from topology.encoders import cache_dir, space_of
from topology.pacing import PACING

BATCHES = {"cpu": (1, 4, 16, 64), "cuda": (1, 16, 64, 256, 512, 1_024, 2_048)}
PEAK_BF16 = {  # dense, by what a card's name contains, the longer first (V100: float16)
    "H100 PCIe": 756e12, "H100 NVL": 835e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12,
    "L40": 181e12, "L4": 121e12, "V100": 125e12,
}
BUDGETS = {"cpu": 256, "cuda": 16_384}
LENGTHS_ALONE = (4, 15, 40, 250)
GPU_P90_MS = 10.0  # a batch that takes longer is not what the share of the peak is told for
COMPARED_ROWS = 48


def run(device: str, precision: str, seconds: float) -> Result:
    """Milliseconds and utterances a second of each batch size at 15 tokens, each length at batch 1, and the mix."""
    directory = encoder_directory()
    engine = build(directory, device, precision)
    kind = "cuda" if device == "cuda" else "cpu"
    by_batch = {str(size): _timed(engine, [UNIFORM_TOKENS] * size, seconds) for size in BATCHES[kind]}
    by_length = {str(length): _timed(engine, [length], seconds) for length in LENGTHS_ALONE}
    soon = [one for one in by_batch.values() if kind == "cpu" or one["p90_ms"] <= GPU_P90_MS]
    uniform = max(one["tokens_per_s"] for one in soon)
    mix = _mixed(engine, BUDGETS[kind], seconds)
    result: Result = {
        "engine": engine.precision, "device": _device_name(device), "by_batch_of_15_tokens": by_batch,
        "by_length_alone": by_length, "mix": mix, "mix_share_of_uniform": mix["tokens_per_s"] / uniform,
        "cosine": _cosines(engine, directory), "head": _head(seconds) if kind == "cpu" else {},
    }
    if kind == "cuda":
        peak = next((p for name, p in PEAK_BF16.items() if name in str(result["device"])), 0.0)
        result["share_of_bf16_peak"] = uniform * flops_per_token() / peak if peak else None
    return result


def flops_per_token(length: int = UNIFORM_TOKENS) -> float:
    """Floating-point operations of the encoder for one token of a row of `length` tokens."""
    linear = 2 * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * FFN)
    return LAYERS * (linear + 4 * length * HIDDEN)


def _rows(sizes: list[int]) -> list[list[int]]:
    draw = np.random.default_rng(0)
    return [draw.integers(len(SPECIAL), WORDS, size).tolist() for size in sizes]


def _timed(engine: Engine, sizes: list[int], seconds: float) -> dict[str, float]:
    """One call after another: its milliseconds. On a GPU also as a worker's threads call, beside each other."""
    rows = _rows(sizes)
    spent = repeated(lambda: engine.encode(rows), seconds)
    p50, p90, p99 = (float(np.percentile(spent, q)) for q in (50, 90, 99))
    per_s = _calls_per_s(engine, lambda: engine.encode(rows), seconds) if engine.on_gpu else 1 / p50
    print(f"{len(sizes)} of {sizes[0]} tokens: p50 {p50 * 1e3:.2f} ms, {len(sizes) * per_s:.0f}/s", flush=True)
    return {"p50_ms": p50 * 1e3, "p90_ms": p90 * 1e3, "p99_ms": p99 * 1e3, "utterances_per_s": len(sizes) * per_s,
            "tokens_per_s": sum(sizes) * per_s}


def _calls_per_s(engine: Engine, call: Callable[[], object], seconds: float) -> float:
    """Calls a second of as many threads as the engine takes at once."""
    count = PACING.max_on_gpu_threads if engine.on_gpu else 1
    with ThreadPoolExecutor(count) as threads:
        spent = list(threads.map(lambda _: repeated(call, seconds), range(count)))
    return sum(len(one) / sum(one) for one in spent)


def _mixed(engine: Engine, budget: int, seconds: float) -> dict[str, float]:
    """The realistic mix in token-budget batches: tokens a second, and the share of computed places that is padding."""
    source = lengths("mix", 0)
    sizes = [next(source) for _ in range(max(64, budget // 4))]
    batches = [_rows([sizes[i] for i in indices]) for indices in pack(sizes, budget)]
    found = [engine.encode(rows) for rows in batches]
    tokens, computed = sum(len(one.data) for one in found), sum(one.computed for one in found)

    def call() -> None:
        for rows in batches:
            engine.encode(rows)

    spent = repeated(call, seconds)
    per_s = _calls_per_s(engine, call, seconds) if engine.on_gpu else 1 / float(np.median(spent))
    return {"tokens_per_s": sum(sizes) * per_s, "padding_share": 1 - tokens / computed,
            "mean_tokens": float(np.mean(sizes)), "batches": len(batches), "all_ms": float(np.median(spent)) * 1e3}


def _cosines(engine: Engine, directory: Path) -> dict[str, float]:
    """Of token vectors: to float32 on the CPU by torch's own arithmetic, and of rows alone to the same in a batch."""
    source = lengths("mix", 1)
    rows = _rows([250, *(next(source) for _ in range(COMPARED_ROWS))])
    together, exact = engine.encode(rows), build(directory, "cpu", "float32").encode(rows)
    alone = np.concatenate([engine.encode([row]).vectors for row in rows])
    to_exact, to_alone = (cosines(together.vectors, other) for other in (exact.vectors, alone))
    return {"to_float32_mean": float(to_exact.mean()), "to_float32_min": float(to_exact.min()),
            "alone_to_batched_min": float(to_alone.min())}


def _head(seconds: float) -> Result:
    """A standard head: warm and cold (48 different ones in turn), alone and four at once, and its loading."""
    names = [f"tenant{number:05d}" for number in range(48)]
    store = cache_dir() / "bench" / "heads"
    write_heads(store, "bench", names, space_of(encoder_directory(), 250))
    draw = np.random.default_rng(0)
    text = " ".join(["word"] * UNIFORM_TOKENS)
    offsets = np.array([(5 * i, 5 * i + 4) for i in range(UNIFORM_TOKENS)], np.int32)
    row = TokenVectors(
        text, draw.integers(-127, 128, (UNIFORM_TOKENS, HIDDEN)).astype(np.int8),
        draw.random(UNIFORM_TOKENS, np.float32) / np.float32(50), offsets,
    )
    folders = [store / "bench" / name / "v1" for name in names]
    for folder in folders:  # into the page cache
        (folder / "head.safetensors").read_bytes()
    loading = [_once(lambda folder=folder: load_head(folder)) for folder in folders]  # type: ignore[misc]
    heads = [load_head(folder) for folder in folders]
    turn = iter(range(1 << 60))
    found = {
        "warm_ms": repeated(lambda: heads[0].logits([row]), seconds),
        "warm_with_decoding_ms": repeated(lambda: heads[0].predict([row]), seconds),
        "cold_ms": repeated(lambda: heads[next(turn) % 48].logits([row]), seconds),
        "four_at_once_ms": repeated(lambda: heads[0].logits([row] * 4), seconds),
    }
    medians = {name: float(np.median(spent)) * 1e3 for name, spent in found.items()}
    return {**medians, "load_from_page_cache_ms": float(np.median(loading)) * 1e3, "mb": heads[0].nbytes / 1e6,
            "outside_the_engine_ms": medians["warm_with_decoding_ms"] - medians["warm_ms"]}


def _once(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def repeated(call: Callable[[], object], seconds: float, least: int = 5) -> list[float]:
    """Seconds of each of as many calls as fit, after two that are not counted."""
    call()
    call()
    spent: list[float] = []
    end = time.perf_counter() + seconds
    while len(spent) < least or time.perf_counter() < end:
        spent.append(_once(call))
    return spent


def _device_name(device: str) -> str:
    if device != "cuda":
        return "cpu"
    return torch.cuda.get_device_name()


def plot(result: Result) -> Any:
    """Utterances a second by batch size."""
    def draw(axes: Any) -> None:
        points = result["by_batch_of_15_tokens"]
        axes.bar(list(points), [one["utterances_per_s"] for one in points.values()])
        axes.set(xlabel="batch of 15-token utterances", ylabel=f"utterances/s, {result['engine']}")

    return draw
