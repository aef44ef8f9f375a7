"""What topics cost: bytes an utterance, a day and a replica, and in all. Arithmetic over what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topology import topics, wire
from topology.encoders import find_encoder
from topology.settings import Ring, Settings
from topology.stream.records import Record
from topology.stream.traffic import Traffic, size_of

TOKENS = 15  # of a usual utterance
WIDTH = 768  # of its vectors, where the encoder is not on this machine
TEXT = "please turn on the lights in the kitchen at seven tomorrow"
DAY_S, GB = 86_400, 1e9


@dataclass(frozen=True)
class TopicCost:
    """Of one topic. `ring`: empty for those that all rings share. `measured`: the bytes are of records that are there;
    else of a made-up utterance. `bytes_an_utterance`: that an utterance leaves on it; none beside the live path.
    `gb_a_day`: of one replica. `kept_gb`: in all, replicas included."""

    topic: str
    ring: str
    bytes_each: float
    measured: bool
    per_s: float
    bytes_an_utterance: float
    gb_a_day: float
    kept_gb: float


def costs(settings: Settings, traffic: Mapping[str, Traffic], rate: float | None = None) -> list[TopicCost]:
    """The cost of every topic. `rate`: live utterances a second of each ring, instead of what was measured."""
    found, shared = [], {spec.name: spec for spec in topics.wanted(settings)}
    for ring in settings.rings.values():
        sizes, shares = reckoned(ring), _shares(settings.prefix, ring)
        asked = _measured(traffic, topics.utterances(settings.prefix, ring.name)) if rate is None else rate
        for name, (kind, lane, share) in shares.items():
            live = lane == "live"
            per_s = rate * share if live and rate is not None else _measured(traffic, name)
            used = per_s / asked if live and asked else share * live
            found.append(_cost(settings, shared.pop(name), ring.name, traffic, sizes[kind], per_s, used))
    found += [_cost(settings, s, "", traffic, 0, _measured(traffic, s.name), 0.0) for s in shared.values()]
    return found


def kept_embeddings(settings: Settings, ring: Ring, rate: float) -> tuple[float, float]:
    """(GB a day and a replica, GB in all) of a ring's live embeddings at so many utterances a second, reckoned."""
    one = [c for c in costs(settings, {}, rate) if c.ring == ring.name and c.topic.endswith(".embeddings")]
    return sum(c.gb_a_day for c in one), sum(c.kept_gb for c in one)


def reckoned(ring: Ring) -> dict[str, int]:
    """Kind of topic → bytes of a made-up utterance of 15 tokens on it, encoded as workers and clients encode it."""
    now, tenant, space, reply_to = 1_800_000_000_000_000, "a-tenant", "0" * 16, f"headrace:replies:{'0' * 32}"
    lang, request_id = ring.languages[0] if ring.languages else "en", "0" * 32
    utterance = wire.Utterance(request_id, tenant, TEXT, lang, now, now, reply_to)
    stages = dict.fromkeys(("submitted", "received", "encoded"), now)
    width = _width(ring)
    embedding = wire.Embedding(
        request_id, tenant, TEXT, lang, now, now, reply_to, ring.name, space, "int8", TOKENS, width,
        data=bytes(TOKENS * width), scales=bytes(TOKENS * 4), offsets=bytes(TOKENS * 8), stages=stages,
    )
    room = {"start": 29, "end": 36, "label": "room", "text": "kitchen", "confidence": 0.9}
    prediction = wire.Prediction(
        request_id, tenant, ring.name, lang, TEXT, "turn_on", 0.9, entities=[room], head_version=space, space=space,
        stages={**stages, "predicted": now},
    )
    return {
        "utterances": size_of(Record("", 0, 0, None, wire.encode(utterance))),
        "embeddings": size_of(Record("", 0, 0, tenant.encode(), wire.encode(embedding))),
        "predictions": size_of(Record("", 0, 0, tenant.encode(), wire.encode(prediction))),
    }


def _width(ring: Ring) -> int:
    try:
        directory = find_encoder(ring.encoder)
        config = json.loads((directory / "config.json").read_text()) if directory else {}
        return int(config.get("hidden_size", config.get("dim", WIDTH)))
    except (OSError, ValueError, AttributeError, TypeError):
        return WIDTH


def _shares(prefix: str, ring: Ring) -> dict[str, tuple[str, topics.Lane, float]]:
    """A ring's topics → (kind, lane, share of its utterances, by the cells' weights)."""
    found: dict[str, tuple[str, topics.Lane, float]] = {}
    whole = sum(ring.weights.values())
    for lane in topics.LANES:
        found[topics.utterances(prefix, ring.name, lane)] = "utterances", lane, 1.0
        for cell, weight in ring.weights.items():
            found[topics.embeddings(prefix, ring.name, cell, lane)] = "embeddings", lane, weight / whole
            found[topics.predictions(prefix, ring.name, cell, lane)] = "predictions", lane, weight / whole
    return found


def _measured(traffic: Mapping[str, Traffic], topic: str) -> float:
    return traffic.get(topic, Traffic()).per_s or 0.0


def _cost(
    settings: Settings, spec: topics.TopicSpec, ring: str, traffic: Mapping[str, Traffic], made_up: int, per_s: float,
    used: float,
) -> TopicCost:
    there = traffic.get(spec.name, Traffic())
    each = there.bytes_each if there.sampled else float(made_up)
    a_day = per_s * each * DAY_S / GB
    if retention_ms := spec.configs.get("retention.ms"):
        kept = a_day * int(retention_ms) / topics.DAY_MS
    else:  # compacted: it keeps what is there, at most
        kept = there.records * each / GB
    return TopicCost(
        spec.name, ring, each, there.sampled > 0, per_s, used * each, a_day, kept * settings.topics.replication
    )


def summed(found: Sequence[TopicCost]) -> dict[str, TopicCost]:
    """Ring → the sum of its topics; under the empty name those that all rings share."""
    sums = {}
    for ring in dict.fromkeys(one.ring for one in found):
        of = [one for one in found if one.ring == ring]
        sums[ring] = TopicCost(
            f"ring {ring}" if ring else "shared", ring, 0.0, all(one.measured for one in of), 0.0,
            sum(one.bytes_an_utterance for one in of), sum(one.gb_a_day for one in of), sum(one.kept_gb for one in of),
        )
    return sums
