"""What a wake of Python costs beside an encoder: the same piece of a worker's Python every few milliseconds, by what
else the cores do. It is what bounds the pipeline's knee (decision 6): an event loop that wakes on a core that encodes
finds its code and data pushed out of the caches by the weights.

    python -m benchmarks.wakes encode --core 0

is one of the processes beside it: it encodes (or spins) on that core until it is killed, for 60 s at most.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.arrivals import texts
from benchmarks.report import Result
from benchmarks.shapes import UNIFORM_TOKENS, encoder_directory
from encoder_worker.int8 import Int8Engine
from encoder_worker.load import quantized
from encoder_worker.tokens import Tokenizer
from topology import wire
from topology.errors import Misconfigured
from topology.stream.process import step_back

EVERY_S = 0.006
RECORDS, ROWS = 3, 4  # of one piece; of one batch beside it
AT_MOST_S = 60.0
BESIDE: dict[str, dict[str, int]] = {  # what is being measured → what runs on the (first, second) core
    "idle": {},
    "spinning": {"spin-0": 0, "spin-1": 1},
    "encoding on another core": {"spin-0": 0, "encode-1": 1},
    "encoding on the same core": {"encode-0": 0, "spin-1": 1},
}


def run(seconds: float) -> Result:
    """Microseconds of processor time of a piece, p50 and p90, by what runs beside it; `ratio`: encoding to spinning."""
    if not hasattr(os, "sched_setaffinity") or len(cores := sorted(os.sched_getaffinity(0))) < 2:
        raise Misconfigured("this needs Linux and two processors: it puts processes on each")
    work = _piece()
    found: dict[str, dict[str, float]] = {}
    os.sched_setaffinity(0, {cores[0]})
    try:
        for name, others in BESIDE.items():
            with _beside([(kind.split("-")[0], cores[at]) for kind, at in others.items()]):
                found[name] = _measured(work, seconds)
            print(f"{name}: {found[name]['p50_us']:.0f} us, p90 {found[name]['p90_us']:.0f}", flush=True)
    finally:
        os.sched_setaffinity(0, cores)
    return {"wake_us": found, "every_ms": EVERY_S * 1e3,
            "ratio": found["encoding on the same core"]["p50_us"] / found["spinning"]["p50_us"]}


def _piece() -> Any:
    """What an encoder worker does in Python with RECORDS utterances: decode, tokenize, encode what came out."""
    tokenizer, data, scales = Tokenizer(encoder_directory(), 250), bytes(15 * 768), bytes(15 * 4)
    asked = [wire.encode(wire.Utterance(f"{n:032}", f"tenant{n}", text, "en", 1, 2, "r" * 30))
             for n, text in enumerate(islice(texts("uniform", 3), RECORDS))]

    def work() -> None:
        for record in asked:
            one = wire.decode(wire.Utterance, record)
            row = tokenizer.rows([one.text])[0]
            wire.encode(wire.Embedding(
                id=one.id, tenant=one.tenant, text=one.text, lang=one.lang, submitted_us=1, deadline_us=2,
                reply_to=one.reply_to, ring="en", space="space", dtype="int8", tokens=15, hidden=768, data=data,
                scales=scales, offsets=row.offsets.astype("<i4").tobytes(), stages={"submitted": 1, "received": 2},
            ))

    return work


def _measured(work: Any, seconds: float) -> dict[str, float]:
    for _ in range(50):
        work()
    spent, next_s = [], time.perf_counter()
    for _ in range(int(seconds / EVERY_S)):
        next_s += EVERY_S
        time.sleep(max(0.0, next_s - time.perf_counter()))
        begin = time.thread_time()
        work()
        spent.append(time.thread_time() - begin)
    return {"p50_us": float(np.median(spent)) * 1e6, "p90_us": float(np.percentile(spent, 90)) * 1e6}


@contextlib.contextmanager
def _beside(others: Sequence[tuple[str, int]]) -> Iterator[None]:
    """Processes of these kinds on these cores, once they are at work, until the end."""
    running = []
    try:
        for kind, core in others:
            command = [sys.executable, "-m", "benchmarks.wakes", kind, "--core", str(core)]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        for one in running:
            assert one.stdout is not None
            if one.stdout.readline() != b"at work\n":
                raise RuntimeError(f"what was to run beside it ended: run {one.args!r} by hand")
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def main() -> None:
    """One process beside the measured one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("encode", "spin"))
    parser.add_argument("--core", type=int, required=True)
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})
    step_back()  # as an encoder worker does
    batch = None
    if args.kind == "encode":
        engine = Int8Engine(quantized(encoder_directory()))
        batch = [[5 + token for token in range(UNIFORM_TOKENS)]] * ROWS
        engine.encode(batch)
    end = time.perf_counter() + AT_MOST_S
    print("at work", flush=True)
    while time.perf_counter() < end:
        if batch is not None:
            engine.encode(batch)


def plot(result: Result) -> Any:
    """Microseconds of a piece by what runs beside it."""
    def draw(axes: Any) -> None:
        points = result["wake_us"]
        axes.barh(list(points), [one["p50_us"] for one in points.values()])
        axes.set(xlabel="processor time of the same piece of Python, microseconds (median)")

    return draw


if __name__ == "__main__":
    main()
