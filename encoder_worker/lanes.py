"""How many batches a CPU computes at once: measured, because a hyperthread is no core and a quota no processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

WORTH = 1.1  # twice the lanes must give so many times the batches
TRIED_S = 0.15
MOST = 8  # beyond it the interpreter, which all lanes share, is what is waited for: start another worker


def lanes_worth(encode: Callable[[], object]) -> int:
    """The smallest number of threads, of 1, 2, 4, 8, that runs `encode` nearly as often a second as twice as many.

    Takes 0.3 s for each that is tried.
    """
    most = min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    lanes, per_s = 1, _per_s(encode, 1)
    while lanes * 2 <= most and (doubled := _per_s(encode, lanes * 2)) >= WORTH * per_s:
        lanes, per_s = lanes * 2, doubled
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
