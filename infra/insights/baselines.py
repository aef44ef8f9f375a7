"""What heads' own evaluations said, read from the store when a version is first seen."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from head_worker.store import HeadStore
from infra.insights.measures import Baseline, baseline_of
from topology.errors import HeadraceError
from topology.pacing import PACING

log = logging.getLogger(__name__)


class Baselines:
    """Of one ring. A version never changes, so each is read once. One that cannot be read now is asked for again."""

    def __init__(self, store: HeadStore, ring: str, most: int = PACING.insights_heads) -> None:
        self._store, self._ring, self._most = store, ring, most
        self._known: OrderedDict[tuple[str, str], Baseline] = OrderedDict()

    async def of(self, tenant: str, versions: list[str]) -> dict[str, Baseline]:
        """Version → baseline, those that have one."""
        found = {}
        for version in versions:
            key = tenant, version
            if key not in self._known:
                try:
                    manifest = await asyncio.to_thread(self._store.manifest, self._ring, tenant, version)
                except (HeadraceError, OSError) as error:  # gone, damaged, or the store is away: asked again next time
                    log.debug("no evaluation of %s/%s %s: %s", self._ring, tenant, version, error)
                    continue
                self._known[key] = baseline_of(manifest)
            self._known.move_to_end(key)
            found[version] = self._known[key]
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found
