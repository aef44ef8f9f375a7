"""One machine: `headrace up --autoscale` starts and stops worker processes as the decisions say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from infra.autoscale.decider import Decider, Said, news, pause, together
from infra.autoscale.tiers import Advice
from infra.stack.supervise import Child, Supervisor
from infra.stack.up import restored, start_worker, tiers
from topology import topics
from topology.errors import HeadraceError
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.leave import leave_group

log = logging.getLogger(__name__)


class Fleet:
    """The workers of all tiers. Worker n of a tier keeps its name over stops and starts, so its consumer group knows
    it again; the highest numbers are stopped first."""

    def __init__(self, settings: Settings, supervisor: Supervisor, config: str) -> None:
        self._settings, self._supervisor, self._config = settings, supervisor, config
        self._starts = {tier: what for tier, what, _ in tiers(settings)}
        self._leaving: dict[str, str] = {}  # name → tier, of workers that are asked to end

    @property
    def counts(self) -> dict[str, int]:
        """Tier → workers that run or start."""
        return {tier: len(self._running(tier)) for tier in self._starts}

    @property
    def ready(self) -> dict[str, int]:
        """Tier → workers that have their partitions."""
        return {tier: sum(one.ready.exists() for one in self._running(tier).values()) for tier in self._starts}

    def apply(self, advice: Advice) -> None:
        """Start what is missing, ask what is too many to end. A worker that ends finishes what it computes, and
        commits it, first."""
        running = self._running(advice.tier)
        taken = {*running, *self._leaving}
        free = (n for n in range(len(taken) + advice.replicas) if self._name(advice.tier, n) not in taken)
        for _ in range(advice.replicas - len(running)):
            start_worker(self._supervisor, self._config, advice.tier, self._starts[advice.tier], next(free))
        for name in sorted(running, key=_number)[advice.replicas :]:
            self._leaving[name] = advice.tier
            self._supervisor.retire(running[name])

    async def tend(self) -> list[str]:
        """Start again what ended by itself, and let go what was asked to end. Returns what happened, in words."""
        names = self._supervisor.restart_ended()
        told = self._supervisor.told(names)
        await asyncio.to_thread(restored, self._settings, self._supervisor, names, told.append)
        for child in self._supervisor.ended():
            told.append(f"stopped: {child.name}, status {child.process.returncode}")
            await self._leave(child)
        return told

    async def _leave(self, child: Child) -> None:
        """Its partitions move to the others now. Until then its name is not given anew."""
        try:
            if self._settings.broker.kind != "embedded":  # which has no static members: it left by itself
                group = _group(self._settings.prefix, self._leaving[child.name])
                await leave_group(self._settings.broker, group, self._supervisor.instance(child.name))
        except HeadraceError as error:
            log.warning("the partitions of %s move when its session ends: %s", child.name, error)
        finally:
            del self._leaving[child.name]

    def _running(self, tier: str) -> dict[str, Child]:
        prefix = self._name(tier, "")
        return {one.name: one for one in self._supervisor.children
                if one.retired_s is None and one.name.startswith(prefix) and one.name[len(prefix) :].isdecimal()}

    def _name(self, tier: str, number: int | str) -> str:
        return f"{tier.replace('/', '-')}-{number}"


async def autoscale(fleet: Fleet, decider: Decider, stop: asyncio.Event, say: Callable[[str], None] = print) -> None:
    """Decide and apply until `stop`, saying each change in a line."""
    said: Said = {}

    def apply(advices: Sequence[Advice]) -> None:
        for advice in news(advices, said):
            say(f"{advice.tier}: {advice.why}")
            for report in advice.reports:
                say(f"{advice.tier}: {report}")
            fleet.apply(advice)

    await together(decider.run(stop, apply), _tend(fleet, stop, say))


async def _tend(fleet: Fleet, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    while not stop.is_set():
        for line in await fleet.tend():
            say(line)
        await pause(stop, PACING.tend_s)


def _group(prefix: str, tier: str) -> str:
    role, ring, *cell = tier.split("/")
    return topics.encoder_group(prefix, ring) if role == "encoder" else topics.head_group(prefix, ring, cell[0])


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
