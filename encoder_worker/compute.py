"""What computes: the engine, its threads, and what batches have cost so far."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from encoder_worker.batcher import pack
from encoder_worker.cost import CostModel
from encoder_worker.engine import Encoded, Engine
from encoder_worker.tokens import Row, Tokenizer
from topology.pacing import Pacing
from topology.settings import Ring
from topology.stream.process import step_back
from topology.stream.work import BusyTime


class Compute:
    """Cuts rows into batches and computes them, on the event loop or on a thread beside it.

    On a CPU the event loop computes each batch itself, and a thread each row that takes longer than a batch may. On a
    GPU two threads do, so that one batch is prepared while the other computes; the event loop computes short ones.
    """

    def __init__(self, engine: Engine, ring: Ring, pacing: Pacing) -> None:
        self._engine, self._ring, self._pacing = engine, ring, pacing
        self._max_on_threads = pacing.max_on_gpu_threads if engine.on_gpu else pacing.max_on_cpu_thread
        threads = pacing.max_on_gpu_threads if engine.on_gpu else 1
        self._threads = ThreadPoolExecutor(threads, "encode", initializer=step_back)
        self._on_threads = 0  # batches that wait there or are computed
        self._tally: Counter[str] = Counter()
        self._busy = BusyTime()
        self.cost = CostModel()

    def warm_up(self, tokenizer: Tokenizer) -> None:
        """Run a short and a long batch a few times, so that the first utterance is not the one that pays for it."""
        short, long = tokenizer.rows(["warm up", "warm up " * 16])
        for batch in ([short], [long] * 4):
            self._engine.encode([row.ids for row in batch])  # the first time takes longer than any after it
            for _ in range(3):
                self.encode(batch)

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""
        return self._engine.on_gpu

    def takes_more(self) -> bool:
        """Whether more may be begun: too much waiting for threads is better left in the queue, where it is taken in
        turn."""
        return self._on_threads < self._max_on_threads

    def batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """The indices of `rows` in batches, the shortest rows first."""
        return pack([len(row.ids) for row in rows], self._max_tokens())

    def is_for_the_loop(self, batch: Sequence[Row]) -> bool:
        """Whether the event loop is to compute it itself."""
        tokens = sum(len(row.ids) for row in batch)
        if not self._engine.on_gpu:
            return len(batch) > 1 or tokens <= self._max_tokens()
        # A thread waits for the interpreter for longer than the loop for the GPU, unless another batch is on the GPU.
        return not self._on_threads and tokens <= self.cost.tokens_within(self._pacing.encode_on_loop_s)

    def encode(self, batch: Sequence[Row]) -> Encoded:
        """Compute a batch on this thread. Raises: Unavailable."""
        # On a CPU what counts is the thread's own time: that it yields to others is no cost of the batch.
        clock = time.perf_counter if self._engine.on_gpu else time.thread_time
        begun = clock()
        with self._busy:
            encoded = self._engine.encode([row.ids for row in batch])
        seconds = clock() - begun
        self.cost.note(len(encoded.data), seconds)
        self._tally.update(batches=1, rows=len(batch), tokens=len(encoded.data), computed=encoded.computed,
                           engine_us=int(seconds * 1e6))
        return encoded

    async def encode_beside(self, batch: Sequence[Row]) -> Encoded:
        """Compute a batch on a thread. Raises: Unavailable."""
        self._on_threads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.encode, batch)
        finally:
            self._on_threads -= 1

    def stats(self) -> dict[str, float]:
        """Batches, rows and tokens so far, the share of padding, engine time (of all threads together, and `busy_us` in
        which any computed), and the fitted cost."""
        fixed_s, per_token_s = self.cost.fixed_and_per_token_s
        padding = 1 - self._tally["tokens"] / max(1, self._tally["computed"])
        cost = {"fixed_us": fixed_s * 1e6, "per_token_us": per_token_s * 1e6}
        return {**self._tally, "busy_us": self._busy.total_s * 1e6, "padding_share": padding, **cost}

    def _max_tokens(self) -> int:
        """Tokens of a batch: on a CPU no more than `latency_ms` allows."""
        most = self._ring.max_batch_tokens
        return most if self._engine.on_gpu else min(most, self.cost.tokens_within(self._ring.latency_ms / 1e3))
