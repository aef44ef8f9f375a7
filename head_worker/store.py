"""The head store on disk: `{root}/{ring}/{tenant}/{version}/head.json` and `head.safetensors`."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from topology.errors import BadHead
from topology.heads import HeadManifest

FILES = ("head.json", "head.safetensors")


class HeadStore:
    """Versions are written whole and never changed, so a reader needs no lock."""

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
        missing = [name for name in FILES if not (source / name).is_file()]
        if missing:
            raise BadHead(f"{source}: no {' and no '.join(missing)}; `headrace head train` writes such a directory")
        manifest = HeadManifest.from_json((source / "head.json").read_text())
        target = self.folder(manifest.ring, manifest.tenant, manifest.version)
        if target.exists():
            return manifest
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        partial.mkdir(parents=True)
        for name in FILES:
            shutil.copy2(source / name, partial / name)
        partial.rename(target)
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
