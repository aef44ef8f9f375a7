"""Heads in memory: loaded on first use, once each, off the loop, within a byte budget, and without a cliff.

Which head stays is decided by how often each was asked for lately (TinyLFU, Einziger et al. 2017): a head that is asked
for once in a while never pushes out one that is asked for often, so a scan over more tenants than there is room for
leaves the warm ones warm. Such a head answers what waited for it and goes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Collection
from itertools import islice

from head_worker.engine import Head
from head_worker.entities import left_out
from head_worker.load import load_head
from head_worker.loaders import Loaders
from head_worker.registered import Registered
from head_worker.store import HeadStore
from topology.errors import BadHead, BadRecord, HeadUnavailable, Unavailable, UnknownTenant
from topology.pacing import PACING, Pacing
from topology.registry import HeadRecord

log = logging.getLogger(__name__)

Key = tuple[str, str]  # tenant, version
LOOKED_AT = 8  # least recently used heads among which the one that is asked for least may have to go


class HeadCache:
    """The heads of one ring, at the versions that the registry announces."""

    def __init__(
        self, ring: str, store: HeadStore, budget_bytes: int, pinned: Collection[str] = (), pacing: Pacing = PACING
    ) -> None:
        self._ring, self._store, self._budget, self._pinned = ring, store, budget_bytes, frozenset(pinned)
        self._pacing = pacing
        self._announced, self._former = Registered(ring), Registered(ring)
        self._held: dict[str, HeadRecord] = {}  # what answers still, while its successor is loaded
        self._loaded: OrderedDict[Key, Head] = OrderedDict()
        self._guests: OrderedDict[Key, Head] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[Head]] = {}
        self._failed: OrderedDict[Key, tuple[float, BadRecord]] = OrderedDict()
        self._asked: Counter[str] = Counter()
        self._asked_in_all = 0
        self._loaders: Loaders[Head] = Loaders(pacing)
        self.nbytes = 0
        self.counts: Counter[str] = Counter()

    def apply(self, ring: str, tenant: str, record: HeadRecord | None) -> None:
        """A registry record. A head in memory goes on answering until its successor is loaded whole."""
        if ring != self._ring:
            return
        if record is None:
            for records in (self._announced, self._former):
                records.pop(tenant)
            self._held.pop(tenant, None)
            for key in [key for key in (*self._loaded, *self._guests) if key[0] == tenant]:
                self._drop(key)
                self._guests.pop(key, None)
            return
        served = self._served(tenant)
        self._announced.put(record)
        if served is None or served.version == record.version or (tenant, served.version) not in self._loaded:
            self._serve(record, served)
        else:
            self._held[tenant] = served
            self._begin(tenant, record.version, record.sha256)

    def _served(self, tenant: str) -> HeadRecord | None:
        return self._held.get(tenant) or self._announced.get(tenant)

    def _serve(self, record: HeadRecord, served: HeadRecord | None) -> None:
        """From now on with what is announced, instead of `served`."""
        if served is not None and served.space != record.space:
            self._former.put(served)  # not before: until now it may be what answers its space
        self._held.pop(record.tenant, None)

    def record(self, tenant: str) -> HeadRecord:
        """What answers for a tenant now. Raises: UnknownTenant where none is registered."""
        record = self._served(tenant)
        if record is None:
            raise UnknownTenant(
                f"no head of tenant {tenant!r} is registered in ring {self._ring!r}: train one with `headrace head "
                "train` and announce it with `headrace head publish`, or check the name"
            )
        return record

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
        """A version if it is in memory.

        Raises: BadHead, HeadUnavailable where it could not be loaded a moment ago.
        """
        key = (tenant, version)
        self._note(tenant)
        if key in self._loaded:
            self._loaded.move_to_end(key)
            self.counts["hits"] += 1
            self._try_successor(tenant)
            return self._loaded[key]
        if key in self._guests:
            head = self._guests[key]
            if self._admits(head, tenant):
                self._keep(key, head)
            return head
        if (refused := self._refused(key)) is not None:
            raise refused
        return None

    def _refused(self, key: Key) -> BadRecord | None:
        """Why a version is not tried again yet."""
        at_s, error = self._failed.get(key, (-math.inf, None))
        return error if time.monotonic() - at_s < self._pacing.head_refused_s else None

    def _try_successor(self, tenant: str) -> None:
        """A successor that could not be loaded is tried again: its store may be back."""
        announced, served = self._announced.get(tenant), self._held.get(tenant)
        if announced is None or served is None or announced.version == served.version:
            return
        if self._refused((tenant, announced.version)) is None:
            self._begin(tenant, announced.version, announced.sha256)

    def load(self, tenant: str, version: str, sha256: str) -> asyncio.Future[Head]:
        """The loading of a version; callers at the same time share one."""
        return asyncio.shield(self._begin(tenant, version, sha256))

    def _note(self, tenant: str) -> None:
        self._asked[tenant] += 1
        self._asked_in_all += 1
        if self._asked_in_all > 16 * max(64, len(self._loaded)):  # what was asked long ago counts half
            self._asked = Counter({name: count // 2 for name, count in self._asked.items() if count > 1})
            self._asked_in_all = self._asked.total()

    def _begin(self, tenant: str, version: str, sha256: str) -> asyncio.Task[Head]:
        key = (tenant, version)
        if key not in self._loading:
            task = asyncio.create_task(self._load(key, sha256))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return self._loading[key]

    def _ended(self, key: Key, task: asyncio.Task[Head]) -> None:
        self._loading.pop(key, None)
        self._failed.pop(key, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        self.counts["failed"] += 1
        self._failed[key] = (time.monotonic(), error if isinstance(error, BadRecord) else BadHead(str(error)))
        if len(self._failed) > self._pacing.max_refused_heads:
            self._failed.popitem(last=False)
        log.error("%s (cause: %r)", error, error.__cause__)  # paths and addresses stand in the cause, for the log alone

    async def _load(self, key: Key, sha256: str) -> Head:
        tenant, version = key
        head = await self._read(key, sha256)
        self.counts["loads"] += 1
        announced, served = self._announced.get(tenant), self._held.get(tenant)
        if announced is None:
            return head
        if served is not None and version == announced.version != served.version:
            self._serve(announced, served)
            self._keep(key, head)
            self._drop((tenant, served.version))
        elif self._admits(head, tenant):
            self._keep(key, head)
        else:
            self._guests[key] = head
            if len(self._guests) > self._pacing.guest_heads:
                self._guests.popitem(last=False)
        return head

    async def _read(self, key: Key, sha256: str) -> Head:
        """Raises: BadHead, HeadUnavailable, whose texts callers get: a tenant and a version, no path of this server."""
        what = f"head of tenant {key[0]!r}, version {key[1]!r}"
        try:
            return await self._loaders.run(key, lambda: self._read_now(key, sha256))
        except BadHead as error:
            raise BadHead(f"{what}: {error}") from error
        except HeadUnavailable as error:
            raise HeadUnavailable(f"{what}: {error}") from error
        except (Unavailable, OSError, MemoryError) as error:
            raise HeadUnavailable(f"{what}: it cannot be loaded now; try again") from error
        except Exception as error:
            raise BadHead(f"{what}: it cannot be loaded ({type(error).__name__})") from error

    def _read_now(self, key: Key, sha256: str) -> Head:
        folder = self._store.folder(self._ring, *key)
        try:
            head = load_head(folder)
            if head.manifest.sha256 != sha256:
                raise BadHead("its sha256 is not the announced one; publish the head again")
        except BadHead:
            self._store.forget(self._ring, *key)  # of the store's file, not of its copy, is what comes next
            raise
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
        """Hits, loads, evictions and failures so far; heads and bytes in memory and loads
        that are stuck now; texts that had to do without system entities."""
        counts = {name: self.counts[name] for name in ("hits", "loads", "evictions", "failed", "wrong_space")}
        return {**counts, "heads": len(self._loaded), "bytes": self.nbytes, "stuck_loads": self._loaders.stuck,
                "entities_left_out": left_out()}
