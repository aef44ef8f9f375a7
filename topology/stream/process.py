"""The frame of a worker process: logging, signals, readiness, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from topology.errors import HeadraceError
from topology.pacing import PACING
from topology.release import VERSION
from topology.stream.failures import Fate, fate_of
from topology.stream.log_limit import LogLimit

log = logging.getLogger(__name__)

EXIT_MISCONFIGURED = 2  # a person must act: no restart helps
EXIT_UNAVAILABLE = 75  # EX_TEMPFAIL: restart me
INSTANCE_HELP = "this process's own name in its consumer group, the same after a restart, such as its pod's or host's \
name (default: $HEADRACE_INSTANCE, else none): a restart then moves no partition"


def run_process(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `main(stop)` until it returns; SIGTERM and SIGINT set `stop`. Returns the exit code.

    After a signal `main` has `PACING.stop_s`, then it is cancelled: what is unfinished was not committed, so it is
    repeated.
    The last line tells what ended the run first, whatever closing raises after it.
    """
    logging.basicConfig(
        level=os.environ.get("HEADRACE_LOG", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogLimit())
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it says, its errors say too
    log.info("Headrace %s, process %d", VERSION, os.getpid())
    runner, code = asyncio.Runner(loop_factory=new_event_loop), 0
    try:
        runner.run(_until_signalled(main))
    except BaseException as error:
        cause = first_cause(error)
        is_configuration = fate_of(cause) is Fate.CONFIGURATION or isinstance(cause, ImportError)
        code = EXIT_MISCONFIGURED if is_configuration else EXIT_UNAVAILABLE
        if not isinstance(cause, HeadraceError):
            log.error("an error that nobody expected", exc_info=error)
        print(f"headrace: {cause if isinstance(cause, HeadraceError) else repr(cause)}", file=sys.stderr, flush=True)
        logging.disable()  # what is not closed says so when it is forgotten, and would be the last line
    _leave_within(PACING.close_s, code)
    runner.close()
    return code


def first_cause(error: BaseException) -> BaseException:
    """The error of ours that `error` came on top of, if there is one: closing may raise over what ended the run."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, HeadraceError):
        found = found.__context__
    return found or error


def _leave_within(seconds: float, code: int) -> None:
    """End the process then, at the latest: neither a task nor a thread that does not end keeps it."""
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()


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
    running, stopping = asyncio.ensure_future(main(stop)), asyncio.ensure_future(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        await asyncio.wait({running}, timeout=PACING.stop_s)
    stopping.cancel()
    if not running.done():
        log.warning("not done %.0f s after the signal; what is left is repeated by the next owner", PACING.stop_s)
        running.cancel()
        await asyncio.wait({running}, timeout=2 * PACING.close_s)
    elif running.cancelled() or running.exception() is not None:
        await running


def step_back(steps: int = PACING.nice) -> None:
    """Let this thread compute when others of its session do not (nice(2); on Linux a thread has a value of its own,
    which threads that it starts inherit).

    What computes for milliseconds steps back behind what moves messages for microseconds: the broker's threads, other
    event loops and clients of a small machine then never wait for a processor.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), steps)


def step_back_whole() -> None:
    """Let this process compute only when no other wants the processor (SCHED_IDLE and nice 19, on Linux): every thread
    that it has now, and those that they start."""
    if sys.platform == "linux":
        for thread in [int(place.name) for place in Path("/proc/self/task").iterdir()]:
            with contextlib.suppress(OSError):  # it ended meanwhile, or a sandbox forbids it
                os.setpriority(os.PRIO_PROCESS, thread, PACING.backfill_nice)
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def announce_ready() -> None:
    """Touch $HEADRACE_READY_FILE, where a supervisor or a readiness probe looks."""
    if place := os.environ.get("HEADRACE_READY_FILE"):
        Path(place).touch()


def now_us() -> int:
    """Microseconds since the epoch, the unit of every time on the wire."""
    return time.time_ns() // 1_000
