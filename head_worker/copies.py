"""Private copies of stored versions on this machine: what is mapped is never a file that somebody else can cut.

A page of a mapped file that is cut shorter in place is gone, and reading it ends the process (SIGBUS). So no file of
the store itself is mapped. Decision 15 says why copies, and what they cost.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from head_worker.files import FILES

Fetch = Callable[[str, Path], object]  # (name of one of FILES, where to write it)


class Copies:
    """At most `disk_bytes` of versions, those used last. All processes of a machine share the directory, and the pages
    of what they map from it."""

    def __init__(self, root: Path, disk_bytes: int) -> None:
        self._root, self._disk_bytes = root, disk_bytes
        self._lock = threading.Lock()
        self._room = 0  # bytes that may come before the directory is measured again

    def folder(self, ring: str, tenant: str, version: str, fetch: Fetch) -> Path:
        """The copy of a version, made with `fetch` if it is not there. The caller has checked the names.

        Raises: what `fetch` raises.
        """
        target = self._root / ring / tenant / version
        if not target.is_dir():
            appear(target, lambda partial: [_copied(name, partial / name, fetch) for name in FILES])
            self._bound(target)
        with contextlib.suppress(OSError):  # another process may have removed it: the next step says so
            target.touch()
        return target

    def forget(self, ring: str, tenant: str, version: str = "") -> None:
        """Remove a copy (without `version`: all of a tenant's), so that the next use fetches it again."""
        shutil.rmtree(self._root / ring / tenant / version, ignore_errors=True)

    def _bound(self, newest: Path) -> None:
        """Remove the copies that were used longest ago. A head that is mapped lives on without its name.

        The directory is measured after every 16th of its bytes: at each of 1,000 copies it would take 20 ms. Processes
        that share it overstep it by as much, each.
        """
        with self._lock:
            measured = _measured(newest)
            self._room -= measured[1] if measured else 0
            if self._room >= 0:
                return
            found = sorted(filter(None, (_measured(p.parent) for p in self._root.rglob("head.json"))))
            total = sum(size for _, size, _ in found)
            for _, size, folder in found:
                if total <= self._disk_bytes:
                    break
                if folder != newest:
                    total -= size
                    shutil.rmtree(folder, ignore_errors=True)
            self._room = min(self._disk_bytes - total, self._disk_bytes // 16)


def _copied(name: str, target: Path, fetch: Fetch) -> Path:
    fetch(name, target)
    target.chmod(0o400)
    return target


def _measured(folder: Path) -> tuple[float, int, Path] | None:
    """(last use, bytes, folder); None where another process has just removed it."""
    try:
        return folder.stat().st_mtime, sum(file.stat().st_size for file in folder.iterdir()), folder
    except OSError:
        return None


def appear(target: Path, fill: Callable[[Path], Any]) -> None:
    """Make a directory aside and give it its name when it is whole; whoever was first wins."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    partial.mkdir(parents=True)
    try:
        fill(partial)
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
