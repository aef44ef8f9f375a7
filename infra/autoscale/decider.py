"""The loop of whoever applies decisions: read all tiers, decide for all at once, keep what was decided."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.autoscale.decision import decide
from infra.autoscale.history import History
from infra.autoscale.signals import Signals, tiers
from infra.autoscale.tiers import Advice, Past, Policy, Tier
from topology.settings import Settings

log = logging.getLogger(__name__)

Read = Callable[[], Awaitable[Sequence[Tier]]]
Said = dict[str, tuple[int, str, int]]
Note = Callable[[Sequence[Advice]], None]


class Decider:
    """`counts` has the replicas that each tier is to have, once that is known. What cannot be read, or not decided,
    changes no count; the advice says why.

    `counts`: what was asked for before. `note`: is told all advices of a turn.
    """

    def __init__(
        self, read: Read, policy: Policy, note: Note = lambda advices: None, counts: Mapping[str, int] | None = None
    ) -> None:
        self._read, self._policy, self._note = read, policy, note
        self._past = Past()
        self._changed = asyncio.Condition()
        self.counts = dict(counts or {})
        self.why = "nothing was read yet"  # of the newest turn that decided nothing

    async def run(self, stop: asyncio.Event, apply: Callable[[Sequence[Advice]], None] | None = None) -> None:
        """Decide every `autoscale.every_s`, and hand what was decided to `apply`, until `stop`."""
        while not stop.is_set():
            advices = await self.turn()
            if apply is not None:
                apply(advices)
            await pause(stop, self._policy.every_s)

    async def turn(self) -> Sequence[Advice]:
        """Read and decide once."""
        tiers = [self._asked_for(tier) for tier in await self._read()]
        found, self._past = decide(tiers, self._policy, self._past)
        advices = [self._kept(advice) for advice in found]
        self._note(advices)
        unread = {tier.name for tier in tiers if tier.missing or not tier.replicas}
        for advice in advices:
            if advice.held:
                self.why = advice.why
            if not (advice.held and advice.tier in unread):  # else nobody knows how many there are
                self.counts[advice.tier] = advice.replicas
        async with self._changed:
            self._changed.notify_all()
        return advices

    def _asked_for(self, tier: Tier) -> Tier:
        """A replica that starts is no member of its group yet, and counts: what was asked for is what there is."""
        return replace(tier, replicas=self.counts.get(tier.name, tier.replicas))

    def _kept(self, advice: Advice) -> Advice:
        return replace(advice, replicas=self.counts.get(advice.tier, advice.replicas)) if advice.held else advice

    async def change(self) -> None:
        """Return after the next turn."""
        async with self._changed:
            await self._changed.wait()


def news(advices: Sequence[Advice], said: Said) -> list[Advice]:
    """Those whose decision differs from the tier's in `said`, which is brought up to date. At first only what changes a
    count, or holds it, is new. The figures of a reason move always; why a count is held does not."""
    found = []
    for advice in advices:
        now = (advice.replicas, advice.why if advice.held else "", len(advice.reports))
        if said.get(advice.tier, (advice.running, "", 0)) != now:
            found.append(advice)
        said[advice.tier] = now
    return found


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Return after so long, or at `stop`."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def together(*running: Coroutine[Any, Any, None]) -> None:
    """Run all until the first ends. Its error is raised; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in running]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for one in rest:
        one.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for one in done:
        await one


@contextlib.asynccontextmanager
async def deciding(settings: Settings, counts: Mapping[str, int] | None = None) -> AsyncIterator[Decider]:
    """A decider over what Kafka tells, whose decisions are kept for `headrace scale history`. `counts`: what runs;
    where that is not known, what was decided last."""
    signals, history = Signals(settings), History(Path(settings.state_dir))

    async def read() -> Sequence[Tier]:
        return tiers(settings, await signals.look())

    def note(advices: Sequence[Advice]) -> None:
        try:
            history.note(advices)
        except OSError as error:  # a full disk, or a container's that cannot be written: it goes on without
            log.warning("decisions are not kept: %s", error)

    known = history.latest() if counts is None else counts
    try:
        yield Decider(read, settings.autoscale, note, known)
    finally:
        await signals.stop()
