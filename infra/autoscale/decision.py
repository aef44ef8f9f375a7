"""How many workers each tier should have: arithmetic over what was seen. No clock, no I/O.

    replicas = ceil((λ/u + (B + grown)/T) / μ)

λ is the work that comes, B what waits, u the busy share aimed at, T the time to catch up, μ the work one replica does.
`grown` is what the tier gets behind before another worker helps: while it starts, and while the group rebalances.
Heads are sized for what their ring's encoders will put out next, so that both tiers move at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from infra.autoscale.tiers import Advice, PartitionLoad, Past, Policy, Tier, Wanted
from infra.autoscale.words import explained, reports_of

TELLING = 0.5  # busy share below which batches are small and a record costs more than it would under load
TOLERANCE = 0.1  # a need of so much more than what runs changes nothing: fewer rebalances, for a busier tier


@dataclass(frozen=True)
class Feed:
    """Records a second that come to a tier: of traffic as it is, and of a backlog upstream that is drained."""

    steady: float
    drained: float = 0.0
    at_once: bool = False  # the encoders are late and get more workers: so do heads, in the same decision


@dataclass(frozen=True)
class Need:
    """The replicas that a tier needs, for which feed, and its hot partitions: more comes to one than a worker does."""

    replicas: float
    feed: Feed
    hot: frozenset[int] = frozenset()


def decide(tiers: Iterable[Tier], policy: Policy, past: Past) -> tuple[tuple[Advice, ...], Past]:
    """One advice a tier, in their order, and what to hand back the next time."""
    seen = list(tiers)
    fed: dict[str, Feed] = {}
    found: dict[str, Advice] = {}
    kept = dict(past.tiers)
    for one in sorted(seen, key=lambda one: one.role != "encoder"):
        tier = _rated(one, kept.get(one.name, Wanted()))
        feed = _feed(tier, fed)
        found[tier.name], kept[tier.name] = _decide(tier, feed, policy, kept.get(tier.name, Wanted()))
        if tier.role == "encoder" and feed is not None and not found[tier.name].held:
            fed[tier.ring] = put_out(tier, feed, found[tier.name], policy)
    return tuple(found[tier.name] for tier in seen), Past(kept)


def put_out(tier: Tier, feed: Feed, advice: Advice, policy: Policy) -> Feed:
    """What encoders put out once they are as many as advised: what comes, and what waits within `catch_up_s`."""
    if tier.rate_per_s is None or not tier.work_per_record:
        return feed
    rate = tier.rate_per_s / tier.work_per_record
    most = advice.replicas * rate
    steady = min(feed.steady, most)
    drained = sum(min(one.backlog / policy.catch_up_s, max(0.0, rate - load))  # a partition has one worker
                  for one, load in _spread(tier.partitions, steady) if not one.stuck)
    return Feed(steady, min(drained, most - steady), advice.replicas > advice.running)


def need(tier: Tier, feed: Feed, policy: Policy) -> Need:
    """The replicas that a tier needs. A partition has one worker, so none counts for more than one replica."""
    rate = (tier.rate_per_s or 0.0) / (tier.work_per_record or 1.0)  # records a second of one replica
    comes = feed.steady + feed.drained
    loads = list(_spread(tier.partitions, comes))
    waits = sum(one.backlog for one, _ in loads if not one.stuck)
    if not comes and not waits:
        return Need(0.0, feed)
    start, rebalance = _measured(tier, policy)
    grown = max(0.0, comes - tier.replicas * rate) * start + comes * rebalance
    total = 0.0
    for one, load in loads:
        share = load / comes if comes else 1 / len(loads)
        usual = feed.steady * share / policy.utilization / rate
        behind = grown * share + (0 if one.stuck else one.backlog)
        total += min(1.0, usual + (feed.drained * share + behind / policy.catch_up_s) / rate)
    return Need(total, feed, frozenset(one.number for one, load in loads if load > rate))


def spreads(partitions: int, most: int) -> list[int]:
    """The counts of workers worth having: one more than such a count leaves the busiest worker as many partitions."""
    return sorted({count for each in range(1, partitions + 1) if (count := ceil(partitions / each)) <= most} | {1})


def worth(partitions: int, needed: float) -> int:
    """The smallest count of workers that spreads evenly over the partitions and is worth `needed` full ones."""
    return _enough(partitions, spreads(partitions, partitions), needed)


def _decide(tier: Tier, feed: Feed | None, policy: Policy, past: Wanted) -> tuple[Advice, Wanted]:
    why = _held(tier, feed)
    if feed is None or why:
        return Advice(tier.name, tier.at_s, max(tier.replicas, tier.min_replicas), tier.replicas,
                      f"hold at {tier.replicas}: {why}", True, reports_of(tier, frozenset(), policy)), past
    if past.changed_s is not None and past.changed_s > tier.at_s:  # a clock set back: what it remembers is of no use
        past = Wanted()
    needed = need(tier, feed, policy)
    wanted, reason = _wanted(tier, needed, policy, past)
    lately = (*_lately(tier, policy, past), (tier.at_s, wanted))
    replicas, reason = _damped(tier, wanted, reason, policy, replace(past, lately=lately),
                               feed.at_once or reason == "late")
    advice = Advice(tier.name, tier.at_s, replicas, tier.replicas,
                    explained(tier, replicas, needed.replicas, (feed.steady, feed.drained), reason), False,
                    reports_of(tier, needed.hot, policy))
    told = tier.rate_per_s if (tier.busy or 0.0) >= TELLING else past.rate_per_s
    return advice, Wanted(lately, tier.at_s if replicas != tier.replicas else past.changed_s, told)


def _rated(tier: Tier, past: Wanted) -> Tier:
    """At a light load a worker's rate reads low (205/s where it does 480/s under load), and a tier would not shrink:
    then the rate counts that was told when it was busy."""
    if tier.rate_per_s is None or past.rate_per_s is None or (tier.busy or 0.0) >= TELLING:
        return tier
    return replace(tier, rate_per_s=max(tier.rate_per_s, past.rate_per_s))


def _held(tier: Tier, feed: Feed | None) -> str:
    """Why nothing can be decided; empty where it can."""
    if tier.missing:
        return tier.missing
    if not tier.partitions:
        return "its topic was not read"
    if feed is None:
        return "it is not known how much comes"
    if (feed.steady or feed.drained or tier.backlog) and not (tier.rate_per_s and tier.work_per_record):
        return "it is not known how fast a worker is"
    return "" if tier.oldest_age_s is not None else "it is not known how old the oldest record is"


def _feed(tier: Tier, fed: dict[str, Feed]) -> Feed | None:
    above = fed.get(tier.ring) if tier.role == "head" else None
    if above is None:
        return None if tier.arrivals_per_s is None else Feed(tier.arrivals_per_s)
    return Feed(above.steady * tier.share, above.drained * tier.share, above.at_once)


def _wanted(tier: Tier, needed: Need, policy: Policy, past: Wanted) -> tuple[int, str]:
    """The count that the need of now asks for, and for what reason."""
    most = min(tier.max_replicas or len(tier.partitions), len(tier.partitions))
    counts = [one for one in spreads(len(tier.partitions), most) if one >= tier.min_replicas] or [most]
    enough = _enough(len(tier.partitions), counts, needed.replicas)
    fits = _capacity(len(tier.partitions), tier.replicas) * (1 + TOLERANCE)
    if tier.replicas <= most and enough > tier.replicas and needed.replicas <= fits:
        enough = tier.replicas
    if not _late(tier, needed, policy, past):
        return enough, "at most that" if needed.replicas > _capacity(len(tier.partitions), counts[-1]) else ""
    above = next((one for one in counts if one > tier.replicas), counts[-1])
    return max(enough, above), "late"


def _late(tier: Tier, needed: Need, policy: Policy, past: Wanted) -> bool:
    """Does what waits, and more workers would cure, grow old? Not where workers that start may cure it already, and not
    where what runs will have done it before another worker could begin."""
    ages = [one.oldest_age_s or 0.0 for one in tier.partitions if not one.stuck and one.number not in needed.hot]
    if max(ages, default=0.0) <= policy.objective_s / 2:
        return False
    start, rebalance = _measured(tier, policy)
    if past.changed_s is not None and tier.at_s - past.changed_s < start + 2 * rebalance:
        return False
    rate = (tier.rate_per_s or 0.0) / (tier.work_per_record or 1.0)
    spare = _capacity(len(tier.partitions), tier.replicas) * rate - needed.feed.steady
    waits = sum(one.backlog for one in tier.partitions if not one.stuck and one.number not in needed.hot)
    return waits > spare * (start + rebalance)


def _damped(tier: Tier, wanted: int, reason: str, policy: Policy, past: Wanted,
            at_once: bool) -> tuple[int, str]:
    """Up at once when late, else when it was wanted twice; down by a step when nobody wanted more for `quiet_s`."""
    now = tier.replicas
    if wanted > now:
        before = past.lately[-2][1] if len(past.lately) > 1 else wanted
        if now < tier.min_replicas or at_once:
            return wanted, reason
        return (min(wanted, before), reason) if before > now else (now, f"{wanted} if it lasts")
    if wanted == now:
        return now, reason
    highest = max(count for _, count in past.lately)
    most = tier.max_replicas or len(tier.partitions)
    if now > min(most, len(tier.partitions)):
        return max(wanted, min(most, len(tier.partitions))), "more than have a partition"
    below, quiet_s = _below(tier), _quiet_s(tier, policy)
    quiet_for = tier.at_s - max(past.changed_s or past.lately[0][0], past.lately[0][0])
    if highest > below:
        return now, f"{highest} wanted within {quiet_s:g} s"
    if quiet_for < quiet_s:
        return now, f"{below} when quiet for {quiet_s:g} s"
    return max(below, tier.min_replicas), "quiet"


def _below(tier: Tier) -> int:
    """The next lower count worth having; where there is none, what runs."""
    most = tier.max_replicas or len(tier.partitions)
    return max((one for one in spreads(len(tier.partitions), most) if one < tier.replicas), default=tier.replicas)


def _quiet_s(tier: Tier, policy: Policy) -> float:
    """How long nobody may have needed more before a step down: so long that the step, if it lasts as long again, saves
    what its rebalance costs."""
    saved, (_, rebalance) = tier.replicas - _below(tier), _measured(tier, policy)
    return max(policy.quiet_s, tier.replicas * rebalance / saved) if saved else policy.quiet_s


def _lately(tier: Tier, policy: Policy, past: Wanted) -> list[tuple[float, int]]:
    """What was wanted within the quiet window, and at the look before it: without that one the window is never full
    where looks are far apart. But not across a time that nobody looked at."""
    since_s = tier.at_s - _quiet_s(tier, policy)
    seen = [one for one in past.lately if one[0] <= tier.at_s]
    inside = [one for one in seen if one[0] > since_s]
    next_s = inside[0][0] if inside else tier.at_s
    before = [one for one in seen if one[0] <= since_s][-1:]
    unseen_s = max(policy.quiet_s, 2 * policy.every_s)
    return [one for one in before if next_s - one[0] <= unseen_s] + inside


def _measured(tier: Tier, policy: Policy) -> tuple[float, float]:
    return (policy.start_s if tier.start_s is None else tier.start_s,
            policy.rebalance_s if tier.rebalance_s is None else tier.rebalance_s)


def _capacity(partitions: int, replicas: int) -> float:
    """How many full replicas so many are worth: the busiest of them has the most partitions."""
    return partitions / ceil(partitions / replicas) if replicas and partitions else 0.0


def _enough(partitions: int, counts: Sequence[int], needed: float) -> int:
    return next((one for one in counts if _capacity(partitions, one) >= needed - 1e-9), counts[-1])


def _spread(partitions: Sequence[PartitionLoad], comes: float) -> Iterable[tuple[PartitionLoad, float]]:
    """Each partition with its records a second: as they come now, or evenly where that is not known."""
    known = [one.arrivals_per_s for one in partitions if one.arrivals_per_s is not None]
    whole = sum(known) if len(known) == len(partitions) else 0.0
    for one in partitions:
        yield one, comes * (one.arrivals_per_s or 0.0) / whole if whole else comes / len(partitions)
