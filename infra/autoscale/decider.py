"""The loop of whoever applies decisions: read all tiers, decide for all at once, keep what was decided."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from infra.autoscale.decision import decide
from infra.autoscale.tiers import Advice, Past, Policy, Tier
from topology.errors import Unavailable

log = logging.getLogger(__name__)

Read = Callable[[], Awaitable[Sequence[Tier]]]


class Decider:
    """`latest` has the advice for each tier once its world was read. While it cannot be read, the count stays what it
    was, and the advice says why.

    `counts`: how many replicas were asked for so far, by tier: what `held` means until the first reading. `note`: told
    every advice.
    """

    def __init__(
        self, read: Read, policy: Policy, note: Callable[[Advice], None], counts: Mapping[str, int] | None = None
    ) -> None:
        self._read, self._policy, self._note = read, policy, note
        self._past, self._tiers = Past(), dict[str, Tier]()
        self._changed = asyncio.Condition()
        self.counts = dict(counts or {})
        self.latest: dict[str, Advice] = {}
        self.missing = "nothing was read yet"

    async def run(self, stop: asyncio.Event, apply: Callable[[Sequence[Advice]], None] | None = None) -> None:
        """Decide every `autoscale.every_s`, and hand what was decided to `apply`, until `stop`."""
        while not stop.is_set():
            advices = await self.turn()
            if apply is not None:
                apply(advices)
            await pause(stop, self._policy.every_s)

    async def turn(self) -> Sequence[Advice]:
        """Read and decide once. A world that cannot be read changes no count."""
        try:
            tiers = [self._asked_for(tier) for tier in await self._read()]
            self._tiers |= {tier.name: tier for tier in tiers}
            self.missing = ""
        except Unavailable as error:
            self.missing, now_s = str(error), time.time()
            tiers = [replace(tier, at_s=now_s, missing=self.missing) for tier in self._tiers.values()]
            log.warning("counts stay as they are: %s", error)
        found, self._past = decide(tiers, self._policy, self._past)
        advices = [self._kept(advice) for advice in found]
        for advice in advices:
            self._note(advice)
        async with self._changed:
            self.latest |= {advice.tier: advice for advice in advices}
            self.counts |= {advice.tier: advice.replicas for advice in advices}
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
