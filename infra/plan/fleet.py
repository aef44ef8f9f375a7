"""The plan itself: sheets of formulas for each ring, then for what all rings share, then for what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.plan.asked import Asked, alike
from infra.plan.rates import Rates
from infra.plan.sheet import Number, Sheet
from infra.topic_cost import TOKENS, WIDTH, reckoned
from topology import topics
from topology.pacing import PACING
from topology.sections import Cell, Ring
from topology.settings import Settings

# Assumed or published; measured figures stand in `rates`.
ASSUMED: dict[str, tuple[float, str]] = {
    "cell_heads": (1_000, "active heads of a cell (the reference system's)"),
    "replication": (3, "replicas of a partition"),
    "broker_partitions": (4_000, "partitions a broker holds, replicas counted (KIP-578's general recommendation)"),
    "cluster_partitions": (200_000, "partitions of a cluster (the same)"),
    "fill": (0.7, "share of a disk or a memory that may be full"),
    "wire_busy": (0.5, "share of a network or of a broker's and Redis' processor that may be busy"),
    "insights_mb": (0.3, "MB of counts of a tenant that is never idle, where insights are on (docs/INSIGHTS.md)"),
    "versions": (2, "versions of a head that are stored"),
    "days": (30, "days of a month"),
}


@dataclass(frozen=True)
class Part:
    """Rings that are alike: their names, and the lines of one of them."""

    rings: Sequence[str]
    sheet: Sheet


@dataclass(frozen=True)
class Plan:
    """What was asked, the lines of rings, of all together, of the costs, and of whole models in their place."""

    asked: Asked
    currency: str
    parts: Sequence[Part]
    fleet: Sheet
    cost: Sheet
    whole: Sheet


def plan(asked: Asked, rates: Rates, currency: str, prices: Mapping[str, float]) -> Plan:
    """The plan for what is asked. Raises: Misconfigured where the objective was never measured to be held."""
    given = _given(asked, rates)
    parts = [Part(names, _ring({**given, "share": share})) for share, names in alike(asked.languages)]
    # `head_memory_gb` is the workers' need, and a machine has its own.
    machines = {("head_memory_gb_each" if name == "head_memory_gb" else name): one for name, one in prices.items()}
    fleet = _fleet(Sheet({**given, **machines}), parts)
    cost = _cost(Sheet(fleet.values))
    return Plan(asked, currency, parts, fleet, cost, _whole(Sheet(cost.values)))


def _given(asked: Asked, rates: Rates) -> dict[str, Number]:
    """Everything that is no formula's result."""
    sizes = reckoned(Ring(name="en", languages=("en",)))
    one = topics.wanted(Settings(rings={"r": Ring(name="r", cells={"a": Cell(name="a")})}))
    of_cell = [spec for spec in one if ".r.a." in spec.name]
    of_ring = [spec for spec in one if ".r." in spec.name and spec not in of_cell]
    zones, chance = asked.zones, (asked.zones - 1) / asked.zones
    return {
        "all_tenants": asked.tenants, "all_rate": asked.tps, "tokens": asked.tokens, "zones": zones,
        "active_share": asked.active_share, "busy": rates.busy(asked.objective_ms), "replays": asked.replays_share,
        "spare": zones / (zones - 1) if zones > 1 else 1, "embeddings_h": asked.embeddings_hours,
        "retention_h": asked.retention_hours, "later": asked.asked_later_share, "other_zone": chance,
        "fetch_other_zone": asked.fetch_share if asked.fetch_share >= 0 else chance,
        "utterance_bytes": sizes["utterances"], "prediction_bytes": sizes["predictions"],
        "embedding_bytes": sizes["embeddings"] + (asked.tokens - TOKENS) * (WIDTH + 12),
        "ring_topics": len(of_ring), "cell_topics": len(of_cell), "shared_topics": len(one) - len(of_ring + of_cell),
        "kept_s": Settings().redis.reply_ttl_s, "once_s": PACING.reply_once_s,
        "cache_mb": Settings().cache.embeddings_mb,
        **{name: value for name, (value, _) in ASSUMED.items()}, **rates.values(),
    }


def _ring(given: Mapping[str, Number]) -> Sheet:
    ring = Sheet(given)
    put = ring.put
    put("tenants", "ceil(all_tenants * share)")
    put("rate", "all_rate * share", "utterances/s")
    put("active", "ceil(tenants * active_share)", "heads", "tenants that ask within minutes of each other")
    put("cells", "max(1, ceil(active / cell_heads))")
    put("encoder_cores", "rate * encoder_us / 1000000 * tokens / 15 / busy * spare", "cores",
        "busy: so that p90 holds; spare: so that it holds with a zone lost")
    put("encoder_workers", "max(zones, ceil(encoder_cores))", "processes", "of one core each, on CPUs")
    put("gpus", "max(zones, ceil(rate / min(gpu_per_s, gpu_tokens_per_s / tokens) / busy * spare))", "cards",
        "instead of them")
    put("head_cores", "rate * head_us / 1000000 * tokens / 15 / busy * spare", "cores")
    put("cell_workers", "max(zones, ceil(head_cores / cells))", "processes", "of one core each, of one cell")
    put("head_workers", "cells * cell_workers", "processes")
    put("heads_gb", "active * head_mb / 1000 * spare", "GB", "heads in memory; a lost zone's move to the others")
    put("worker_heads_mb", "heads_gb * 1000 / head_workers", "MB", "heads.memory_mb of each head worker")
    put("registry_mb", "tenants * registry_bytes / 1000000", "MB", "in each head worker of the ring")
    put("registry_s", "(tenants * registry_us + (all_tenants - tenants) * registry_other_us) / 1000000", "s",
        "until a head worker has read the registry and is ready")
    put("head_memory_gb", "heads_gb + head_workers * (head_worker_mb + registry_mb) / 1000", "GB")
    put("ring_partitions", "evenly(2 * encoder_workers)", "", "twice the workers: they grow, keys keep their order")
    put("cell_partitions", "evenly(2 * cell_workers)")
    put("partitions", "ring_topics * ring_partitions + cells * cell_topics * cell_partitions", "",
        "of the ring's topics")
    return ring


def _sum(fleet: Sheet, parts: Sequence[Part], name: str, unit: str = "") -> None:
    """A line that adds up `name` over all rings."""
    for at, part in enumerate(parts):
        fleet.given(f"rings_{at}", len(part.rings))
        fleet.given(f"{name}_{at}", part.sheet[name])
    fleet.put(name, " + ".join(f"rings_{at} * {name}_{at}" for at in range(len(parts))), unit, "of all rings")


def _fleet(fleet: Sheet, parts: Sequence[Part]) -> Sheet:
    put = fleet.put
    fleet.given("rings", sum(len(part.rings) for part in parts))
    units = {"cells": "", "active": "heads", "encoder_cores": "cores", "encoder_workers": "processes", "gpus": "cards",
             "head_cores": "cores", "head_workers": "processes", "heads_gb": "GB", "head_memory_gb": "GB",
             "partitions": ""}
    for name, unit in units.items():
        _sum(fleet, parts, name, unit)
    put("all_partitions", "partitions + shared_topics", "", "those that all rings share included")
    put("client_cores", "all_rate * client_us / 1000000", "cores", "in the services that ask; not in the costs")
    _replays(fleet)
    _disk_and_network(fleet)
    put("broker_cores", "all_rate * broker_us / 1000000 * replication / wire_busy * spare", "cores",
        "a follower is taken to cost what a leader does")
    put("brokers", "zones * ceil(max(1, all_partitions * replication / broker_partitions, broker_cores / broker_vcpu, "
        "broker_in_mb_s * spare / (broker_network_gbit * 125 * wire_busy), disk_gb / (broker_disk_gb * fill)) / zones)",
        "", "by partitions, processor, network, disk: what asks for most")
    _redis(fleet)
    put("insights_gb", "active * insights_mb / 1000", "GB", "at most, where insights are on; not in the costs")
    put("store_gb", "all_tenants * head_mb / 1000 * versions", "GB", "the head store")
    return fleet


def _replays(fleet: Sheet) -> None:
    put = fleet.put
    put("replay_rate", "all_rate * replays", "utterances/s", "replayed, on average over the month")
    put("replay_cores", "replay_rate / replay_per_s * tokens / 15", "cores", "encoder and heads in one process, niced")
    put("idle_cores", "(encoder_cores + head_cores) * (1 - 1 / spare)", "cores", "idle while all zones are up, on CPUs")
    put("more_cores", "max(0, replay_cores - idle_cores)", "cores", "that replays add, encoders being on CPUs")


def _disk_and_network(fleet: Sheet) -> None:
    put = fleet.put
    put("utterance_disk_gb", "all_rate * utterance_bytes * retention_h * 3600 * replication / 1000000000", "GB")
    put("embedding_disk_gb", "all_rate * embedding_bytes * embeddings_h * 3600 * replication / 1000000000", "GB")
    put("prediction_disk_gb", "(all_rate + replay_rate) * prediction_bytes * retention_h * 3600 * replication / "
        "1000000000", "GB", "replays' results included")
    put("registry_disk_gb", "all_tenants * registry_record_bytes * replication / 1000000000", "GB")
    put("disk_gb", "utterance_disk_gb + embedding_disk_gb + prediction_disk_gb + registry_disk_gb", "GB")
    put("produced_mb_s", "(all_rate * (utterance_bytes + embedding_bytes + prediction_bytes) + replay_rate * "
        "prediction_bytes) / 1000000", "MB/s", "what clients and workers write")
    put("fetched_mb_s", "produced_mb_s + replay_rate * utterance_bytes / 1000000", "MB/s",
        "each record once: encoders, heads, who reads results")
    put("broker_in_mb_s", "produced_mb_s * replication", "MB/s", "into all brokers")
    put("broker_out_mb_s", "produced_mb_s * (replication - 1) + fetched_mb_s", "MB/s", "out of all brokers")
    put("reply_mb_s", "all_rate * prediction_bytes * 2 / 1000000", "MB/s", "to Redis and to who asked")
    put("cross_zone_mb_s", "produced_mb_s * other_zone + produced_mb_s * (min(replication, zones) - 1) + "
        "fetched_mb_s * fetch_other_zone + reply_mb_s * other_zone", "MB/s", "writes, replicas, fetches, replies")
    put("zone_mb_s", "cross_zone_mb_s / zones", "MB/s", "of it out of each zone")


def _redis(fleet: Sheet) -> None:
    put = fleet.put
    put("reply_gb", "all_rate * reply_bytes * (later * kept_s + (1 - later) * once_s) / 1000000000", "GB",
        "replies that are asked for later are kept longer")
    put("callers", "ceil(client_cores / wire_busy)", "processes", "that ask, at least")
    put("redis_gb", "reply_gb + callers * stream_mb / 1000 + rings * cache_mb / 1000", "GB",
        "with reply streams and embedding caches")
    put("redis_cores", "all_rate * redis_us / 1000000", "cores", "Redis has one")
    put("redises", "ceil(max(redis_cores / wire_busy, redis_gb / (redis_memory_gb * fill)))", "",
        "each with a stack of its own: a headrace.toml has one")
    put("stacks", "max(redises, ceil(all_partitions / cluster_partitions))", "",
        "a Kafka cluster and a Redis each, with its part of rings or tenants")


def _cost(cost: Sheet) -> Sheet:
    put = cost.put
    put("hours", "days * 24")
    put("encoder_machines", "zones * ceil(encoder_cores / worker_vcpu / zones)")
    put("encoders_on_cpus", "(encoder_machines + ceil(more_cores / worker_vcpu)) * worker_hour * hours", "a month",
        "what replays add included")
    put("encoders_on_gpus", "gpus * gpu_hour * hours", "a month")
    put("encoders", "min(encoders_on_cpus, encoders_on_gpus)", "a month", "the cheaper")
    put("head_machines", "zones * ceil(max(head_cores / head_vcpu, head_memory_gb / (head_memory_gb_each * fill)) / "
        "zones)", "", "by processor or by memory")
    put("heads", "head_machines * head_hour * hours", "a month")
    put("broker_cost", "max(brokers, zones * stacks) * broker_hour * hours", "a month")
    put("disks", "disk_gb / fill * gb_disk_month", "a month")
    put("redis", "stacks * 2 * redis_hour * hours", "a month", "each with a replica")
    put("network", "cross_zone_mb_s / 1000 * 3600 * hours * gb_cross_zone", "a month", "between zones")
    put("store", "store_gb * gb_store_month", "a month")
    put("total", "encoders + heads + broker_cost + disks + redis + network + store", "a month")
    put("of_a_tenant", "total / all_tenants", "a month and tenant")
    put("of_a_million", "total / (all_rate * 3600 * hours) * 1000000", "a million utterances")
    return cost


def _whole(whole: Sheet) -> Sheet:
    """The same tenants, a model each: as many replicas and as much spare as above, and the same busy share."""
    put = whole.put
    put("models_gb", "active * whole_model_mb / 1000 * spare", "GB", "in memory, where ours has heads_gb")
    put("model_cores", "all_rate / whole_per_s * tokens / 15 / busy * spare", "cores",
        "float32, no batch has two tenants")
    put("model_machines", "zones * ceil(max(model_cores / head_vcpu, models_gb / (head_memory_gb_each * fill)) / "
        "zones)")
    put("on_cpus", "model_machines * head_hour * days * 24", "a month")
    put("model_gpus", "zones * ceil(max(models_gb / 2 / (gpu_memory_gb * fill), all_rate * gpu_alone_ms / 1000 / busy "
        "* spare) / zones)", "cards", "in float16, half of the size; one utterance a call")
    put("on_gpus", "model_gpus * gpu_hour * days * 24", "a month")
    put("store_models", "all_tenants * whole_model_mb / 1000 * versions * gb_store_month", "a month")
    put("whole_total", "min(on_cpus, on_gpus) + store_models", "a month",
        "the cheaper; no brokers, no Redis, no network")
    put("ratio", "whole_total / total", "times ours")
    return whole
