"""The head store: `{root}/{ring}/{tenant}/{version}/head.json` and `head.safetensors`, in a directory or at a URL."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from head_worker.copies import Copies, appear
from head_worker.files import FILES, open_regular, too_large
from topology.errors import BadHead, HeadraceError, Misconfigured, Unavailable
from topology.heads import MAX_BYTES, HeadManifest
from topology.names import fault_of_name
from topology.pacing import PACING
from topology.settings import Heads

# Not every S3-compatible server knows the checksums that boto adds by itself since 2025; a head has its own sha256.
S3_OPTIONS = {"config_kwargs": {
    "request_checksum_calculation": "when_required", "response_checksum_validation": "when_required",
}}


class HeadStore:
    """A directory. Versions are written whole and never changed, so a reader needs no lock."""

    def __init__(self, root: str | Path, copies: Copies | None = None) -> None:
        """`copies`: from where a worker maps versions; without them from the directory itself."""
        self._root, self._copies = Path(root), copies

    def folder(self, ring: str, tenant: str, version: str) -> Path:
        """A directory on this machine with the version's files, or where they would be.

        Raises: BadHead; Unavailable where the store does not answer.
        """
        place = self._place(ring, tenant, version)
        if self._copies is None:
            return place
        return self._copies.folder(ring, tenant, version, lambda name, target: _copy(place / name, target))

    def forget(self, ring: str, tenant: str, version: str) -> None:
        """A copy that turned out to be bad: the next use takes a fresh one."""
        if self._copies is not None:
            self._copies.forget(*_checked(ring, tenant, version))

    def _place(self, *names: str) -> Path:
        """A path under the root, also once its links are followed. Raises: BadHead."""
        place = self._root.joinpath(*_checked(*names))
        if not all(p.resolve().is_relative_to(self._root.resolve()) for p in (place, *(place / n for n in FILES))):
            raise BadHead("it is stored outside the head store")
        return place

    def versions(self, ring: str, tenant: str) -> list[str]:
        """The stored versions, oldest first."""
        place = self._place(ring, tenant)
        if not place.is_dir():
            return []
        return sorted(p.name for p in place.iterdir() if not fault_of_name(p.name) and (p / "head.json").is_file())

    def put(self, source: Path) -> HeadManifest:
        """Copy a head directory in under the names its manifest gives. Raises: BadHead."""
        manifest = manifest_in(source)
        target = self._place(manifest.ring, manifest.tenant, manifest.version)
        if not target.exists():
            appear(target, lambda partial: [_copy(source / name, partial / name) for name in FILES])
        return manifest

    def manifest(self, ring: str, tenant: str, version: str) -> HeadManifest:
        """The manifest of a stored version. Raises: BadHead."""
        return read_manifest(self._place(ring, tenant, version))

    def delete(self, ring: str, tenant: str) -> None:
        """Remove every version of a tenant's head."""
        shutil.rmtree(self._place(ring, tenant), ignore_errors=True)
        if self._copies is not None:
            self._copies.forget(ring, tenant)


class RemoteStore(HeadStore):
    """Any URL that fsspec knows. Its versions are used from their copies."""

    def __init__(self, url: str, copies: Copies) -> None:
        super().__init__("/", copies)
        self._local = copies
        try:
            fsspec = importlib.import_module("fsspec")  # by name: a worker with a local store has no need of it
            self._files, self._base = fsspec.core.url_to_fs(url, **(S3_OPTIONS if url.startswith("s3://") else {}))
        except (ImportError, ValueError) as error:
            raise Misconfigured(
                f"heads.store = {url!r}: {error}; pip install 'headrace[store]' brings fsspec and S3"
            ) from error

    def _at(self, *names: str) -> str:
        """Raises: BadHead where a name could leave the store."""
        return "/".join([self._base.rstrip("/"), *_checked(*names)])

    def folder(self, ring: str, tenant: str, version: str) -> Path:
        """As `HeadStore.folder`. Raises: BadHead, Unavailable."""
        at = self._at(ring, tenant, version)
        with self._reaching(ring, tenant, version):
            return self._local.folder(ring, tenant, version, lambda name, target: self._get(f"{at}/{name}", target))

    def _get(self, at: str, target: Path) -> None:
        try:
            found = self._files.info(at)
        except FileNotFoundError as error:
            raise BadHead(f"{target.name} is not in the head store") from error
        if found.get("type") != "file":
            raise BadHead(f"{target.name} is no regular file")
        if (found.get("size") or 0) > PACING.max_head_mb << 20:
            raise too_large(target.name, found["size"])
        self._files.get_file(at, str(target))

    def versions(self, ring: str, tenant: str) -> list[str]:
        """As `HeadStore.versions`. Raises: Unavailable."""
        with self._reaching(ring, tenant):
            try:
                found = self._files.ls(self._at(ring, tenant), detail=False, refresh=True)
            except FileNotFoundError:
                return []
            names = [str(place).rstrip("/").rpartition("/")[2] for place in found]
            names = [name for name in names if not fault_of_name(name)]
            return sorted(name for name in names if self._files.exists(f"{self._at(ring, tenant, name)}/head.json"))

    def put(self, source: Path) -> HeadManifest:
        """As `HeadStore.put`; the manifest goes last, so that a version is there whole or not at all.

        Raises: BadHead, Unavailable.
        """
        manifest = manifest_in(source)
        names = (manifest.ring, manifest.tenant, manifest.version)
        with self._reaching(*names):
            for name in reversed(FILES):
                self._files.makedirs(self._at(*names), exist_ok=True)
                self._files.put_file(str(source / name), f"{self._at(*names)}/{name}")
        return manifest

    def manifest(self, ring: str, tenant: str, version: str) -> HeadManifest:
        """As `HeadStore.manifest`. Raises: BadHead, Unavailable."""
        with self._reaching(ring, tenant, version):
            try:
                body = self._files.cat_file(f"{self._at(ring, tenant, version)}/head.json")
            except FileNotFoundError as error:
                raise BadHead(f"tenant {tenant!r} has no version {version!r} in the head store") from error
        return HeadManifest.from_json(body)

    def delete(self, ring: str, tenant: str) -> None:
        """As `HeadStore.delete`. Raises: Unavailable."""
        self._local.forget(*_checked(ring, tenant))
        with self._reaching(ring, tenant):
            for place in self._files.find(self._at(ring, tenant)):
                self._files.rm_file(place)  # one by one: deleting many at once needs a checksum that some servers lack

    @contextmanager
    def _reaching(self, *names: str) -> Iterator[None]:
        """Every file system and each of its libraries has its own errors. The text names the place: for operators, not
        for callers."""
        try:
            yield
        except HeadraceError:
            raise
        except Exception as error:
            raise Unavailable(f"the head store at {self._at(*names)}: {type(error).__name__}: {error}") from error


def _checked(*names: str) -> tuple[str, ...]:
    """Names that are one step of a path each. Raises: BadHead."""
    for name in names:
        if fault := fault_of_name(name):
            raise BadHead(f"it cannot be stored: {fault}")
    return names


def _copy(source: Path, target: Path) -> Path:
    with open_regular(source) as file, target.open("xb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
    return target


def read_manifest(folder: Path) -> HeadManifest:
    """The manifest of a head directory. Raises: BadHead."""
    with open_regular(folder / "head.json") as file:
        return HeadManifest.from_json(file.read(MAX_BYTES + 1))


def manifest_in(source: Path) -> HeadManifest:
    """The manifest of a head directory that is complete. Raises: BadHead."""
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise BadHead(f"{source}: no {' and no '.join(missing)}; `headrace head train` writes such a directory")
    return read_manifest(source)


def open_store(heads: Heads, cache: Path) -> HeadStore:
    """The store that headrace.toml names. `cache`: where copies of versions in use are kept. Raises: Misconfigured."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{cache}: cannot keep copies of heads there ({error.strerror}); set state_dir") from error
    copies = Copies(cache, heads.disk_mb << 20)
    place = heads.store.removeprefix("file://")
    return RemoteStore(place, copies) if "://" in place else HeadStore(place, copies)
