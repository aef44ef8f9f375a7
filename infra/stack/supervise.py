"""Child processes of one stack: started, waited for until ready, restarted when they ask for it, stopped in order."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from topology.errors import Misconfigured, Unavailable
from topology.json_map import known_fields
from topology.stream.arguments import LOCAL
from topology.stream.process import EXIT_UNAVAILABLE

STOP_S = 15.0
AGAIN_S = 60.0  # of a process that has no file to say that it is ready: who lived for so long was
PR_SET_PDEATHSIG = 1
PROCESSES = "processes.json"
WITH_PAGES = {"encoder_worker", "head_worker", "infra.insights"}  # modules whose processes serve metrics


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on.

    Not one of those that the system gives to outgoing connections (from 32,768 on Linux): a broker needs seconds until
    it listens, and a client's connection could take its port meanwhile.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def die_with_parent() -> Callable[[], None]:
    """What a child runs first: the kernel ends it when its parent goes, even by kill -9 (Linux; a no-op elsewhere).

    To the kernel the parent is the thread that spawned: spawn only from one that lives as long as the stack.
    """
    parent = os.getpid()

    def mark() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it went just before
                os._exit(EXIT_UNAVAILABLE)

    return mark


@dataclass
class Child:
    """One process, its command line, its log file, and the file it touches when it is ready."""

    name: str
    command: list[str]
    log: Path
    ready: Path
    process: subprocess.Popen[bytes]
    started_s: float = field(default_factory=time.time)
    restarts: int = 0
    stop_signal: int = signal.SIGTERM
    again: bool = False  # it ended before it was ready, as the time before: told of once
    retired_s: float | None = None  # of the monotonic clock: since then it is to end, and not to be started again


@dataclass(frozen=True)
class ProcessState:
    """What a state directory tells of one process. `started_s`: of the epoch, the last time."""

    name: str
    pid: int
    started_s: float
    restarts: int
    log: str

    @property
    def running(self) -> bool:
        """Whether there is a process of that number now."""
        return is_running(self.pid)


def is_running(pid: int) -> bool:
    """Whether there is a process of that number, whoever's. One that ended and was not waited for is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is there, and somebody else's
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):  # no Linux, or it ended just now
        return True


def processes_of(state_dir: Path) -> list[ProcessState]:
    """The processes of the stack that runs with this state directory; empty where none does."""
    try:
        told = json.loads((state_dir / PROCESSES).read_text())
        return [ProcessState(**known_fields(ProcessState, one)) for one in told]
    except (OSError, ValueError, TypeError, AttributeError):
        return []


class Supervisor:
    """Starts processes with logs under `{state_dir}/logs`; `stop` ends them in the reverse order. `worker_metrics`:
    workers get a port to serve their metrics at, another one at each start, since somebody may have taken it."""

    def __init__(self, state_dir: Path, worker_metrics: bool = False) -> None:
        self._state, self._worker_metrics = state_dir, worker_metrics
        self._ports: dict[str, int] = {}
        self.children: list[Child] = []

    def start(self, name: str, command: list[str]) -> Child:
        """Start a process now."""
        logs = self._state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        child = Child(name, command, logs / f"{name}.log", self._state / f"{name}.ready", self._spawn(name, command))
        self.children.append(child)
        self._note()
        return child

    def _note(self) -> None:
        """For `headrace status`: what runs."""
        told = [ProcessState(c.name, c.process.pid, c.started_s, c.restarts, str(c.log)) for c in self.children]
        partial = self._state / f"{PROCESSES}.partial"
        partial.write_text(json.dumps([vars(one) for one in told]))
        partial.rename(self._state / PROCESSES)

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        ready = self._state / f"{name}.ready"
        ready.unlink(missing_ok=True)
        self._ports[name] = free_port() if self._worker_metrics and WITH_PAGES.intersection(command) else 0
        with (self._state / "logs" / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
                preexec_fn=die_with_parent(),
                env={**os.environ, "HEADRACE_READY_FILE": str(ready), "HEADRACE_INSTANCE": self.instance(name),
                     "HEADRACE_METRICS_PORT": str(self._ports[name]), "HEADRACE_METRICS_HOST": LOCAL},
            )

    def instance(self, name: str) -> str:
        """A child's name in its consumer group: the same after a restart, another one in every other stack."""
        place = f"{socket.gethostname()}:{self._state.resolve()}"
        return f"{name}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"

    def metrics_ports(self) -> dict[str, int]:
        """Where each worker serves its metrics now."""
        return {child.name: port for child in self.children if (port := self._ports.get(child.name))}

    def wait_ready(self, child: Child, seconds: float, probe: Callable[[], bool] | None = None) -> None:
        """Until the child is ready. Raises: Misconfigured or Unavailable, with the end of its log."""
        deadline = time.monotonic() + seconds
        while not (probe() if probe else child.ready.exists()):
            if child.process.poll() not in (None, EXIT_UNAVAILABLE):
                raise Misconfigured(f"{child.name} ended with {child.process.returncode}:\n{_tail(child.log)}")
            if time.monotonic() > deadline:
                raise Unavailable(f"{child.name} was not ready in {seconds:.0f} s:\n{_tail(child.log)}")
            self.restart_ended()
            time.sleep(0.05)

    def restart_ended(self) -> list[str]:
        """Start the ended ones again, and name them; one that is misconfigured stays down."""
        restarted = []
        for child in self.children:
            if child.retired_s is None and child.process.poll() is not None and child.process.returncode != 2:
                lived_s = time.time() - child.started_s
                child.again = bool(child.restarts) and lived_s < AGAIN_S and not child.ready.exists()
                if child.process.returncode < 0:  # it could not say so itself
                    with child.log.open("a") as log:
                        log.write(f"killed by signal {-child.process.returncode}\n")
                child.process = self._spawn(child.name, child.command)
                child.started_s, child.restarts = time.time(), child.restarts + 1
                restarted.append(child.name)
        if restarted:
            self._note()
        return restarted

    def told(self, names: Sequence[str]) -> list[str]:
        """A line for each that was started again: once in an outage, with what it said last."""
        return [f"restarted: {child.name} (its last line: {_tail(child.log, 1)[:300]!r})"
                for child in self.children if child.name in names and not child.again]

    def retire(self, child: Child) -> None:
        """Ask a child to end; it is not started again. `ended` tells when it is gone."""
        child.retired_s = time.monotonic()
        child.process.terminate()

    def ended(self) -> list[Child]:
        """The retired ones that have ended since the last call; one that has not ended within 15 s is killed."""
        retired = [child for child in self.children if child.retired_s is not None]
        for child in retired:
            if child.process.poll() is None and time.monotonic() - (child.retired_s or 0.0) > STOP_S:
                child.process.kill()
        gone = [child for child in retired if child.process.poll() is not None]
        if gone:
            self.children = [child for child in self.children if child not in gone]
            self._note()
        return gone

    def stop(self) -> None:
        """SIGTERM to each (or its own `stop_signal`), last started first, and SIGKILL to what is left after 15 s."""
        for child in reversed(self.children):
            child.process.send_signal(child.stop_signal)
            try:
                child.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self.children.clear()
        (self._state / PROCESSES).unlink(missing_ok=True)


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
