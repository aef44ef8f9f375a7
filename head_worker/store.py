"""The head store: `{root}/{ring}/{tenant}/{version}/head.json` and `head.safetensors`, in a directory or at a URL."""

from __future__ import annotations

import importlib
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from topology.errors import BadHead, HeadraceError, Misconfigured, Unavailable
from topology.heads import HeadManifest
from topology.settings import Heads

FILES = ("head.json", "head.safetensors")
# Not every S3-compatible server knows the checksums that boto adds by itself since 2025; a head has its own sha256.
S3_OPTIONS = {"config_kwargs": {
    "request_checksum_calculation": "when_required", "response_checksum_validation": "when_required",
}}


class HeadStore:
    """A directory. Versions are written whole and never changed, so a reader needs no lock."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)

    def folder(self, ring: str, tenant: str, version: str) -> Path:
        """Where a version stands, or would."""
        return self._root / ring / tenant / version

    def versions(self, ring: str, tenant: str) -> list[str]:
        """The stored versions, oldest first."""
        place = self._root / ring / tenant
        return sorted(p.name for p in place.iterdir() if (p / "head.json").is_file()) if place.is_dir() else []

    def put(self, source: Path) -> HeadManifest:
        """Copy a head directory in under the names its manifest gives. Raises: BadHead."""
        manifest = manifest_in(source)
        target = self.folder(manifest.ring, manifest.tenant, manifest.version)
        if not target.exists():
            _appear(target, lambda partial: [shutil.copy2(source / name, partial / name) for name in FILES])
        return manifest

    def manifest(self, ring: str, tenant: str, version: str) -> HeadManifest:
        """The manifest of a stored version. Raises: BadHead."""
        place = self.folder(ring, tenant, version) / "head.json"
        try:
            return HeadManifest.from_json(place.read_text())
        except OSError as error:
            raise BadHead(f"{place}: cannot be read: {error}") from error

    def delete(self, ring: str, tenant: str) -> None:
        """Remove every version of a tenant's head."""
        shutil.rmtree(self._root / ring / tenant, ignore_errors=True)


class RemoteStore(HeadStore):
    """Any URL that fsspec knows; versions in use are kept in a local directory of at most `disk_bytes`."""

    def __init__(self, url: str, cache: Path, disk_bytes: int) -> None:
        super().__init__(cache)
        try:
            fsspec = importlib.import_module("fsspec")  # by name: a worker with a local store has no need of it
            self._files, self._base = fsspec.core.url_to_fs(url, **(S3_OPTIONS if url.startswith("s3://") else {}))
        except (ImportError, ValueError) as error:
            raise Misconfigured(
                f"heads.store = {url!r}: {error}; pip install 'headrace[store]' brings fsspec and S3"
            ) from error
        self._disk_bytes = disk_bytes
        self._lock = threading.Lock()

    def _at(self, *parts: str) -> str:
        return "/".join([self._base.rstrip("/"), *parts])

    def folder(self, ring: str, tenant: str, version: str) -> Path:
        """The local copy of a version, fetched if it must be. Raises: BadHead."""
        target = super().folder(ring, tenant, version)
        if not target.is_dir():
            try:
                _appear(target, lambda partial: [
                    self._files.get_file(self._at(ring, tenant, version, name), str(partial / name)) for name in FILES
                ])
            except Exception as error:  # every file system has its own errors; all mean that this head is not to be had
                raise BadHead(f"{self._at(ring, tenant, version)}: cannot be fetched: {error}") from error
            self._bound(target)
        target.touch()
        return target

    def _bound(self, newest: Path) -> None:
        """Remove the copies that were used longest ago. A head that is mapped lives on without its name."""
        with self._lock:
            folders = sorted(
                (p.parent for p in self._root.rglob("head.json") if p.parent != newest), key=lambda p: p.stat().st_mtime
            )
            sizes = {p: sum(f.stat().st_size for f in p.iterdir()) for p in [*folders, newest]}
            total = sum(sizes.values())
            for folder in folders:
                if total <= self._disk_bytes:
                    return
                total -= sizes[folder]
                shutil.rmtree(folder, ignore_errors=True)

    def versions(self, ring: str, tenant: str) -> list[str]:
        """As `HeadStore.versions`. Raises: Unavailable."""
        with self._reaching(ring, tenant):
            try:
                found = self._files.ls(self._at(ring, tenant), detail=False, refresh=True)
            except FileNotFoundError:
                return []
            names = [str(place).rstrip("/").rpartition("/")[2] for place in found]
            return sorted(name for name in names if self._files.exists(self._at(ring, tenant, name, "head.json")))

    def put(self, source: Path) -> HeadManifest:
        """As `HeadStore.put`; the manifest goes last, so that a version is there whole or not at all.

        Raises: BadHead, Unavailable.
        """
        manifest = manifest_in(source)
        at = (manifest.ring, manifest.tenant, manifest.version)
        with self._reaching(*at):
            for name in reversed(FILES):
                self._files.makedirs(self._at(*at), exist_ok=True)
                self._files.put_file(str(source / name), self._at(*at, name))
        return manifest

    def manifest(self, ring: str, tenant: str, version: str) -> HeadManifest:
        """As `HeadStore.manifest`. Raises: BadHead, Unavailable."""
        with self._reaching(ring, tenant, version):
            try:
                body = self._files.cat_file(self._at(ring, tenant, version, "head.json")).decode()
            except FileNotFoundError as error:
                raise BadHead(f"{self._at(ring, tenant, version)}: there is no such version") from error
        return HeadManifest.from_json(body)

    def delete(self, ring: str, tenant: str) -> None:
        """As `HeadStore.delete`. Raises: Unavailable."""
        super().delete(ring, tenant)
        with self._reaching(ring, tenant):
            for place in self._files.find(self._at(ring, tenant)):
                self._files.rm_file(place)  # one by one: deleting many at once needs a checksum that some servers lack

    @contextmanager
    def _reaching(self, *parts: str) -> Iterator[None]:
        """Every file system and each of its libraries has its own errors."""
        try:
            yield
        except HeadraceError:
            raise
        except Exception as error:
            raise Unavailable(f"the head store at {self._at(*parts)}: {type(error).__name__}: {error}") from error


def manifest_in(source: Path) -> HeadManifest:
    """The manifest of a head directory that is complete. Raises: BadHead."""
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise BadHead(f"{source}: no {' and no '.join(missing)}; `headrace head train` writes such a directory")
    return HeadManifest.from_json((source / "head.json").read_text())


def open_store(heads: Heads, cache: Path) -> HeadStore:
    """The store that headrace.toml names. `cache`: where copies of a remote one are kept. Raises: Misconfigured."""
    if "://" in heads.store:
        return RemoteStore(heads.store, cache, heads.disk_mb << 20)
    return HeadStore(heads.store)


def _appear(target: Path, fill: Callable[[Path], Any]) -> None:
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
