"""How many batches a CPU computes at once: measured, because a hyperthread is no core and a quota no processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

WORTH = 1.1  # twice the lanes must give so many times the batches
TRIES, TRIED_S = 3, 0.08  # the best of so many: others of a shared machine only ever make it slower
MOST = 8  # beyond it the interpreter, which all lanes share, is what is waited for: start another worker


def lanes_worth(encode: Callable[[], object]) -> int:
    """The smallest number of threads, of 1, 2, 4, 8, that runs `encode` nearly as often a second as twice as many.

    Takes half a second for two lanes, as much again for each doubling.
    """
    most = min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    lanes = 1
    while lanes * 2 <= most:
        tried = [(_per_s(encode, lanes), _per_s(encode, lanes * 2)) for _ in range(TRIES)]  # in turn: machines drift
        if max(doubled for _, doubled in tried) < WORTH * max(per_s for per_s, _ in tried):
            break
        lanes *= 2
    return lanes


def _per_s(encode: Callable[[], object], lanes: int) -> float:
    def run(seconds: float) -> int:
        end, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            encode()
            count += 1
        return count

    with ThreadPoolExecutor(lanes) as threads:
        begin = time.perf_counter()
        counts = list(threads.map(run, [TRIED_S] * lanes))
        return sum(counts) / (time.perf_counter() - begin)
