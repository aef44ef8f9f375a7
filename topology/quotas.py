"""How much each tenant may ask for: a token bucket a tenant. The clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field

from topology.errors import Overloaded
from topology.pacing import PACING
from topology.settings import Quota, Quotas


@dataclass(slots=True)
class _Bucket:
    """`full_at_s`: when it has all its tokens again; from then on it says no more than none."""

    tokens: float
    at_s: float
    full_at_s: float


@dataclass
class Meter:
    """One worker's share of the quotas: where `workers` split a ring's traffic, each grants that part of the rate."""

    quotas: Quotas
    workers: int = 1
    max_buckets: int = PACING.max_buckets
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def quota(self, tenant: str) -> Quota:
        """The tenant's own quota, or everybody's."""
        return self.quotas.tenants.get(tenant, self.quotas.default)

    def check_queue(self, tenant: str, queued: int) -> None:
        """Raises: Overloaded where so many of the tenant's utterances wait as its quota lets."""
        if queued >= self.quota(tenant).queue:
            raise Overloaded(f"{queued} utterances of tenant {tenant!r} wait already; try again in 1 s", 1_000)

    def charge(self, tenant: str, now_s: float) -> None:
        """Take one utterance from the tenant's bucket. Raises: Overloaded, with the wait until there is one again."""
        quota = self.quota(tenant)
        rate, most = quota.per_s / self.workers, max(1.0, quota.per_s * quota.burst_s / self.workers)
        bucket = self._buckets.get(tenant)
        if bucket is None:
            if len(self._buckets) >= self.max_buckets:
                self._forget(now_s)
            bucket = self._buckets[tenant] = _Bucket(most, now_s, now_s)
        bucket.tokens = min(most, bucket.tokens + (now_s - bucket.at_s) * rate)
        bucket.at_s = now_s
        if bucket.tokens < 1:
            wait_ms = int((1 - bucket.tokens) / rate * 1e3) + 1
            raise Overloaded(
                f"tenant {tenant!r} is over its quota of {quota.per_s:g} utterances/s; try again in {wait_ms} ms",
                wait_ms,
            )
        bucket.tokens -= 1
        bucket.full_at_s = now_s + (most - bucket.tokens) / rate

    def _forget(self, now_s: float) -> None:
        """Drop the buckets that are full again, and of the others those that are so soonest, down to half.

        A name that asks once misses one token; a tenant at its quota misses all of them, so a flood of names that
        nobody knows pushes itself out and gives no tenant its burst again.
        """
        kept = sorted((b.full_at_s, name) for name, b in self._buckets.items() if b.full_at_s > now_s)
        self._buckets = {name: self._buckets[name] for _, name in kept[-(self.max_buckets // 2) :]}
