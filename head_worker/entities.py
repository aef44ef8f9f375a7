"""System entities from a process of their own, within a time for each text: what takes longer is left out.

The rest of the prediction is answered all the same, and the count `entities_left_out` says how often. Decision 16 says
why a process.
"""

from __future__ import annotations

import atexit
import logging
import math
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

import msgpack

from head_worker.system import SystemEntity, check_available, readable
from topology.pacing import PACING, Pacing

log = logging.getLogger(__name__)
MAX_LANGS = 256  # dateparser knows some 200; a client may name any


class EntityProcess:
    """One process that finds system entities for this one. Any thread may use it; they take turns."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._begun_s = -math.inf
        self._line: Connection | None = None
        self._number = self._answered = 0
        self._langs: set[str] = set()
        self._said_s = 0.0
        self.counts: Counter[str] = Counter()

    def start(self) -> None:
        """Start it and wait a while until it is ready; heads answer without system entities until it is."""
        with self._turn:
            if not self._running():
                self._begin()
            self._hears(0, time.monotonic() + self._pacing.entity_start_s)

    def find(self, text: str, lang: str, now_us: int, kinds: Collection[str]) -> list[SystemEntity] | None:
        """As `system.find`; None where they are left out: the text takes too long, or the process is not there."""
        found = None
        if self._turn.acquire(timeout=self._pacing.entity_wait_s):
            try:
                found = self._ask(readable(text), lang, now_us, kinds)
            finally:
                self._turn.release()
        if found is None:
            self.counts["entities_left_out"] += 1
            self._say()
            return None
        return [SystemEntity(*one) for one in found]

    def _ask(self, text: str, lang: str, now_us: int, kinds: Collection[str]) -> list[tuple[Any, ...]] | None:
        if not self._running() and time.monotonic() > self._begun_s + self._pacing.entity_restart_s:
            self._begin()
        # A language's tables are loaded once: 0.1 to 0.6 s, which only its first text waits for.
        wait_s = self._pacing.entity_wait_s if lang in self._langs else self._pacing.entity_first_wait_s
        end_s = time.monotonic() + wait_s
        if not self._hears(self._number, end_s if self._number else 0.0):
            return None  # it is starting, or still busy with a text that nobody waits for any more
        self._number += 1
        if len(self._langs) > MAX_LANGS:
            self._langs.clear()
        self._langs.add(lang)
        try:
            if self._line is not None:
                self._line.send_bytes(msgpack.packb([self._number, text, lang, now_us, list(kinds)]))
        except OSError:
            return None  # it is gone; a later text starts another
        return self._found if self._hears(self._number, end_s) else None

    def _hears(self, number: int, end_s: float) -> bool:
        """Whether the answer `number` has come, or comes until `end_s`."""
        try:
            while self._answered < number and self._line and self._line.poll(max(0.0, end_s - time.monotonic())):
                self._answered, self._found = msgpack.unpackb(self._line.recv_bytes())
        except (EOFError, OSError):
            self._end()
        return self._answered >= number

    def _running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _begin(self) -> None:
        self._end()
        self._number, self._answered, self._begun_s = 0, -1, time.monotonic()
        self._langs.clear()
        try:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                told = (str(theirs.fileno()), str(self._pacing.entity_cpu_s))
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "head_worker.entity_server", *told],
                    pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
                )
                self._line = Connection(ours.detach())
        except OSError as error:  # of this moment: no process, no file more; a later text tries again
            log.warning("the process for system entities cannot be started: %s", error)

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._line = None

    def stop(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def _say(self) -> None:
        if time.monotonic() - self._said_s > self._pacing.entity_log_s:
            self._said_s = time.monotonic()
            log.warning("system entities were left out of %d texts so far: they take more than %g s of a processor, or "
                        "their process is not there", self.counts["entities_left_out"], self._pacing.entity_cpu_s)


@cache
def entity_process() -> EntityProcess:
    """This process's own, made when a head first asks for it, as `system` imports its libraries; it ends with us."""
    made = EntityProcess(PACING)
    atexit.register(made.stop)
    return made


def prepare(kinds: Collection[str]) -> None:
    """Have the process ready for a head that asks for `kinds`. Raises: BadHead where a library is missing."""
    if kinds:
        check_available(kinds)
        entity_process().start()


def left_out() -> int:
    """How many texts had to do without system entities so far."""
    return entity_process().counts["entities_left_out"]
