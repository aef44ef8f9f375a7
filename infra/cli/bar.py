"""How far long work is: a bar on a terminal, a line every few seconds where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_S = 5.0

Show = Callable[[float, str], None]  # the share that is done, in 0..1, and what is seen so far


@contextmanager
def shown(title: str) -> Iterator[Show]:
    """Takes what to show; it goes to standard error, as results go to standard output."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def show(share: float, seen: str) -> None:
            bar.update(task, completed=share, description=f"{title}: {seen}" if seen else title)

        yield show


def _lines(title: str) -> Show:
    """The time that is left is told from the first step on: what comes before it, such as encoding, is no measure."""
    told_s = time.monotonic()
    first: tuple[float, float] | None = None

    def show(share: float, seen: str) -> None:
        nonlocal told_s, first
        now_s = time.monotonic()
        begun_s, begun = first or (now_s, share)
        first = (begun_s, begun) if share else None
        if now_s - told_s >= LINE_S:
            told_s = now_s
            left = f", about {(now_s - begun_s) * (1 - share) / (share - begun):,.0f} s left" if share > begun else ""
            print(f"{title}: {share:.0%}{', ' * bool(seen)}{seen}{left}", file=sys.stderr, flush=True)

    return show
