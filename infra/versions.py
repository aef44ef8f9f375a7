"""Which version of a head answers for whom: the registry, read whole."""

from __future__ import annotations

from topology import topics
from topology.registry import HeadRecord
from topology.settings import Settings
from topology.stream.registry import RegistryFollower


async def answering(settings: Settings, ring: str = "") -> list[HeadRecord]:
    """The record of every tenant that has a head, by ring and tenant. Raises: Unavailable."""
    found: dict[tuple[str, str], HeadRecord] = {}

    def apply(of: str, tenant: str, record: HeadRecord | None) -> None:
        if record is None:
            found.pop((of, tenant), None)
        else:
            found[of, tenant] = record

    follower = RegistryFollower(settings.broker, topics.heads(settings.prefix), apply, ring)
    try:
        await follower.start()
    finally:
        await follower.stop()
    return [found[name] for name in sorted(found)]


def told(record: HeadRecord) -> str:
    """One line: the tenant, what answers, and what is on trial beside it."""
    line = f"{record.ring}/{record.tenant}\t{record.version}"
    if (trial := record.candidate) is not None:
        line += f"\t{trial.mode} {trial.version} for {trial.share:.0%}"
    return line
