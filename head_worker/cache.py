"""Heads in memory: loaded on first use, once each, off the loop; least recently used ones leave first."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from head_worker.engine import Head
from head_worker.load import load_head
from head_worker.store import HeadStore
from topology.errors import BadHead, UnknownTenant
from topology.registry import HeadRecord

log = logging.getLogger(__name__)


class HeadCache:
    """The heads of one ring within a byte budget, kept at the versions that the registry announces."""

    def __init__(self, ring: str, store: HeadStore, budget_bytes: int) -> None:
        self._ring, self._store, self._budget = ring, store, budget_bytes
        self._current: dict[str, HeadRecord] = {}
        self._loaded: OrderedDict[str, tuple[str, Head]] = OrderedDict()
        self._loading: dict[tuple[str, str], asyncio.Task[Head]] = {}
        self._thread = ThreadPoolExecutor(1, "head-loader")

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory."""
        return sum(head.nbytes for _, head in self._loaded.values())

    def apply(self, ring: str, tenant: str, record: HeadRecord | None) -> None:
        """A registry record. A head in memory goes on answering until its successor is loaded whole."""
        if ring != self._ring:
            return
        if record is None:
            self._current.pop(tenant, None)
            self._loaded.pop(tenant, None)
            return
        self._current[tenant] = record
        if tenant in self._loaded and self._loaded[tenant][0] != record.version:
            self._begin(record)

    def resident(self, tenant: str) -> Head | None:
        """The head if it is in memory. Raises: UnknownTenant where none is registered."""
        if tenant not in self._current:
            raise UnknownTenant(
                f"no head of tenant {tenant!r} is registered in ring {self._ring!r}: train one with `headrace head "
                "train` and announce it with `headrace head publish`, or check the name"
            )
        if tenant not in self._loaded:
            return None
        self._loaded.move_to_end(tenant)
        return self._loaded[tenant][1]

    async def load(self, tenant: str) -> Head:
        """The head, loaded if it must be; callers at the same time share one load. Raises: UnknownTenant, BadHead."""
        head = self.resident(tenant)
        return head if head is not None else await asyncio.shield(self._begin(self._current[tenant]))

    def _begin(self, record: HeadRecord) -> asyncio.Task[Head]:
        key = (record.tenant, record.version)
        if key not in self._loading:
            task = asyncio.create_task(self._load(record))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return self._loading[key]

    def _ended(self, key: tuple[str, str], task: asyncio.Task[Head]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("head %s version %s was not loaded: %s", *key, error)

    async def _load(self, record: HeadRecord) -> Head:
        folder = self._store.folder(record.ring, record.tenant, record.version)
        head = await asyncio.get_running_loop().run_in_executor(self._thread, load_head, folder)
        if head.manifest.sha256 != record.sha256:
            raise BadHead(f"{folder}: its sha256 is not the announced one; publish the head again")
        if self._current.get(record.tenant) == record:
            self._loaded[record.tenant] = (record.version, head)
            self._loaded.move_to_end(record.tenant)
            self._evict(record.tenant)
        return head

    def _evict(self, just_loaded: str) -> None:
        while self.nbytes > self._budget and len(self._loaded) > 1:
            tenant = next(iter(self._loaded))
            if tenant == just_loaded:
                return
            del self._loaded[tenant]
