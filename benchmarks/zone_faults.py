"""A zone of a running stack dies, freezes, and comes back under a load whose ids are known.

A zone is a broker, an encoder worker and a head worker (`stack(zones=…)`). Redis, the callers and the supervisor stand
outside of zones. Whatever ends by itself in a zone that lives is started again, as a supervisor would.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.arrivals import Arrival
from infra.stack.supervise import Child, Supervisor
from producers import Headrace
from topology import topics, wire
from topology.errors import HeadraceError, Unavailable
from topology.settings import Settings
from topology.stream.kafka import TopicReader
from topology.stream.records import Record

ZONES = ("a", "b", "c")
IN_TIME_S = 1.0  # recovered: whoever asks from then on has the reply within it
COMMIT_S = 2.0  # what was answered so long before a fault may not be committed yet: twice the workers' interval
DEADLINE_S = 300.0
MOST_TIMES = 5
TEND_S = 0.25
RESULTS_S = 60.0


@dataclass
class Asked:
    """One utterance. `at_s`: since the load began, as scheduled; `done_s`: when its reply came; `times`: that
    it was asked, once more for each `unavailable`."""

    id: str
    tenant: str
    at_s: float
    done_s: float = float("inf")
    error: str = ""
    times: int = 1

    @property
    def took_s(self) -> float:
        """From its arrival to the reply in the caller's hands."""
        return self.done_s - self.at_s


class Zones:
    """The zones of a stack, by number."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def members(self, number: int, kinds: Sequence[str] = ("kafka", "encoder", "head")) -> list[Child]:
        """The processes of a zone."""
        return [child for child in self._supervisor.children
                if child.name.startswith(tuple(kinds)) and _zone_of(child) == number]

    def kill(self, number: int) -> None:
        """All of a zone at once, by SIGKILL."""
        for child in self.members(number):
            child.retired_s = time.monotonic()  # it is not to be started again yet
            child.process.send_signal(signal.SIGKILL)

    def freeze(self, number: int) -> None:
        """The broker of a zone, by SIGSTOP: its connections stay open, and nobody answers on them."""
        for child in self.members(number, ("kafka",)):
            child.process.send_signal(signal.SIGSTOP)

    def bring_back(self, number: int) -> None:
        """What was killed is started again, what was frozen goes on."""
        for child in self.members(number):
            child.retired_s = None
            with suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGCONT)
        self._supervisor.restart_ended()

    async def tend(self) -> None:
        """Start again what ends by itself; for ever."""
        while True:
            self._supervisor.restart_ended()
            await asyncio.sleep(TEND_S)


def _zone_of(child: Child) -> int:
    number = int(child.name.rpartition("-")[2])
    return (number - 1 if child.name.startswith("kafka") else number) % len(ZONES)


@dataclass(frozen=True)
class Fault:
    """What happens when a given share of the load was sent: `what` is its name in results."""

    share: float
    what: str
    act: Callable[[], None]


@dataclass
class Run:
    """What became of a load. `faults`: (name, when); `results`: id → how often it is on the result topic."""

    asked: list[Asked]
    faults: list[tuple[str, float]] = field(default_factory=list)
    results: Mapping[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> list[str]:
        """Ids of which nobody was told anything, or that have a good reply and no result."""
        return [one.id for one in self.asked if not one.error and not self.results.get(one.id)]

    @property
    def refused(self) -> dict[str, str]:
        """Ids that were told a named error in the end → its code."""
        return {one.id: one.error for one in self.asked if one.error}

    @property
    def twice(self) -> list[str]:
        """Ids that have more than one result."""
        return [id for id, count in self.results.items() if count > 1]

    @property
    def twice_unexplained(self) -> list[str]:
        """Of these, those that were neither in flight at a fault nor answered just before it."""
        known = {one.id: one for one in self.asked}
        return [id for id in self.twice if not self._in_flight(known[id])]

    def _in_flight(self, one: Asked) -> bool:
        return any(one.done_s > at_s - COMMIT_S and one.at_s < at_s + self.recovery_s(at_s)
                   for _, at_s in self.faults)

    def recovery_s(self, fault_s: float) -> float:
        """Seconds from a fault until whoever asks has the reply within `IN_TIME_S`; the next fault ends the look."""
        late = [one.at_s for one in self._between(fault_s) if one.took_s > IN_TIME_S]
        return max(late, default=fault_s) - fault_s

    def _between(self, begin_s: float) -> list[Asked]:
        end_s = min((at_s for _, at_s in self.faults if at_s > begin_s), default=float("inf"))
        return [one for one in self.asked if begin_s <= one.at_s < end_s]

    def summary(self) -> dict[str, Any]:
        """For a result file: each part of the load by the fault that began it, and what became of every id."""
        parts = {}
        for what, at_s in (("before", 0.0), *self.faults):
            took_ms = [one.took_s * 1e3 for one in self._between(at_s)]
            p50, p99, most = (float(np.percentile(took_ms, q)) if took_ms else float("nan") for q in (50, 99, 100))
            parts[what] = {"at_s": at_s, "asked": len(took_ms), "p50_ms": p50, "p99_ms": p99, "most_ms": most,
                           "recovery_s": 0.0 if what == "before" else self.recovery_s(at_s)}
        return {
            "asked": len(self.asked), "parts": parts, "lost": self.lost, "twice": self.twice,
            "twice_unexplained": self.twice_unexplained,
            "told_unavailable": [one.id for one in self.asked if one.times > 1],
            "refused": self.refused,
        }


async def drive(
    client: Headrace, zones: Zones, settings: Settings, ring: str, coming: Sequence[Arrival], faults: Iterable[Fault],
    name: str,
) -> Run:
    """Send every arrival at its time, let each fault happen at its share of them, and await every reply and result."""
    acts = {int(fault.share * len(coming)): fault for fault in faults}
    run = Run([Asked(f"{name}-{number:06d}", one.tenant, one.at_s) for number, one in enumerate(coming)])
    begin_s = time.monotonic()

    async def ask(one: Asked, text: str) -> None:
        for one.times in range(1, MOST_TIMES + 1):
            try:
                await client.predict(one.tenant, text, lang="en", deadline=DEADLINE_S, id=one.id)
                one.error = ""
                break
            except Unavailable as error:  # who is told so asks again, under the same id
                one.error = error.code
            except HeadraceError as error:
                one.error = error.code
                break
        one.done_s = time.monotonic() - begin_s

    tending = asyncio.create_task(zones.tend())
    try:
        async with asyncio.TaskGroup() as group:
            for number, (one, arrival) in enumerate(zip(run.asked, coming, strict=True)):
                if (wait_s := one.at_s - (time.monotonic() - begin_s)) > 0:
                    await asyncio.sleep(wait_s)
                if fault := acts.get(number):
                    run.faults.append((fault.what, time.monotonic() - begin_s))
                    fault.act()
                group.create_task(ask(one, arrival.text))
        run.results = await _results(settings, ring, {one.id for one in run.asked if not one.error})
    finally:
        tending.cancel()
    return run


async def _results(settings: Settings, ring: str, ids: set[str]) -> Counter[str]:
    """Id → how many good results it has. They follow the replies: waits for all, a minute at most."""
    reader, found = TopicReader(settings.broker, topics.predictions(settings.prefix, ring, "a")), Counter[str]()

    def note(records: Iterable[Record]) -> None:
        results = (wire.decode(wire.Prediction, record.value or b"") for record in records)
        found.update(one.id for one in results if one.id in ids and not one.error)

    await reader.start()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(RESULTS_S):
                while not ids <= found.keys():
                    note(await reader.take(wait_ms=500))
        note(await reader.read_to_end())
    finally:
        await reader.stop()
    return found
