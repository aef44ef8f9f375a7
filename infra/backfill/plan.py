"""Making a job: its bounds and its heads are looked up once, and stored before anything is read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from infra.announce import store_of
from infra.backfill.job import SOURCES, TOPIC_TARGET, Asked, Job, differences, usual_id
from infra.backfill.jobs import Jobs
from infra.backfill.open import check_targets
from infra.backfill.source import Source
from infra.backfill.when import parse_when
from topology import topics
from topology.errors import Misconfigured
from topology.names import fault_of_name
from topology.pacing import PACING
from topology.registry import HeadRecord
from topology.settings import Settings
from topology.stream.registry import RegistryFollower

CURRENT = "current"


def check(settings: Settings, asked: Asked) -> None:
    """Whether it can be asked for. Raises: Misconfigured."""
    if asked.ring not in settings.rings:
        raise Misconfigured(f"there is no ring {asked.ring!r} in headrace.toml; known: {', '.join(settings.rings)}")
    if asked.source in SOURCES:
        _check_order(asked)
    if not asked.targets:
        raise Misconfigured(f"a target is wanted: {TOPIC_TARGET!r}, or a directory or URL for Parquet")


def _check_order(asked: Asked) -> None:
    """Bounds that leave nothing out by mistake. Raises: Misconfigured."""
    now_s = time.time()
    start, end = parse_when(asked.start, now_s), parse_when(asked.end, now_s)
    told = f"--from {asked.start} --to {asked.end}"
    if start.at_ms is not None and end.at_ms is not None and start.at_ms >= end.at_ms:
        raise Misconfigured(f"{told}: the end is not after the start; nothing lies between them")
    if start.offsets and end.offsets:
        if one_sided := sorted(start.offsets.keys() ^ end.offsets.keys()):
            raise Misconfigured(f"{told}: partition {one_sided[0]} has a start or an end only; name it in both")
        if back := [n for n in sorted(start.offsets) if start.offsets[n] > end.offsets[n]]:
            raise Misconfigured(f"{told}: in partition {back[0]} the end is before the start")


async def job_of(settings: Settings, jobs: Jobs, source: Source, asked: Asked, name: str = "") -> tuple[Job, bool]:
    """(the job of that id, whether it was made now). One that is there is resumed with the bounds that it has.

    Raises: Misconfigured where it is there with other bounds; Unavailable.
    """
    check(settings, asked)
    name = name or usual_id(asked)
    if fault := fault_of_name(name):
        raise Misconfigured(f"--id: {fault}")
    if (there := jobs.job(name)) is not None:
        if different := differences(asked, there.asked):
            raise Misconfigured(
                f"backfill {name!r} is there already, and is another one: {'; '.join(different)}. Give this one "
                "another --id, or ask for the same"
            )
        return there, False
    await check_targets(asked, name)
    part = PACING.backfill_parquet_part if asked.parquet else PACING.backfill_part
    job = Job(name, asked, tuple(await source.spans(asked)), int(time.time() * 1e6), part)
    await jobs.create(job, await chosen_heads(settings, asked))
    return job, True


async def chosen_heads(settings: Settings, asked: Asked) -> list[HeadRecord]:
    """The head of every tenant that is asked for: what is announced now, or the version that is named.

    Raises: Misconfigured where a tenant or version is not known.
    """
    announced: dict[str, HeadRecord] = {}
    wanted_ones = {*asked.tenants, *asked.heads}

    def apply(ring: str, tenant: str, record: HeadRecord | None) -> None:
        if record is None:
            announced.pop(tenant, None)
        elif not asked.tenants or tenant in wanted_ones:  # of a million tenants only those that are asked for are kept
            announced[tenant] = record

    follower = RegistryFollower(settings.broker, topics.heads(settings.prefix), apply, asked.ring)
    try:
        await follower.start()
    finally:
        await follower.stop()
    named = {tenant: version for tenant, version in asked.heads.items() if version != CURRENT}
    _check_known(asked, announced, named)
    wanted = asked.tenants or sorted({*announced, *named})
    return [
        _stored(settings, asked.ring, tenant, named[tenant]) if tenant in named else announced[tenant]
        for tenant in wanted
    ]


def _check_known(asked: Asked, announced: Mapping[str, HeadRecord], named: Iterable[str]) -> None:
    if unknown := sorted({*asked.tenants, *asked.heads} - {*announced, *named}):
        raise Misconfigured(
            f"no head of {', '.join(map(repr, unknown[:5]))} is registered in ring {asked.ring!r}: check the name, or "
            "publish it with `headrace head publish`"
        )
    if asked.tenants and (left_out := sorted(set(asked.heads) - set(asked.tenants))):
        raise Misconfigured(f"a head version is given for {left_out[0]!r}, who is not among the tenants")


def _stored(settings: Settings, ring: str, tenant: str, version: str) -> HeadRecord:
    store = store_of(settings)
    if version not in (there := store.versions(ring, tenant)):
        raise Misconfigured(f"{ring}/{tenant} has no version {version!r}; stored: {', '.join(there) or 'none'}")
    manifest = store.manifest(ring, tenant, version)
    return HeadRecord(tenant, ring, version, manifest.space, manifest.sha256)
