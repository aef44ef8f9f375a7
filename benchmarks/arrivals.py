"""What arrives: texts of given lengths, tenants by Zipf, times by Poisson. All from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from benchmarks.shapes import UNIFORM_TOKENS, words

LENGTHS = ("uniform", "mix")
SPECIAL_TOKENS = 2
ZIPF_EXPONENT = 1.0
LONG_SHARE, LONG_TOKENS = 0.002, 250


@dataclass(frozen=True)
class Arrival:
    """One utterance of a load: `at_s` seconds after its start."""

    at_s: float
    tenant: str
    text: str


def lengths(kind: str, seed: int) -> Iterator[int]:
    """Tokens of text after text: 15 each (`uniform`), or 4 to 40, mean 15, two in a thousand at 250 (`mix`)."""
    draw = np.random.default_rng(seed)
    while True:
        if kind == "uniform":
            yield UNIFORM_TOKENS
        elif draw.random() < LONG_SHARE:
            yield LONG_TOKENS
        else:
            yield int(np.clip(round(draw.gamma(4.0, 3.6)), 4, 40))


def texts(kind: str, seed: int, repeated: float = 0.0) -> Iterator[str]:
    """Texts of those lengths, each different from all others but for the share `repeated`, which is said before."""
    known, draw = words(), random.Random(seed)
    said: list[str] = []
    for length in lengths(kind, seed):
        if said and draw.random() < repeated:
            yield draw.choice(said)
            continue
        text = " ".join(draw.choices(known, k=max(1, length - SPECIAL_TOKENS)))
        if repeated:
            said.append(text)
        yield text


def tenants(count: int) -> list[str]:
    """The names of a benchmark's tenants."""
    return [f"tenant{number:05d}" for number in range(count)]


def arrivals(
    rate_per_s: float, seconds: float, names: list[str], kind: str = "uniform", seed: int = 0, repeated: float = 0.0
) -> list[Arrival]:
    """An open-loop load: arrivals do not depend on replies. Tenants by Zipf with exponent 1."""
    draw = np.random.default_rng(seed)
    count = max(1, round(rate_per_s * seconds))
    times = np.cumsum(draw.exponential(1 / rate_per_s, count))
    weights = 1 / np.arange(1, len(names) + 1) ** ZIPF_EXPONENT
    chosen = draw.choice(len(names), count, p=weights / weights.sum())
    said = islice(texts(kind, seed + 1, repeated), count)
    return [Arrival(float(t), names[i], text) for t, i, text in zip(times, chosen, said, strict=True)]
