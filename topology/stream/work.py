"""What a worker has done so far, told with each of its commits: who reads the group's commits can tell how busy each
worker is, and how much it could do.

Kafka keeps a note with a commit. So figures come from every machine, over the connection that lag is read over, without
a port, a list of workers, or clocks that agree. A worker that finishes nothing commits nothing, and its figures stand.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType

from topology.release import VERSION

VERSION_CHARS = 64
WORKER_CHARS = 300  # of a name: an instance has 249 at most, and a note must fit in what brokers allow


@dataclass(frozen=True)
class Work:
    """Of one worker process since it began. `up_s`: by its own clock. `loop_s`: processor time of its event loop.
    `engine_s`: time in which anything was computed. `records`: delivered. `tokens`: computed; of heads 0. `version`: of
    Headrace. `begun_s`: of the epoch; of two processes under one name the later one is the worker. `placed`: the
    offset of the placements that it has heard of; -1: none."""

    worker: str
    up_s: float
    loop_s: float
    engine_s: float
    records: int
    tokens: int = 0
    version: str = ""
    begun_s: int = 0
    placed: int = -1

    def to_note(self) -> str:
        """As it stands in a commit: about 160 bytes of the 4,096 that brokers allow."""
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return json.dumps(rounded, separators=(",", ":"))

    @classmethod
    def from_note(cls, note: str) -> Work | None:
        """None where a commit was made by something else. Other releases have more fields, or fewer."""
        try:
            body = json.loads(note)
            up_s, loop_s, engine_s = (float(body[name]) for name in ("up_s", "loop_s", "engine_s"))
            counts = int(body["records"]), int(body.get("tokens", 0))
            version, begun_s = str(body.get("version", ""))[:VERSION_CHARS], int(body.get("begun_s", 0))
            placed = int(body.get("placed", -1))
            found = cls(str(body["worker"]), up_s, loop_s, engine_s, *counts, version, begun_s, placed)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None
        figures = (found.up_s, found.loop_s, found.engine_s, found.records, found.tokens, found.begun_s)
        return found if all(0 <= one < 1e15 for one in figures) else None


def newest(notes: Iterable[Work]) -> Work:
    """Of one worker's notes the last: a partition without traffic keeps that of a process that was there before."""
    return max(notes, key=lambda work: (work.begun_s, work.up_s))


class BusyTime:
    """Time in which at least one thread was inside `with busy:`; two at once count once."""

    def __init__(self) -> None:
        self._lock, self._inside, self._since_s, self._total_s = threading.Lock(), 0, 0.0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._since_s = time.perf_counter()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._total_s += time.perf_counter() - self._since_s

    @property
    def total_s(self) -> float:
        """So far, what is going on now included."""
        with self._lock:
            return self._total_s + (time.perf_counter() - self._since_s if self._inside else 0.0)


class WorkNotes:
    """What a worker's commits say: calling it gives the note of now. To be made, and called, on the event loop."""

    def __init__(self, worker: str, figures: Callable[[], Mapping[str, float]]) -> None:
        """`worker`: its instance name, else one is made of the host and process. `figures`: `delivered`, `busy_us`, and
        an encoder's `tokens`."""
        self._worker, self._figures = worker or f"{socket.gethostname()}-{os.getpid()}", figures
        self._begun_s, self._loop_begun_s = time.monotonic(), time.thread_time()
        self._begun_at_s = int(time.time())

    def __call__(self) -> str:
        figures = self._figures()
        return Work(
            self._worker[:WORKER_CHARS], time.monotonic() - self._begun_s, time.thread_time() - self._loop_begun_s,
            figures.get("busy_us", 0) / 1e6, int(figures.get("delivered", 0)), int(figures.get("tokens", 0)),
            VERSION, self._begun_at_s, int(figures.get("placed", -1)),
        ).to_note()
