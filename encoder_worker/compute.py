"""Batches being computed: one by itself, timed; those of a call from two ends, by the event loop and a thread."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from encoder_worker.engine import CallForHelp, Encoded, Engine
from encoder_worker.tokens import Row

Batch = Sequence[tuple[str, Row]]


@dataclass(frozen=True)
class Computed:
    """A batch and its vectors, the seconds that its thread computed, those that passed, and how many others helped."""

    batch: Batch
    encoded: Encoded
    computed_s: float
    passed_s: float
    helpers: int


def compute(engine: Engine, batch: Batch, call_for_help: CallForHelp | None = None, helpers: int = 0) -> Computed:
    """Encode a batch on this thread. Raises: as `Engine.encode`."""
    # On a CPU what counts is the thread's own time: that it steps back for others is no cost of the batch.
    clock = time.perf_counter if engine.on_gpu else time.thread_time
    begun, begin = time.perf_counter(), clock()
    encoded = engine.encode([row.ids for _, row in batch], call_for_help)
    return Computed(batch, encoded, clock() - begin, time.perf_counter() - begun, helpers)


class Shared:
    """Batches that the event loop computes from the front, and `mate`, a thread, from the back."""

    def __init__(self, batches: Sequence[Batch], compute: Callable[[Batch], Computed], mate: Executor) -> None:
        self._left = deque(batches)
        self._found: deque[Computed] = deque()
        self._compute = compute
        # The last of many is the thread's: meanwhile the loop sends results and begins its next call.
        self._leave = len(batches) > 2
        self._mate = mate.submit(self._from_the_back)

    @property
    def more(self) -> bool:
        """Whether there is a batch for the loop."""
        return len(self._left) > self._leave

    def take(self) -> list[Computed]:
        """Compute the first batch that is left; it and what the thread has computed."""
        first = _pop(self._left.popleft)
        return ([] if first is None else [self._compute(first)]) + self._so_far()

    @property
    def waits(self) -> bool:
        """Whether the thread has something yet to compute or to give. Asked when there is no `more`."""
        return bool(self._left) or not self._mate.cancel()

    async def rest(self) -> list[Computed]:
        """Wait for the thread. Raises: what the computation raised there."""
        await asyncio.wrap_future(self._mate)
        return self._so_far()

    def stop(self) -> None:
        """Let the thread begin nothing more."""
        self._left.clear()

    def _from_the_back(self) -> None:
        while (last := _pop(self._left.pop)) is not None:
            self._found.append(self._compute(last))

    def _so_far(self) -> list[Computed]:
        return [self._found.popleft() for _ in range(len(self._found))]


def _pop(pop: Callable[[], Batch]) -> Batch | None:
    try:
        return pop()
    except IndexError:  # the other one has taken the last
        return None
