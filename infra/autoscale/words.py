"""What a decision says of itself: one line with the figures it was made from, and what more workers cannot cure."""

from __future__ import annotations

from infra.autoscale.tiers import Policy, Tier
from infra.counted import counted


def explained(tier: Tier, replicas: int, needed: float, feed: tuple[float, float], reason: str) -> str:
    """One line: the count, the figures, and the reason where it is not the figures alone."""
    steady, drained = feed
    change = f"{tier.replicas} -> {replicas}" if replicas != tier.replicas else f"stay at {replicas}"
    comes = f"{steady:,.0f}/s come" + (f" and {drained:,.0f}/s of the encoders' backlog" if drained >= 1 else "")
    age = tier.oldest_age_s
    waits = f"{tier.backlog:,} wait" + (f" up to {age:.1f} s" if tier.backlog and age is not None else "")
    rate = (tier.rate_per_s or 0.0) / (tier.work_per_record or 1.0)
    speed = f"a worker does {rate:,.0f}/s, " if rate else ""
    return f"{change}: {comes}, {waits}, {speed}needed {needed:.1f}" + (f" ({reason})" if reason else "")


def reports_of(tier: Tier, hot: frozenset[int], policy: Policy) -> tuple[str, ...]:
    """A line for each partition that more workers cannot help."""
    rate = (tier.rate_per_s or 0.0) / (tier.work_per_record or 1.0)
    lines = []
    for one in tier.partitions:
        if one.stuck:
            age = "" if one.oldest_age_s is None else f", the oldest for {one.oldest_age_s:.0f} s"
            lines.append(f"partition {one.number} stands still with {counted(one.backlog, 'record')}{age}: not scaled "
                         "for; see its worker's log and `headrace dead-letters list`")
        elif one.number in hot:
            lines.append(f"partition {one.number} gets {one.arrivals_per_s or 0:,.0f}/s, a worker does {rate:,.0f}/s: "
                         "no more workers help; give its tenant several keys, or the topic more partitions")
    if rate and (tier.rebalance_s or 0) > policy.objective_s:
        lines.append(f"a rebalance takes {tier.rebalance_s:.1f} s, the objective is {policy.objective_s:g} s: every "
                     "change of workers misses it")
    return tuple(lines)
