"""The frame of a worker process: logging, signals, readiness, exit codes."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from topology.errors import HeadraceError, Misconfigured
from topology.pacing import PACING

EXIT_MISCONFIGURED = 2  # a person must act: no restart helps
EXIT_UNAVAILABLE = 75  # EX_TEMPFAIL: restart me


def run_process(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `main(stop)` until it returns; SIGTERM and SIGINT set `stop`. Returns the exit code."""
    logging.basicConfig(
        level=os.environ.get("HEADRACE_LOG", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_until_signalled(main))
    except Misconfigured as error:
        print(f"headrace: {error}", file=sys.stderr)
        return EXIT_MISCONFIGURED
    except HeadraceError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    return 0


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed (extra `fast`): it halves the loop's own cost. Else asyncio's."""
    if importlib.util.find_spec("uvloop") is None or os.environ.get("HEADRACE_LOOP") == "asyncio":
        return asyncio.new_event_loop()
    import uvloop  # here: it is optional

    return uvloop.new_event_loop()  # type: ignore[no-any-return]


async def _until_signalled(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await main(stop)


def step_back(steps: int = PACING.nice) -> None:
    """Let this thread compute when others of its session do not (nice(2); on Linux a thread has a value of its own,
    which threads that it starts inherit).

    What computes for milliseconds steps back behind what moves messages for microseconds: the broker's threads, other
    event loops and clients of a small machine then never wait for a processor.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), steps)


def announce_ready() -> None:
    """Touch $HEADRACE_READY_FILE, where a supervisor or a readiness probe looks."""
    if place := os.environ.get("HEADRACE_READY_FILE"):
        Path(place).touch()


def now_us() -> int:
    """Microseconds since the epoch, the unit of every time on the wire."""
    return time.time_ns() // 1_000
