"""The process that finds system entities: `python -m head_worker.entity_server FD CPU_S`, started by `entities.py`.

The libraries are Python of a cost that no text bounds: 200 digits take 11 s (dateparser), and nothing inside the
interpreter stops them for sure. So this process has them loaded, and forks a child that reads the texts. Where a text
takes more than CPU_S of processor time, the kernel ends the child (ITIMER_PROF), the text is answered with nothing, and
the next child is there after a fork (2 ms).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from multiprocessing.connection import Connection, Pipe
from typing import Any

import msgpack

from head_worker.system import find, is_known, warm_up

HUNG = 40  # a child that takes so many times CPU_S by the clock, without computing, is ended too


def main() -> None:
    """Answer until the other end closes. Requests: [number, text, lang, now_us, kinds]; answers: [number, entities],
    where entities are None for a text that was given up, and first of all [0, None]: ready."""
    asked, cpu_s = Connection(int(sys.argv[1])), float(sys.argv[2])
    warm = {"en"}
    warm_up("en")
    gc.freeze()  # a child then copies fewer pages
    asked.send_bytes(msgpack.packb([0, None]))
    child = _Child(asked, cpu_s)
    while True:
        try:
            request = asked.recv_bytes()
        except (EOFError, OSError):
            return
        number, lang = _number_and_lang(request)
        if lang not in warm and is_known(lang):  # its tables load once, here, and not within a text's time
            warm.add(lang)
            warm_up(lang)
            child.end()
            child = _Child(asked, cpu_s)
        answer = child.ask(request)
        asked.send_bytes(answer or msgpack.packb([number, None]))
        if answer is None:
            child.end()
            child = _Child(asked, cpu_s)


def _number_and_lang(request: bytes) -> tuple[int, str]:
    number, _, lang, *_ = msgpack.unpackb(request)
    return number, lang


class _Child:
    """A fork of this process that answers one text after the other."""

    def __init__(self, asked: Connection, cpu_s: float) -> None:
        self._ours, theirs = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            asked.close()
            self._ours.close()
            _answer(theirs, cpu_s)
            os._exit(0)
        theirs.close()

    def ask(self, request: bytes) -> bytes | None:
        """The answer; None where the text ended the child."""
        try:
            self._ours.send_bytes(request)
            return self._ours.recv_bytes()
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        """Let it go and forget it."""
        self._ours.close()
        os.waitpid(self._pid, 0)


def _answer(asked: Connection, cpu_s: float) -> None:
    while True:
        try:
            number, text, lang, now_us, kinds = msgpack.unpackb(asked.recv_bytes())
        except (EOFError, OSError):
            return
        # Nobody handles these signals: their default is the end of the process, whatever it is computing.
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        signal.setitimer(signal.ITIMER_REAL, HUNG * cpu_s)
        found = _found(text, lang, now_us, kinds)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        asked.send_bytes(msgpack.packb([number, found]))


def _found(text: str, lang: str, now_us: int, kinds: list[str]) -> list[tuple[Any, ...]] | None:
    try:
        return [(one.start, one.end, one.kind, one.value) for one in find(text, lang, now_us, kinds)]
    except Exception:  # libraries over foreign text: whatever they raise, this text is answered without
        return None


if __name__ == "__main__":
    main()
