"""Heads in memory: loaded on first use, once each, off the loop, within a byte budget, and without a cliff.

Which head stays is decided by how often each was asked for lately (TinyLFU, Einziger et al. 2017): a head that is asked
for once in a while never pushes out one that is asked for often, so a scan over more tenants than there is room for
leaves the warm ones warm. Such a head answers what waited for it and goes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from head_worker.engine import Head
from head_worker.load import load_head
from head_worker.store import HeadStore
from topology.errors import BadHead, UnknownTenant
from topology.registry import HeadRecord
from topology.stream.process import step_back

log = logging.getLogger(__name__)

Key = tuple[str, str]  # tenant, version
LOOKED_AT = 8  # least recently used heads among which the one that is asked for least may have to go
GUESTS = 32  # heads that were loaded for what waits and may not stay
REFUSED_S = 5.0  # a head that could not be loaded is not tried again for so long


class HeadCache:
    """The heads of one ring, at the versions that the registry announces."""

    def __init__(self, ring: str, store: HeadStore, budget_bytes: int, pinned: Collection[str] = ()) -> None:
        self._ring, self._store, self._budget, self._pinned = ring, store, budget_bytes, frozenset(pinned)
        self._announced: dict[str, HeadRecord] = {}
        self._serving: dict[str, HeadRecord] = {}
        self._former: dict[str, HeadRecord] = {}
        self._loaded: OrderedDict[Key, Head] = OrderedDict()
        self._guests: OrderedDict[Key, Head] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[Head]] = {}
        self._failed: dict[Key, tuple[float, Exception]] = {}
        self._asked: Counter[str] = Counter()
        self._thread = ThreadPoolExecutor(1, "head-loader", initializer=step_back)  # loading yields to scoring
        self.nbytes = 0
        self.counts: Counter[str] = Counter()

    def apply(self, ring: str, tenant: str, record: HeadRecord | None) -> None:
        """A registry record. A head in memory goes on answering until its successor is loaded whole."""
        if ring != self._ring:
            return
        if record is None:
            for records in (self._announced, self._serving, self._former):
                records.pop(tenant, None)
            for key in [key for key in self._loaded if key[0] == tenant]:
                self._drop(key)
            return
        self._announced[tenant] = record
        served = self._serving.get(tenant)
        if served is None or served.version == record.version or (tenant, served.version) not in self._loaded:
            self._serve(tenant, record)
        else:
            self._begin(tenant, record.version, record.sha256)

    def _serve(self, tenant: str, record: HeadRecord) -> None:
        served = self._serving.get(tenant)
        if served is not None and served.space != record.space:
            self._former[tenant] = served  # not before: until now it may be what answers its space
        self._serving[tenant] = record

    def record(self, tenant: str) -> HeadRecord:
        """What answers for a tenant now. Raises: UnknownTenant where none is registered."""
        if tenant not in self._serving:
            raise UnknownTenant(
                f"no head of tenant {tenant!r} is registered in ring {self._ring!r}: train one with `headrace head "
                "train` and announce it with `headrace head publish`, or check the name"
            )
        return self._serving[tenant]

    def record_for(self, tenant: str, space: str) -> HeadRecord:
        """What answers an embedding of `space`: the version before, where the present one is of another space and that
        one is not. So a head of the wrong space replaces nothing, and heads may be announced before their encoder.

        Raises: UnknownTenant.
        """
        record, former = self.record(tenant), self._former.get(tenant)
        if record.space != space and former is not None and former.space == space:
            self.counts["wrong_space"] += 1
            return former
        return record

    def resident(self, tenant: str, version: str) -> Head | None:
        """A version if it is in memory. Raises: BadHead where it could not be loaded a moment ago."""
        key = (tenant, version)
        self._note(tenant)
        if key in self._loaded:
            self._loaded.move_to_end(key)
            self.counts["hits"] += 1
            return self._loaded[key]
        if key in self._guests:
            head = self._guests[key]
            if self._admits(head, tenant):
                self._keep(key, head)
            return head
        if key in self._failed and time.monotonic() - self._failed[key][0] < REFUSED_S:
            raise self._failed[key][1]
        return None

    def load(self, tenant: str, version: str, sha256: str) -> asyncio.Future[Head]:
        """The loading of a version; callers at the same time share one."""
        return asyncio.shield(self._begin(tenant, version, sha256))

    def _note(self, tenant: str) -> None:
        self._asked[tenant] += 1
        if self._asked.total() > 16 * max(64, len(self._loaded)):  # what was asked long ago counts half
            self._asked = Counter({name: count // 2 for name, count in self._asked.items() if count > 1})

    def _begin(self, tenant: str, version: str, sha256: str) -> asyncio.Task[Head]:
        key = (tenant, version)
        if key not in self._loading:
            task = asyncio.create_task(self._load(key, sha256))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return self._loading[key]

    def _ended(self, key: Key, task: asyncio.Task[Head]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled() and (error := task.exception()):
            self.counts["failed"] += 1
            self._failed[key] = (time.monotonic(), error if isinstance(error, BadHead) else BadHead(str(error)))
            log.error("head %s version %s was not loaded: %s", *key, error)

    async def _load(self, key: Key, sha256: str) -> Head:
        tenant, version = key
        head = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, key, sha256)
        self.counts["loads"] += 1
        if tenant not in self._announced:
            return head
        announced = self._announced[tenant]
        if version == announced.version and self._serving[tenant].version != version:
            former = (tenant, self._serving[tenant].version)
            self._serve(tenant, announced)
            self._keep(key, head)
            self._drop(former)
        elif self._admits(head, tenant):
            self._keep(key, head)
        else:
            self._guests[key] = head
            if len(self._guests) > GUESTS:
                self._guests.popitem(last=False)
        return head

    def _read(self, key: Key, sha256: str) -> Head:
        folder = self._store.folder(self._ring, *key)
        head = load_head(folder)
        if head.manifest.sha256 != sha256:
            raise BadHead(f"{folder}: its sha256 is not the announced one; publish the head again")
        return head

    def _admits(self, head: Head, tenant: str) -> bool:
        """Make room for `head` unless that would cost heads that are asked for as often."""
        victims: list[Key] = []
        freed = 0
        unpinned = (key for key in self._loaded if key[0] not in self._pinned)
        for key in sorted(islice(unpinned, LOOKED_AT), key=lambda k: self._asked[k[0]]):
            if self.nbytes - freed + head.nbytes <= self._budget:
                break
            if tenant not in self._pinned and self._asked[key[0]] >= self._asked[tenant]:
                return False
            victims.append(key)
            freed += self._loaded[key].nbytes
        if self.nbytes - freed + head.nbytes > self._budget and self._loaded:
            return False
        for key in victims:
            self._drop(key)
            self.counts["evictions"] += 1
        return True

    def _keep(self, key: Key, head: Head) -> None:
        self._drop(key)
        self._guests.pop(key, None)
        self._loaded[key] = head
        self.nbytes += head.nbytes

    def _drop(self, key: Key) -> None:
        if (head := self._loaded.pop(key, None)) is not None:
            self.nbytes -= head.nbytes

    def stats(self) -> dict[str, int]:
        """Hits, loads, evictions and failures so far; heads and bytes in memory now."""
        counts = {name: self.counts[name] for name in ("hits", "loads", "evictions", "failed", "wrong_space")}
        return {**counts, "heads": len(self._loaded), "bytes": self.nbytes}
