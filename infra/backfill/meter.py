"""How far a replay is, on a terminal as a bar, else as a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections import deque

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from infra.backfill.counts import Counts

LINE_S = 5.0
RATE_OVER_S = 20.0


class Meter:
    """Shows it. Where the end is not known (files), it shows how many rows are done."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._line_at_s = 0.0
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("replay", total=None, told="starting")
            self._bar.start()

    def show(self, done: int, whole: int, state: str, why: str, counts: Counts, read_per_s: float = 0.0) -> None:
        """`done` of `whole` (0: not known) records; `state` and `why` of the workers, and what they read a second."""
        told = f"{self._progress(done, whole, read_per_s)}, {sum(counts.refused.values()):,} refused"
        told += f"; {why or state}" if state != "running" else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=whole or None, told=told)
        elif time.monotonic() >= self._line_at_s:
            self._line_at_s = time.monotonic() + LINE_S
            print(told, file=sys.stderr, flush=True)

    def _progress(self, done: int, whole: int, read_per_s: float) -> str:
        now_s = time.monotonic()
        self._seen.append((now_s, done))
        while self._seen[0][0] < now_s - RATE_OVER_S:
            self._seen.popleft()
        since_s, before = self._seen[0]
        per_s = (done - before) / max(1e-9, now_s - since_s) if done > before else read_per_s
        if not whole:
            return f"{done:,} rows, {per_s:,.0f}/s"
        left = f", {_clock((whole - done) / per_s)} left" if per_s and done < whole else ""
        return f"{done:,} of {whole:,} ({done / whole:.0%}), {per_s:,.0f}/s{left}"

    def close(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds) + 1, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
