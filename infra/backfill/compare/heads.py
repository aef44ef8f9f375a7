"""The two heads of a comparison, as they are typed, and whether they go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from head_worker.load import load_head
from head_worker.store import HeadStore
from infra.announce import announced, store_of
from infra.backfill.plan import CURRENT
from topology.errors import BadHead, Misconfigured
from topology.heads import HeadManifest
from topology.registry import HeadRecord
from topology.settings import Settings


@dataclass(frozen=True)
class Chosen:
    """One of the two. `typed`: as it was asked for. `settings`: whose head store has it."""

    typed: str
    manifest: HeadManifest
    settings: Settings

    @property
    def record(self) -> HeadRecord:
        """As the registry would announce it."""
        one = self.manifest
        return HeadRecord(one.tenant, one.ring, one.version, one.space, one.sha256)


def is_directory(typed: str) -> bool:
    """Whether a head directory is meant, and not a version by name: `./acme-head`, or `acme-head` that is one."""
    return "/" in typed or ("@" not in typed and Path(typed).is_dir())


def tenant_and_version(typed: str) -> tuple[str, str]:
    """The two parts of `acme@v1`. Raises: Misconfigured."""
    tenant, _, version = typed.rpartition("@")
    if not tenant or not version:
        raise Misconfigured(f"{typed!r}: TENANT@VERSION, TENANT@{CURRENT} or a head directory is wanted")
    return tenant, version


async def choose(settings: Settings, ring: str, typed: str, folder: Path) -> Chosen:
    """The head that is meant, found to be whole. `folder`: an empty one, for the copies of a head directory.

    Raises: Misconfigured where there is none; BadHead, Unavailable.
    """
    try:
        if is_directory(typed):
            own = replace(settings, state_dir=str(folder), heads=replace(settings.heads, store=str(folder / "heads")))
            manifest = HeadStore(own.heads.store).put(Path(typed))
        else:
            own = settings
            manifest = store_of(own).manifest(ring, *await _stored(own, ring, typed))
        load_head(store_of(own).folder(manifest.ring, manifest.tenant, manifest.version))
    except BadHead as error:
        raise BadHead(f"{typed}: {error}") from error
    return Chosen(typed, manifest, own)


async def _stored(settings: Settings, ring: str, typed: str) -> tuple[str, str]:
    tenant, version = tenant_and_version(typed)
    if version == CURRENT:
        record = await announced(settings, ring, tenant)
        if record is None:
            raise Misconfigured(f"{typed}: no head of {tenant!r} is announced in ring {ring!r}")
        return tenant, record.version
    versions = store_of(settings).versions(ring, tenant)
    if version not in versions:
        stored = f"stored: {', '.join(versions)}" if versions else "none of this tenant is stored"
        raise Misconfigured(f"{typed}: ring {ring!r} has no such version; {stored}")
    return tenant, version


def check_pair(chosen: Sequence[Chosen], ring: str, space: str) -> None:
    """See that two heads can be compared. `space`: of the encoder, empty where the source has embeddings already.

    Raises: Misconfigured, naming both.
    """
    a, b = chosen
    for what in ("tenant", "ring"):
        first, second = (getattr(one.manifest, what) for one in chosen)
        if first != second:
            raise Misconfigured(f"{a.typed} is of {what} {first!r}, {b.typed} of {what} {second!r}: they have no "
                                "utterance in common")
    if a.manifest.ring != ring:
        raise Misconfigured(f"{a.typed} and {b.typed} are of ring {a.manifest.ring!r}, asked for is {ring!r}: --ring")
    if a.manifest.space != b.manifest.space or space not in ("", a.manifest.space):
        encoder = f"; the ring's encoder gives {space}" if space else ""
        raise Misconfigured(
            f"{a.typed} reads embedding space {a.manifest.space}, {b.typed} {b.manifest.space}{encoder}: heads of one "
            "space are compared; train again on the ring's encoder"
        )


def shown_names(chosen: Sequence[Chosen]) -> list[str]:
    """What tells the two apart: their versions, or what was typed where these are the same."""
    versions = [one.manifest.version for one in chosen]
    return versions if versions[0] != versions[1] else [one.typed for one in chosen]
