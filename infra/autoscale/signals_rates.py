"""What looks at a consumer group tell together: arrivals, how busy each worker is, what it could do. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from topology.pacing import PACING, Pacing
from topology.stream.groups import GroupState, PartitionState
from topology.stream.work import Work, newest


@dataclass(frozen=True)
class Look:
    """A group as it was seen. `clock_s`: of a clock that never jumps."""

    clock_s: float
    group: GroupState


@dataclass(frozen=True)
class WorkerLoad:
    """One worker process, over the last `pacing.lag_kept_s` or since it began. None: not known.

    `partitions`: those it committed last. `busy_share`: of one event loop or engine, at most 1. `records_per_s`: what
    it does. `true_records_per_s`, `true_tokens_per_s`: what it would do if it were busy all the time. `tokens`,
    `records`: so many tokens went into so many records.
    """

    worker: str
    partitions: tuple[int, ...]
    busy_share: float | None = None
    records_per_s: float | None = None
    true_records_per_s: float | None = None
    true_tokens_per_s: float | None = None
    records: int = 0
    tokens: int = 0


def comparable(looks: Sequence[Look], pacing: Pacing = PACING) -> list[Look]:
    """The looks of the last `pacing.lag_kept_s`, or back to one that is `pacing.lag_stuck_s` old, since the topic was
    made: the oldest first."""
    found = list(looks[-1:])
    for look in reversed(looks[:-1]):
        # One as old as `lag_stuck_s` is kept, however far apart looks are: without it nothing is ever told stuck.
        reaches_back = looks[-1].clock_s - found[0].clock_s >= pacing.lag_stuck_s
        is_old = looks[-1].clock_s - look.clock_s > pacing.lag_kept_s and reaches_back
        if is_old or _is_made_anew(look.group, found[0].group):
            break
        found.insert(0, look)
    return found


def _is_made_anew(before: GroupState, now: GroupState) -> bool:
    then = {one.number: one for one in before.partitions}
    return before.topic_id != now.topic_id or any(
        one.number in then and (one.end < then[one.number].end or one.start < then[one.number].start)
        for one in now.partitions
    )


def arrivals(looks: Sequence[Look], pacing: Pacing = PACING) -> dict[int, float]:
    """Partition → records a second that came, over the last `pacing.lag_window_s` of comparable looks; empty where
    there is only one. Transaction markers count: offsets do not tell them apart."""
    return _moved(looks, lambda one: one.end, pacing)


def finished(looks: Sequence[Look], pacing: Pacing = PACING) -> dict[int, float]:
    """Partition → records a second that the group finished. What retention deleted unread counts, as Kafka's own
    position does."""
    return _moved(looks, lambda one: one.position, pacing)


def _moved(looks: Sequence[Look], place: Callable[[PartitionState], int], pacing: Pacing) -> dict[int, float]:
    recent = [look for look in looks if looks[-1].clock_s - look.clock_s <= pacing.lag_window_s]
    looks = recent if len(recent) > 1 else looks[-2:]
    if len(looks) < 2 or looks[-1].clock_s <= looks[0].clock_s:
        return {}
    took_s = looks[-1].clock_s - looks[0].clock_s
    then = {one.number: place(one) for one in looks[0].group.partitions}
    # A partition that was added since began at 0.
    return {p.number: max(0, place(p) - then.get(p.number, 0)) / took_s for p in looks[-1].group.partitions}


def stuck(looks: Sequence[Look], pacing: Pacing = PACING) -> set[int]:
    """Partitions whose position has stood still for `pacing.lag_stuck_s` although records waited and a member had
    time for them."""
    if not looks or not looks[-1].group.members:
        return set()
    now = looks[-1]
    long_ago = [look for look in looks if now.clock_s - look.clock_s >= pacing.lag_stuck_s]
    if not long_ago or any(look.group.state != "Stable" for look in looks[looks.index(long_ago[-1]):]):
        return set()
    then = {one.number: one for one in long_ago[-1].group.partitions}
    return {
        one.number for one in now.group.partitions
        if one.lag and one.number in then and then[one.number].lag and one.position == then[one.number].position
        and one.owned is not False
    }


def workers(looks: Sequence[Look], pacing: Pacing = PACING) -> list[WorkerLoad]:
    """The load of each worker whose figures stand in the group's commits, as many as the group has members."""
    seen = [(look, _works(look.group)) for look in looks]
    if not seen:
        return []
    found = []
    for name, (work, numbers) in seen[-1][1].items():
        of = [(look, works[name][0]) for look, works in seen if name in works]
        begin = next((n for n in range(len(of) - 1, 0, -1) if of[n][1].up_s < of[n - 1][1].up_s), 0)  # it began anew
        same = next(look.clock_s for look, one in of[begin:] if one == work)
        idle_s = looks[-1].clock_s - same  # no commit since: it has finished nothing
        found.append((idle_s, _load(name, numbers, of[begin:], idle_s, pacing)))
    found.sort(key=lambda one: one[0])  # who committed last: others may have left
    return sorted((load for _, load in found[: looks[-1].group.members]), key=lambda load: load.worker)


def _works(group: GroupState) -> dict[str, tuple[Work, tuple[int, ...]]]:
    """Worker → (its newest figures, the partitions that it committed last)."""
    notes: dict[str, list[tuple[int, Work]]] = defaultdict(list)
    for one in group.partitions:
        if (work := Work.from_note(one.note)) is not None:
            notes[work.worker].append((one.number, work))
    return {
        name: (newest(work for _, work in some), tuple(number for number, _ in some)) for name, some in notes.items()
    }


def _load(
    name: str, numbers: tuple[int, ...], of: Sequence[tuple[Look, Work]], idle_s: float, pacing: Pacing
) -> WorkerLoad:
    then, now = of[0][1], of[-1][1]
    took_s = now.up_s - then.up_s + idle_s
    if took_s <= 0:  # one look: what it did since it began
        then, took_s = Work(name, 0, 0, 0, 0), 0.0
    busy_s, records, tokens = _busy_s(then, now), now.records - then.records, now.tokens - then.tokens
    per_s = records / took_s if took_s else None
    if busy_s < pacing.lag_least_busy_s:  # too little to tell: what it did since it began
        busy_s, records, tokens = _busy_s(Work(name, 0, 0, 0, 0), now), now.records, now.tokens
    true = records / busy_s if busy_s >= pacing.lag_least_busy_s and records else None
    tokens_each = tokens / records if records else 0.0
    if true and per_s and _had_work(of, numbers, per_s) and abs(per_s / true - 1) > pacing.lag_observed_ratio:
        true = per_s  # it had work all the time: what it did is all that it can
    share = min(1.0, _busy_s(then, now) / took_s) if took_s else None
    return WorkerLoad(name, numbers, share, per_s, true, true and true * tokens_each, records, tokens)


def _busy_s(then: Work, now: Work) -> float:
    """The busier of event loop and engine: either can be what holds a worker back."""
    return max(now.loop_s - then.loop_s, now.engine_s - then.engine_s)


def _had_work(of: Sequence[tuple[Look, Work]], numbers: tuple[int, ...], per_s: float) -> bool:
    """Whether at each look more waited than the worker finishes in two commit intervals, and it did commit meanwhile.
    What it finishes in one always waits for the commit: looks in step with commits would see it each time."""
    enough = 2 * per_s * PACING.commit_interval_s
    return all(one.up_s > before.up_s for (_, before), (_, one) in pairwise(of)) and all(
        sum(p.lag for p in look.group.partitions if p.number in numbers) > enough for look, _ in of
    )
