"""What the parts of autoscaling share: a tier as it was seen, and the advice. No I/O and no clock.

Work is counted in tokens for encoders and in records for heads. `work_per_record` turns records into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from topology.sections import Autoscale as Policy  # one spelling: the section `[autoscale]` is the policy

__all__ = ["Advice", "PartitionLoad", "Past", "Policy", "Role", "Tier", "Wanted", "tier_name"]

Role = Literal["encoder", "head"]


@dataclass(frozen=True)
class PartitionLoad:
    """One partition of a tier's input topic.

    `backlog`: unfinished records, transaction markers left out. `oldest_age_s`: of the oldest of them; 0 where
    nothing waits. `arrivals_per_s`: records a second; None: not known. `stuck`: its position stands still although
    records wait and its worker has had time for them.
    """

    number: int
    backlog: int = 0
    oldest_age_s: float | None = 0.0
    arrivals_per_s: float | None = None
    stuck: bool = False


@dataclass(frozen=True)
class Tier:
    """The workers of one role that share a topic, as they were seen at `at_s` (Unix time).

    `name`: "encoder/en" or "head/en/a", as `tier_name` spells it. `replicas`: running or starting now. `partitions`:
    all that the topic has; none where it could not be read. None in a reading: not known, and never zero by guess.

    `arrivals_per_s`: records a second that come to the topic, over 15 s. `rate_per_s`: work a second of one
    replica that is busy all the time (what it did over its busy share). `work_per_record`: tokens of a mean record for
    encoders, 1 for heads. `busy`: mean share of the time that the replicas compute. `share`: of heads, the part of
    their ring's utterances that goes to this cell. `start_s`, `rebalance_s`: as measured; None: the policy's.
    `missing`: why a reading is not there, in words for a person; not empty holds this tier.
    """

    name: str
    role: Role
    ring: str
    cell: str = ""
    at_s: float = 0.0
    replicas: int = 0
    partitions: tuple[PartitionLoad, ...] = ()
    arrivals_per_s: float | None = None
    rate_per_s: float | None = None
    work_per_record: float | None = 1.0
    busy: float | None = None
    share: float = 1.0
    start_s: float | None = None
    rebalance_s: float | None = None
    min_replicas: int = 1
    max_replicas: int = 0  # 0: as many as there are partitions
    missing: str = ""

    @property
    def backlog(self) -> int:
        """Records that wait, those of stuck partitions too."""
        return sum(one.backlog for one in self.partitions)

    @property
    def oldest_age_s(self) -> float | None:
        """The age of the oldest record that waits, as far as ages are known; None where some wait and none is."""
        ages = [one.oldest_age_s for one in self.partitions if one.backlog]
        return max((age for age in ages if age is not None), default=None if ages else 0.0)


@dataclass(frozen=True)
class Advice:
    """How many replicas a tier should have. `why`: one line with the figures. `held`: nothing could be decided, and
    `replicas` is what runs. `reports`: what more replicas cannot cure (a hot partition, a stuck one), for a person."""

    tier: str
    at_s: float
    replicas: int
    running: int
    why: str
    held: bool = False
    reports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What one tier wanted of late: (Unix time, replicas) of the quiet window and the look before it, and when its
    count last changed."""

    lately: tuple[tuple[float, int], ...] = ()
    changed_s: float | None = None
    rate_per_s: float | None = None  # of a replica when the tier was last busy enough to tell


@dataclass(frozen=True)
class Past:
    """What `decision.decide` remembers between two calls: start with `Past()`, hand back what it gave."""

    tiers: Mapping[str, Wanted] = field(default_factory=dict)


def tier_name(role: Role, ring: str, cell: str = "") -> str:
    """encoder/RING or head/RING/CELL."""
    return f"{role}/{ring}/{cell}" if cell else f"{role}/{ring}"
