"""Which rows share a batch."""

from __future__ import annotations

from collections.abc import Sequence


def pack(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Group the indices of `lengths` (tokens), shortest first, so that no batch holds more than `max_tokens`.

    Rows of like length meet, so that engines which pad attention pad little; and a long row makes no short one wait.
    A row that is over the budget by itself gets a batch of its own.
    """
    batches: list[list[int]] = []
    held = 0
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batches and held + lengths[index] <= max_tokens:
            batches[-1].append(index)
            held += lengths[index]
        else:
            batches.append([index])
            held = lengths[index]
    return batches
