"""Reads the world for `headrace status`: groups, topics, heads, dead letters, Redis and processes, each bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from infra.fleet.census import by_cell
from infra.stack.supervise import processes_of
from infra.status import DeadLetters, Seen, groups_of
from topology import topics
from topology.errors import Unavailable
from topology.registry import HeadRecord
from topology.settings import Settings
from topology.stream.admin import TopicReport, apply_topics
from topology.stream.groups import GroupState, asking, close, read_groups
from topology.stream.placement import placements_of
from topology.stream.recent import recent
from topology.stream.records import ERRORS, Record
from topology.stream.redis_state import RedisState, read_redis
from topology.stream.registry import RegistryFollower
from topology.stream.replicas import Replicas, read_replicas

HOUR_S = 3_600
MOST_LETTERS = 1_000  # that are read: more of them are said to be so many or more


async def observe(settings: Settings) -> Seen:
    """What can be read of the system now; what does not answer in time stands in `Seen.away`."""
    away: dict[str, str] = {}
    broker, redis = await asyncio.gather(_broker(settings, away), _redis(settings, away))
    groups, reports, heads, cells, letters, no_heads, replicas, idle, versions = broker
    return Seen(
        time.time(), tuple(groups), tuple(reports), heads, letters, redis,
        tuple(processes_of(Path(settings.state_dir))), away, no_heads, replicas, cells, idle,
        versions, away_since(Path(settings.state_dir), away),
    )


def away_since(state: Path, away: Mapping[str, str]) -> dict[str, float]:
    """What does not answer → when a look first found it so, by a note in the state directory."""
    note = state / "away.json"
    try:
        before = json.loads(note.read_text())
    except (OSError, ValueError):
        before = {}
    found = {what: float(before.get(what, time.time())) for what in away}
    with contextlib.suppress(OSError):  # looking is all that a reader of somebody else's stack may do
        if found:
            note.write_text(json.dumps(found))
        else:
            note.unlink(missing_ok=True)
    return found


async def _redis(settings: Settings, away: dict[str, str]) -> RedisState | None:
    try:
        return await read_redis(settings.redis, settings.prefix)
    except Unavailable as error:
        away["redis"] = str(error)
        return None


async def _broker(
    settings: Settings, away: dict[str, str]
) -> tuple[
    list[GroupState], list[TopicReport], dict[str, int], dict[str, dict[str, int]], DeadLetters, tuple[int, str],
    Replicas, tuple[str, ...], dict[str, dict[str, str]],
]:
    groups: list[GroupState] = []
    reports: list[TopicReport] = []
    heads: dict[str, int] = {}
    cells: dict[str, dict[str, int]] = {}
    idle: tuple[str, ...] = ()
    versions: dict[str, dict[str, str]] = {}
    letters, no_heads, replicas = DeadLetters(), (0, ""), Replicas()
    try:
        async with asking(settings.broker):
            if settings.broker.kind != "embedded":  # one process, without replicas
                replicas = await read_replicas(settings)
        groups = await read_groups(settings.broker, [(one.name, one.topic) for one in groups_of(settings)])
        async with asking(settings.broker):
            reports = await apply_topics(settings, topics.wanted(settings), create=False)
        missing = {report.name for report in reports if "missing" in report.differences}
        if topics.heads(settings.prefix) not in missing:
            versions, no_heads = await _heads(settings)
            heads = {ring: len(tenants) for ring, tenants in versions.items()}
            if topics.placement(settings.prefix) not in missing:
                async with asking(settings.broker):
                    placements = await placements_of(settings)
                cells = {ring: by_cell(one, versions.get(ring, ())) for ring, one in placements.items()}
                idle = tuple(topics.head_group(settings.prefix, ring, cell) for ring, one in placements.items()
                             for cell in settings.rings[ring].cells if cell not in one.shares.taking)
        if topics.dead_letters(settings.prefix) not in missing:
            letters = await _dead_letters(settings)
    except Unavailable as error:
        away["broker"] = str(error)
    return groups, reports, heads, cells, letters, no_heads, replicas, idle, versions


async def _heads(settings: Settings) -> tuple[dict[str, dict[str, str]], tuple[int, str]]:
    """Ring → tenant → the version that answers; and how many records are none, and why the newest."""
    known: dict[str, dict[str, str]] = {}

    def apply(ring: str, tenant: str, record: HeadRecord | None) -> None:
        tenants = known.setdefault(ring, {})
        if record is None:
            tenants.pop(tenant, None)
        else:
            trial = record.candidate
            tenants[tenant] = record.version + (f" ({trial.mode} {trial.version} {trial.share:.0%})" if trial else "")

    follower = RegistryFollower(settings.broker, topics.heads(settings.prefix), apply)
    async with asking(settings.broker):
        try:
            await follower.start()
        finally:
            await close(follower.stop())
    return {ring: tenants for ring, tenants in known.items() if tenants}, (follower.ignored, follower.newest_ignored)


async def _dead_letters(settings: Settings) -> DeadLetters:
    since_ms = int((time.time() - HOUR_S) * 1_000)
    found = await recent(settings.broker, topics.dead_letters(settings.prefix), since_ms, MOST_LETTERS)
    codes = Counter(_header(record, "stage") for record in found)
    newest = _header(found[-1], "exception.message") if found else ""
    return DeadLetters(dict(codes), newest, len(found) >= MOST_LETTERS)


def _header(record: Record, name: str) -> str:
    told = [value for key, value in record.headers if key == f"{ERRORS}{name}"]
    return told[-1].decode(errors="replace") if told else "unknown"
