"""What breaks first: how near each part of a plan is to the limit that was measured, published or assumed for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from infra.plan.fleet import Plan
from infra.plan.sheet import Number, shown

READY_S = 60.0  # that a worker may take before it is ready: a zone's spare is used up meanwhile
REGISTRY_SHARE = 0.25  # of a head worker's part of its machine's memory that the registry may take
CELL_SHARE = 0.05  # of an encoder worker's time that finding cells may take
TENANTS_KEPT = 65_536  # whose cells an encoder worker remembers
GROUP = 500  # members of a consumer group; larger ones were not tried here
EULER = 0.5772


@dataclass(frozen=True)
class Limit:
    """`value` of at most `limit`. `mend`: what is done about it, or could be."""

    name: str
    value: float
    limit: float
    unit: str
    basis: str
    mend: str

    @property
    def short(self) -> str:
        """The name without the ring."""
        return self.name.partition(" of ring ")[0].partition(", one stack")[0]

    @property
    def times(self) -> float:
        """The value over the limit: above 1 it breaks."""
        return self.value / self.limit

    def said(self) -> str:
        """In words, with the numbers."""
        verdict = "BREAKS" if self.times > 1 else "holds"
        return (f"{verdict}: {self.name} {shown(_short(self.value))} of {shown(_short(self.limit))} {self.unit} "
                f"({self.basis}); {self.mend}")


def limits(plan: Plan) -> list[Limit]:
    """Every limit, the nearest or most exceeded first."""
    found = [*_shared(plan), *_of_rings(plan)]
    return sorted(found, key=lambda one: -one.times)


def first(plan: Plan) -> Limit:
    """What breaks first, or would as all grows."""
    return limits(plan)[0]


def _short(value: float) -> Number:
    return round(value) if value >= 100 else float(f"{value:.2g}")


def _shared(plan: Plan) -> list[Limit]:
    fleet = plan.fleet
    return [
        Limit("Redis' thread, one stack", float(fleet["redis_cores"]), float(fleet["wire_busy"]), "cores", "measured",
              "more stacks, each with its part of the rings"),
        Limit("Redis' memory, one stack", float(fleet["redis_gb"]),
              float(fleet["redis_memory_gb"]) * float(fleet["fill"]), "GB", "measured",
              "a shorter redis.reply_ttl_s, or more stacks"),
        Limit("partitions of one cluster", float(fleet["all_partitions"]), float(fleet["cluster_partitions"]), "",
              "published, KIP-578", "more stacks, or fewer, larger cells"),
    ]


def _of_rings(plan: Plan) -> list[Limit]:
    found = []
    for part in plan.parts:
        ring, where = part.sheet, "of ring " + part.rings[0]
        rates = {"encoder": ring["encoder_workers"], "card": ring["gpus"]}
        per_worker = float(plan.fleet["head_memory_gb_each"]) / float(plan.fleet["head_vcpu"])
        found += [
            Limit(f"reading the registry at a start {where}", float(ring["registry_s"]), READY_S, "s", "measured",
                  "more stacks: each has its own registry"),
            Limit(f"registry in each head worker {where}", float(ring["registry_mb"]),
                  per_worker * REGISTRY_SHARE * 1_000, "MB", "measured", "more stacks: a worker keeps its ring's"),
            Limit(f"finding a new tenant's cell {where}", _cells_share(ring.values), CELL_SHARE, "of a worker's time",
                  "measured", "larger cells; a tenant's cell is remembered"),
            Limit(f"the largest tenant {where}", _largest(ring.values), _partition(ring.values), "utterances/s",
                  "Zipf is assumed", "a tenant has one partition, so one worker"),
            Limit(f"encoder workers in one group {where}", min(float(one) for one in rates.values()), GROUP, "",
                  "not tried beyond", "more rings or stacks"),
            Limit(f"head workers in one group {where}", float(ring["cell_workers"]), GROUP, "", "not tried beyond",
                  "more cells"),
        ]
    return found


def _cells_share(ring: Mapping[str, Number]) -> float:
    """Of an encoder worker's time: a tenant that is not among those remembered costs a look at every cell."""
    seconds = float(ring["cells"]) * float(ring["cell_us"]) / 1e6
    missed = max(0.0, 1.0 - TENANTS_KEPT / float(ring["active"]))
    return seconds * missed * float(ring["rate"]) / float(ring["encoder_workers"])


def _largest(ring: Mapping[str, Number]) -> float:
    """Utterances a second of the tenant that asks most, where tenants ask by Zipf (exponent 1)."""
    return float(ring["rate"]) / (math.log(max(1.0, float(ring["active"]))) + (EULER if ring["active"] > 1 else 1.0))


def _partition(ring: Mapping[str, Number]) -> float:
    """What one head worker does within the objective."""
    return 1e6 / float(ring["head_us"]) * 15 / float(ring["tokens"]) * float(ring["busy"])
