"""What decides in the simulator: ours, and what people use instead, each by its own published rules.

Kubernetes' HPA looks every 15 s, changes nothing within 10 % of its target, at most doubles (or adds 4) in 15 s, and
shrinks to the highest count that it wanted in the last 300 s. KEDA's Kafka scaler feeds it the lag of a group: the
desired count is lag / lagThreshold, with the lag capped at partitions x lagThreshold. (KEDA's own poll of 30 s and
cooldown of 300 s decide between no replica and one; all rivals here keep at least one.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from infra.autoscale.decision import decide
from infra.autoscale.tiers import Advice, Past, Policy, Tier

HPA_EVERY_S, HPA_TOLERANCE, HPA_STABLE_S = 15.0, 0.1, 300.0
HPA_PODS, HPA_TIMES = 4, 2  # the most that one look adds: so many, or so many times, whichever is more


class Ours:
    """`decision.decide`, as the external scaler and `headrace up --autoscale` call it."""

    def __init__(self, policy: Policy) -> None:
        self.name, self.every_s, self.policy, self.past = "headrace", policy.every_s, policy, Past()
        self.advices: list[Advice] = []

    def decide(self, tiers: Sequence[Tier]) -> dict[str, int]:
        """By the pure function; keeps what it remembers."""
        found, self.past = decide(tiers, self.policy, self.past)
        self.advices += found
        return {one.tier: one.replicas for one in found}


class Hpa:
    """What KEDA and the CPU target share: Kubernetes' own rules over a ratio of what is to what should be."""

    every_s = HPA_EVERY_S

    def __init__(self, name: str) -> None:
        self.name = name
        self.wanted: dict[str, list[tuple[float, int]]] = {}

    def ratio(self, tier: Tier) -> float | None:
        """What is, by what should be, at the present count; None: not known."""
        raise NotImplementedError

    def decide(self, tiers: Sequence[Tier]) -> dict[str, int]:
        """Within the tolerance, or without a metric: as it is."""
        return {tier.name: self._one(tier) for tier in tiers}

    def _one(self, tier: Tier) -> int:
        ratio, now = self.ratio(tier), tier.replicas
        if ratio is None:
            return now
        desired = now if abs(ratio - 1) <= HPA_TOLERANCE else ceil(now * ratio - 1e-9)
        desired = min(max(desired, 1), len(tier.partitions), max(now + HPA_PODS, now * HPA_TIMES))
        lately = [one for one in self.wanted.get(tier.name, []) if one[0] > tier.at_s - HPA_STABLE_S]
        self.wanted[tier.name] = [*lately, (tier.at_s, desired)]
        return max([desired, *(count for _, count in lately)]) if desired < now else desired


class Keda(Hpa):
    """KEDA's Kafka scaler, `lagThreshold` records of lag to a replica, by role."""

    def __init__(self, thresholds: Mapping[str, int]) -> None:
        super().__init__("KEDA, lag")
        self.thresholds = thresholds

    def ratio(self, tier: Tier) -> float | None:
        """lag / threshold / replicas. The brokers away: no metric, and the HPA holds."""
        if tier.missing:
            return None
        threshold = self.thresholds[tier.role]
        return min(tier.backlog, len(tier.partitions) * threshold) / threshold / max(tier.replicas, 1)


class CpuTarget(Hpa):
    """The HPA's own: mean CPU share of the pods against a target."""

    def __init__(self, target: float) -> None:
        super().__init__("HPA, CPU")
        self.target = target

    def ratio(self, tier: Tier) -> float | None:
        """busy / target. It is known while the brokers are away, too."""
        return None if tier.busy is None else tier.busy / self.target


class Fixed:
    """A fleet that nobody changes."""

    every_s = 60.0

    def __init__(self, name: str, counts: Mapping[str, int]) -> None:
        self.name, self.counts = name, counts

    def decide(self, tiers: Sequence[Tier]) -> dict[str, int]:
        """As it was set."""
        return {tier.name: self.counts[tier.role] for tier in tiers}
