"""The bare engines: tokenizer, encoder and heads in two one-thread processes at batch 16, without any messaging.

    python -m benchmarks.bare ours --lengths uniform --seconds 5

prints one JSON line of one process. `both` starts two and adds them up: what the pipeline is compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.arrivals import tenants
from benchmarks.peers.openvino_ort import openvino_ort
from benchmarks.shapes import UNIFORM_TOKENS, encoder_directory
from benchmarks.vectors import embeddings
from benchmarks.work import BATCH, Work, measured
from encoder_worker.int8 import Int8Engine
from encoder_worker.load import quantized
from encoder_worker.tokens import Tokenizer
from head_worker.engine import TokenVectors
from head_worker.load import load_head

PROCESSES = 2


def ours(store: Path, ring: str, count: int) -> Work:
    """Our engines, called as the workers call them."""
    directory = encoder_directory()
    engine, tokenizer = Int8Engine(quantized(directory)), Tokenizer(directory, 250)
    heads = [load_head(store / ring / name / "v1") for name in tenants(count)]

    def work(said: Sequence[str], chosen: Sequence[int]) -> object:
        rows = tokenizer.rows(said)
        encoded = engine.encode([row.ids for row in rows])
        for text, row, head, (start, end) in zip(said, rows, chosen, encoded.spans, strict=True):
            heads[head].predict([TokenVectors(text, encoded.data[start:end], encoded.scales[start:end], row.offsets)])
        return None

    return work


def heads_alone(store: Path, ring: str, count: int) -> Work:
    """The heads on random vectors, a batch by tenant, as a replay of embeddings calls them."""
    heads = [load_head(store / ring / name / "v1") for name in tenants(count)]
    scales = np.full(UNIFORM_TOKENS, 0.01, np.float32)
    rows = [
        TokenVectors(text, np.frombuffer(data, np.int8).reshape(tokens, -1), scales,
                     np.frombuffer(offsets, "<i4").reshape(tokens, 2))
        for text, tokens, data, offsets in embeddings()
    ]

    def work(said: Sequence[str], chosen: Sequence[int]) -> object:
        by_head: dict[int, list[TokenVectors]] = {}
        for number, head in enumerate(chosen):
            by_head.setdefault(head, []).append(rows[number % len(rows)])
        return [heads[head].predict(some[at : at + BATCH])
                for head, some in by_head.items() for at in range(0, len(some), BATCH)]

    return work


def both(engines: str, lengths: str, seconds: float, store: Path, ring: str, heads: int, batch: int = BATCH) -> float:
    """Utterances a second of PROCESSES one-thread processes at the same time."""
    command = [
        sys.executable, "-m", "benchmarks.bare", engines, "--lengths", lengths, "--seconds", str(seconds),
        "--store", str(store), "--ring", ring, "--heads", str(heads), "--batch", str(batch),
    ]
    running = []
    for seed in range(PROCESSES):  # each says when it has loaded, the first makes what is missing, all begin together
        own = [*command, "--seed", str(seed)]
        one = subprocess.Popen(own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(one)
        assert one.stdout is not None
        while (line := one.stdout.readline()) != "ready\n":
            if not line:
                raise RuntimeError(f"bare {engines} ended before it was ready: run {' '.join(command)} by hand")
    total = 0.0
    for one in running:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in running:
        out, _ = one.communicate(timeout=seconds * 10 + 120)
        total += float(json.loads(out.splitlines()[-1])["utterances_per_s"])
    return total


def main() -> None:
    """One process: load, wait for a line on standard input, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", choices=("ours", "heads", "openvino-ort"))
    parser.add_argument("--lengths", default="uniform")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--ring", default="bench")
    parser.add_argument("--heads", type=int, default=64)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    made = {"ours": ours, "heads": heads_alone}.get(args.engines)
    work = made(args.store, args.ring, args.heads) if made is not None else openvino_ort(args.heads)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(measured(work, args.lengths, args.seconds, args.heads, args.batch, args.seed)), flush=True)
    sys.stdout.flush()
    os._exit(0)  # engines' own threads may take long to end


if __name__ == "__main__":
    main()
