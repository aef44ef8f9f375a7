"""What is wrong with a running Headrace, and what to do: from what was seen, without asking anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from infra.counted import counted
from infra.fleet.census import alarm
from infra.stack.supervise import ProcessState
from topology import topics
from topology.settings import Settings
from topology.stream.admin import TopicReport
from topology.stream.groups import GroupState
from topology.stream.redis_state import RedisState
from topology.stream.replicas import Replicas
from topology.stream.work import Work, newest

FULL = 0.9  # of Redis's memory: above it there is no room for a burst of replies
FEW = 3  # partitions that a line names
RECENT_S = 3_600.0  # a restart or a dead letter of so long ago is told; older ones are history
REBALANCING = ("PreparingRebalance", "CompletingRebalance")


@dataclass(frozen=True)
class WantedGroup:
    """A consumer group that headrace.toml asks for, one of the topics that it reads, and the command that starts a
    member of it. `awaited`: callers wait for what it reads."""

    name: str
    topic: str
    command: str
    live: bool
    awaited: bool = True


@dataclass(frozen=True)
class DeadLetters:
    """Those of the last hour, by error code, with the newest one's message. `more`: there were more than were read."""

    codes: dict[str, int] = field(default_factory=dict)
    newest: str = ""
    more: bool = False


@dataclass(frozen=True)
class Seen:
    """The system at one moment (`at_s` of the epoch). `heads`: ring → tenants; `away`: what did not answer, and how;
    `no_heads`: records on the registry topic that are none, and why the newest of them; `cells`: ring → cell → tenants
    with heads that live in it; `idle`: groups of cells that take no tenants, which need no members; `versions`: ring →
    tenant → the version that answers; `away_since_s`: what does not answer → since when looks found it so (epoch)."""

    at_s: float
    groups: tuple[GroupState, ...] = ()
    topics: tuple[TopicReport, ...] = ()
    heads: dict[str, int] = field(default_factory=dict)
    letters: DeadLetters = DeadLetters()
    redis: RedisState | None = None
    processes: tuple[ProcessState, ...] = ()
    away: dict[str, str] = field(default_factory=dict)
    no_heads: tuple[int, str] = (0, "")
    replicas: Replicas = field(default_factory=Replicas)
    cells: dict[str, dict[str, int]] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    away_since_s: dict[str, float] = field(default_factory=dict)


def groups_of(settings: Settings) -> list[WantedGroup]:
    """Every consumer group of `settings`, in the order of an utterance's journey."""
    found, prefix = [], settings.prefix
    for lane in topics.LANES:
        for ring in settings.rings:
            names = topics.encoder_group(prefix, ring, lane), topics.utterances(prefix, ring, lane)
            found.append(WantedGroup(*names, f"python -m encoder_worker --ring {ring}", lane == "live"))
            for cell in settings.rings[ring].cells:
                names = topics.head_group(prefix, ring, cell, lane), topics.embeddings(prefix, ring, cell, lane)
                found.append(
                    WantedGroup(*names, f"python -m head_worker --ring {ring} --cell {cell}", lane == "live")
                )
    return [*found, *_insights(settings)]


def _insights(settings: Settings) -> Iterator[WantedGroup]:
    """A ring's group reads the predictions of all its cells."""
    for ring in settings.rings.values() if settings.insights.enabled else ():
        for cell in ring.cells:
            group = topics.insights_group(settings.prefix, ring.name)
            topic = topics.predictions(settings.prefix, ring.name, cell)
            yield WantedGroup(group, topic, f"python -m infra.insights --ring {ring.name}", True, False)


def releases(group: GroupState) -> dict[str, list[str]]:
    """Release of Headrace → the group's workers that run it, as their last commits tell; `?` of those before 0.1.0.

    As many as the group has members: a worker that left stands in the notes until another commits its partitions.
    """
    notes: dict[str, list[Work]] = {}
    for one in group.partitions:
        if (work := Work.from_note(one.note)) is not None:
            notes.setdefault(work.worker, []).append(work)
    workers = sorted(map(newest, notes.values()), key=lambda work: work.begun_s, reverse=True)[: group.members]
    found: dict[str, list[str]] = {}
    for work in sorted(workers, key=lambda work: (work.version, work.worker)):
        found.setdefault(work.version or "?", []).append(work.worker)
    return found


def troubles(settings: Settings, seen: Seen, before: Seen | None = None) -> list[str]:
    """One sentence for each thing that is wrong, with what to do; empty where all is well.

    `before`: an earlier look, without which nothing is said of how a lag moves.
    """
    found = [*_replicas(seen.replicas), *_processes(seen), *_redis(seen)]
    if "broker" in seen.away:
        return [f"{seen.away['broker']}: start it, or correct [broker] in headrace.toml", *found]
    found += [*_topics(seen), *_heads(settings, seen), *_letters(settings, seen)]
    earlier = {(group.name, group.topic): group for group in before.groups} if before else {}
    apart_s = seen.at_s - before.at_s if before else 0.0
    there = {(group.name, group.topic): group for group in seen.groups if group.partitions}
    for wanted in groups_of(settings):
        if (group := there.get(place := (wanted.name, wanted.topic))) is not None:
            found += _positions(group)
            if wanted.live:
                found += _members(wanted, group, earlier.get(place), wanted.name in seen.idle)
            if wanted.live and wanted.awaited:
                found += _lag(wanted, group, earlier.get(place), apart_s, settings.limits.deadline_s)
    return found


def _processes(seen: Seen) -> Iterator[str]:
    if len(seen.processes) > 1 and not any(one.running for one in seen.processes):
        yield f"none of the {len(seen.processes)} processes of `headrace up` runs: it was killed; start it again"
        return
    for one in seen.processes:
        if not one.running:
            yield (f"{one.name} (process {one.pid}) has ended: see {one.log}; `headrace up` starts it again, unless it "
                   "is misconfigured")
        elif one.restarts and seen.at_s - one.started_s < RECENT_S:
            yield (f"{one.name} was restarted {counted(one.restarts, 'time')}, last "
                   f"{seen.at_s - one.started_s:.0f} s ago: why it ended stands in {one.log}")


def _redis(seen: Seen) -> Iterator[str]:
    if "redis" in seen.away:
        yield f"{seen.away['redis']}: start it, or correct [redis] in headrace.toml; no reply reaches a caller"
    if (redis := seen.redis) is None:
        return
    if redis.refusal:
        yield (f"Redis takes no write, so no reply reaches a caller: {redis.refusal}. Where it is full raise its "
               "maxmemory or lower redis.reply_ttl_s; where it is a replica name the primary")
    elif redis.max_bytes and redis.used_bytes > FULL * redis.max_bytes:
        yield (f"Redis is {redis.used_bytes / redis.max_bytes:.0%} full ({redis.policy}): raise its maxmemory, or "
               "lower redis.reply_ttl_s or cache.embeddings_mb")


def _replicas(seen: Replicas) -> Iterator[str]:
    away = ", ".join(map(str, seen.away))
    who = f"broker {away} is away" if len(seen.away) == 1 else f"brokers {away} are away"
    who = who if seen.away else "all brokers are there"
    if seen.leaderless:
        yield f"{who}: {_some(seen.leaderless)} have no leader, nothing is read or written there: start the brokers"
    if seen.refusing:
        yield (f"{who}: {_some(seen.refusing)} have fewer replicas in sync than min.insync.replicas, no write is taken "
               "there: start the broker")
    if seen.behind:
        yield (f"{who}: {_some(seen.behind)} of {seen.partitions} have a replica less in sync. Nothing is lost and all "
               f"goes on; {'start it' if seen.away else 'it catches up, or its disk or network is slow'} before "
               "another fails")


def _some(partitions: Sequence[str]) -> str:
    """How many, and the first few by name."""
    more = ", …" if len(partitions) > FEW else ""
    return f"{counted(len(partitions), 'partition')} ({', '.join(partitions[:FEW])}{more})"


def _topics(seen: Seen) -> Iterator[str]:
    for report in seen.topics:
        if "missing" in report.differences:
            yield f"topic {report.name} is missing: `headrace topics apply` creates it"
        elif report.differences:
            yield (f"topic {report.name} is not as headrace.toml wants it ({'; '.join(report.differences)}): change "
                   "the file, or the topic with Kafka's own tools; Headrace never changes one that is there")


def _heads(settings: Settings, seen: Seen) -> Iterator[str]:
    for ring in settings.rings:
        if not seen.heads.get(ring):
            yield f"ring {ring} has no heads, so every utterance to it is refused: `headrace head publish DIRECTORY`"
    for ring, counts in seen.cells.items():
        yield from filter(None, (alarm(settings.rings[ring], cell, heads) for cell, heads in counts.items()))
    for ring in sorted(seen.heads.keys() - settings.rings.keys()):
        heads = counted(seen.heads[ring], "head is", "heads are")
        yield f"{heads} registered for ring {ring}, which headrace.toml does not describe"


def _letters(settings: Settings, seen: Seen) -> Iterator[str]:
    if codes := seen.letters.codes:
        each = ", ".join(f"{count} {code}" for code, count in sorted(codes.items(), key=lambda one: -one[1]))
        count = sum(codes.values())
        all_of = f"{count:,} or more dead letters" if seen.letters.more else counted(count, "dead letter")
        yield (f"{all_of} in the last hour ({each}); the newest: {seen.letters.newest[:200]!r}. They are "
               f"kept on {topics.dead_letters(settings.prefix)}: `headrace dead-letters list --since 1h`")


def _positions(group: GroupState) -> Iterator[str]:
    for one in group.partitions:
        where = f"group {group.name}, partition {one.number} of {group.topic}"
        if one.committed is not None and one.committed > one.end:
            yield (f"{where}: position {one.committed} lies beyond the end {one.end}, as after a topic is made again: "
                   "restart the group's workers")
        elif one.committed is not None and one.committed < one.start:
            lost = counted(one.start - one.committed, "record was", "records were")
            yield f"{where}: {lost} deleted unread: raise the topic's retention, or add workers"


def _waiting(count: int) -> str:
    return counted(count, "record waits", "records wait")


def _members(wanted: WantedGroup, group: GroupState, before: GroupState | None, is_idle: bool) -> Iterator[str]:
    if not group.members and (group.lag or not is_idle):
        yield f"nobody reads {group.topic}, where {_waiting(group.lag)}: start `{wanted.command}`"
    elif group.state in REBALANCING:
        if before is not None and before.state in REBALANCING:
            yield (f"group {group.name} is rebalancing and reads nothing: a member may have died, whose session ends "
                   "after broker.session_timeout_ms")
    elif idle := [str(one.number) for one in group.partitions if one.owned is False]:
        yield (f"no member of {group.name} reads partition {', '.join(idle)} of {group.topic}: restart the group's "
               "workers")


def _lag(
    wanted: WantedGroup, group: GroupState, before: GroupState | None, apart_s: float, deadline_s: float
) -> Iterator[str]:
    """Lag matters where what waits now is read later than callers wait, or not at all."""
    if before is None or apart_s <= 0 or not group.members:
        return
    earlier = {one.number: one for one in before.partitions}
    pairs = [(one, earlier[one.number]) for one in group.partitions if one.lag and one.number in earlier]
    if still := [now for now, then in pairs if then.lag and now.committed == then.committed]:
        numbers = ", ".join(str(one.number) for one in still)
        yield (f"group {group.name} does not advance on partition {numbers} of {group.topic}: "
               f"{_waiting(sum(one.lag for one in still))} and none was finished in {apart_s:.1f} s; see its "
               "workers' logs")
        return
    per_s = sum(max(0, (now.committed or 0) - (then.committed or 0)) for now, then in pairs) / apart_s
    if per_s and group.lag / per_s > deadline_s:
        yield (f"group {group.name} is behind: {_waiting(group.lag)} and {per_s:.0f} are read a second, so a new "
               f"one waits {group.lag / per_s:.0f} s, longer than limits.deadline_s ({deadline_s:g} s): add workers "
               f"with `{wanted.command}`")
