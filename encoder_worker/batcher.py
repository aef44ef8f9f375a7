"""Which rows share a batch."""

from __future__ import annotations

from collections.abc import Sequence


def pack(lengths: Sequence[int], max_batch_tokens: int) -> list[list[int]]:
    """Group the indices of `lengths` (tokens), longest first, so that no padded batch costs more than the budget.

    A batch costs `rows * longest row`: what the engine computes, padding included. A row that is over the
    budget by itself gets a batch of its own.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * longest <= max_batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = lengths[index]
    return batches
