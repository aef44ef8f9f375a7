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
    begun_s = told_s = time.monotonic()

    def show(share: float, seen: str) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= LINE_S and share:
            told_s = now_s
            left_s = (now_s - begun_s) * (1 - share) / share
            print(f"{title}: {share:.0%}{', ' * bool(seen)}{seen}, about {left_s:,.0f} s left", file=sys.stderr,
                  flush=True)

    return show
