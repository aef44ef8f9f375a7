"""How much each tenant may ask for: a token bucket a tenant. The clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field

from topology.errors import Overloaded
from topology.settings import Quota, Quotas


@dataclass
class _Bucket:
    tokens: float
    at_s: float


@dataclass
class Meter:
    """One worker's share of the quotas: where `workers` split a ring's traffic, each grants that part of the rate."""

    quotas: Quotas
    workers: int = 1
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def quota(self, tenant: str) -> Quota:
        """The tenant's own quota, or everybody's."""
        return self.quotas.tenants.get(tenant, self.quotas.default)

    def charge(self, tenant: str, now_s: float) -> None:
        """Take one utterance from the tenant's bucket. Raises: Overloaded, with the wait until there is one again."""
        quota = self.quota(tenant)
        rate, most = quota.per_s / self.workers, max(1.0, quota.per_s * quota.burst_s / self.workers)
        bucket = self._buckets.setdefault(tenant, _Bucket(most, now_s))
        bucket.tokens = min(most, bucket.tokens + (now_s - bucket.at_s) * rate)
        bucket.at_s = now_s
        if bucket.tokens < 1:
            wait_ms = int((1 - bucket.tokens) / rate * 1e3) + 1
            raise Overloaded(
                f"tenant {tenant!r} is over its quota of {quota.per_s:g} utterances/s; try again in {wait_ms} ms",
                wait_ms,
            )
        bucket.tokens -= 1
