"""What was read of the load at one moment, and what follows from it. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from infra.autoscale.signals_rates import WorkerLoad
from infra.autoscale.tiers import Role
from topology.topics import Lane


@dataclass(frozen=True)
class PartitionLag:
    """One partition of a group's topic.

    `committed`: None before the first commit. `lag`: records that wait: end - max(commit, start), and 0 where nothing
    but transaction markers is left; a commit beyond the end is of a topic before this, and counts as the start.
    `oldest_age_s`: of the first of them; 0 where none waits, None where it could not be read in time. `arrivals_per_s`,
    `finished_per_s`: over the last 15 s; None at the first look. `stuck`: it stands still although a member has time
    for it. `owned`: a member reads it; None where the broker does not tell.
    """

    partition: int
    start: int
    end: int
    committed: int | None
    lag: int
    oldest_age_s: float | None
    arrivals_per_s: float | None = None
    finished_per_s: float | None = None
    stuck: bool = False
    owned: bool | None = None


@dataclass(frozen=True)
class GroupLag:
    """A consumer group: who reads, how far behind it is, how soon it will have caught up."""

    group: str
    topic: str
    role: Role
    ring: str
    cell: str
    lane: Lane
    state: str
    members: int
    partitions: tuple[PartitionLag, ...]
    workers: tuple[WorkerLoad, ...] = ()

    @property
    def lag(self) -> int:
        """Records that wait, of all partitions."""
        return sum(one.lag for one in self.partitions)

    @property
    def oldest_age_s(self) -> float | None:
        """Of the oldest record that waits; None where a partition's is not known."""
        ages = [one.oldest_age_s for one in self.partitions]
        return max((age for age in ages if age is not None), default=0.0) if None not in ages else None

    @property
    def arrivals_per_s(self) -> float | None:
        """Records a second that come."""
        return _sum(one.arrivals_per_s for one in self.partitions)

    @property
    def finished_per_s(self) -> float | None:
        """Records a second that the group finishes."""
        return _sum(one.finished_per_s for one in self.partitions)

    @property
    def busy_share(self) -> float | None:
        """The workers' mean."""
        return _mean([one.busy_share for one in self.workers])

    @property
    def true_records_per_s(self) -> float | None:
        """Of a worker that is busy all the time: the mean of those that tell."""
        return _mean([one.true_records_per_s for one in self.workers])

    @property
    def true_tokens_per_s(self) -> float | None:
        """The same in tokens; None of heads."""
        return _mean([one.true_tokens_per_s for one in self.workers]) if self.role == "encoder" else None

    @property
    def tokens_per_record(self) -> float | None:
        """Tokens that encoders computed for a mean record: fewer than its text has where caches knew it. None of heads,
        and before any was computed."""
        records = sum(one.records for one in self.workers)
        tokens = sum(one.tokens for one in self.workers)
        return tokens / records if self.role == "encoder" and records and tokens else None

    @property
    def lag_tokens(self) -> float | None:
        """The lag in tokens; None where nobody has told how many a record has."""
        if self.role == "encoder" and not self.lag:
            return 0.0
        return None if self.tokens_per_record is None else self.lag * self.tokens_per_record

    @property
    def drain_s(self) -> float | None:
        """Until nothing waits, with the workers there are and what comes now; infinite where it grows. None where that
        is not known."""
        if not self.lag:
            return 0.0
        if not self.members:
            return math.inf
        each, came = self.true_records_per_s, self.arrivals_per_s
        could = self.finished_per_s if each is None else each * self.members
        if could is None or came is None:
            return None
        return self.lag / (could - came) if could > came else math.inf


@dataclass(frozen=True)
class ReplayLag:
    """A replay that has not ended. `remaining`: records before its ends; None where those are not known (files)."""

    id: str
    state: str
    remaining: int | None


@dataclass(frozen=True)
class Reading:
    """Everything that was seen at `at_s` (of the epoch). `away`: why nothing was, where the broker did not tell."""

    at_s: float
    groups: tuple[GroupLag, ...] = ()
    replays: tuple[ReplayLag, ...] = ()
    away: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `headrace lag --json` prints it: what is not known is null, and so is a time that never ends, which
        `drains` tells: true, false, or null where that is not known."""
        body = asdict(self)
        for group, told in zip(self.groups, body["groups"], strict=True):
            told |= {name: getattr(group, name) for name in DERIVED}
            drain_s = group.drain_s
            told["drains"] = None if drain_s is None else math.isfinite(drain_s)
            told["drain_s"] = drain_s if told["drains"] else None
        return body


DERIVED = ("lag", "lag_tokens", "oldest_age_s", "arrivals_per_s", "finished_per_s", "busy_share", "true_records_per_s",
           "true_tokens_per_s", "tokens_per_record")


def _sum(values: Iterable[float | None]) -> float | None:
    """None where any is not known, or there is none."""
    found = list(values)
    return sum(one for one in found if one is not None) if found and None not in found else None


def _mean(values: list[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None
