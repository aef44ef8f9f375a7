"""What is measured bare, whoever's engines it is: a function of texts and their heads, in batches or one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from benchmarks.arrivals import texts

BATCH = 16
POOL = 2_048

Work = Callable[[Sequence[str], Sequence[int]], object]  # texts, and the number of each one's head


def measured(
    work: Work, lengths: str, seconds: float, heads: int, batch: int = BATCH, seed: int = 0
) -> dict[str, float]:
    """Utterances and tokens a second of `work` on batches of different texts, each with another tenant's head."""
    said = list(islice(texts(lengths, seed), POOL))
    chosen = np.random.default_rng(seed).integers(0, heads, POOL).tolist()
    for at in (0, batch):
        work(said[at : at + batch], chosen[at : at + batch])
    done, begin, at = 0, time.perf_counter(), 0
    while (spent := time.perf_counter() - begin) < seconds:
        work(said[at : at + batch], chosen[at : at + batch])
        done, at = done + batch, (at + batch) % (POOL - batch)
    return {"utterances_per_s": done / spent, "ms": spent / done * batch * 1e3}


def paced_ms(work: Work, rate_per_s: float, heads: int, seconds: float) -> float:
    """Median milliseconds of `work` on one utterance at a time, with the pauses of a Poisson load between."""
    draw = np.random.default_rng(0)
    said = list(islice(texts("uniform", 4), max(5, int(rate_per_s * seconds))))
    work(said[:1], [0])
    spent: list[float] = []
    for number, text in enumerate(said):
        time.sleep(min(0.5, float(draw.exponential(1 / rate_per_s))))
        begin = time.perf_counter()
        work([text], [number % heads])
        spent.append(time.perf_counter() - begin)
    return float(np.median(spent)) * 1e3
