"""What a version in the shadow may cost the version that replies."""

import time
from types import SimpleNamespace

import numpy as np

from head_worker.engine import Scored
from head_worker.worker import HeadWorker
from topology import wire
from topology.registry import Candidate, HeadRecord
from topology.settings import Ring, Settings
from topology.stream.records import Record

SPACE = "space"


class Head:
    """Says `intent`; None: it cannot score anything."""

    def __init__(self, version, intent):
        self.manifest, self.intent = SimpleNamespace(space=SPACE, version=version, system_entities=()), intent

    def predict(self, rows):
        if self.intent is None:
            raise ValueError("shapes do not fit")
        return [Scored(self.intent, 1.0, False, ()) for _ in rows]


class Heads:
    """Heads in memory by version, of one tenant."""

    def __init__(self, record, **heads):
        self._record, self._heads = record, heads

    def record(self, tenant):
        return self._record

    def record_for(self, tenant, space):
        return self._record

    def resident(self, tenant, version):
        return self._heads[version]

    def stats(self):
        return {}


def embedded(id):
    now_us = time.time_ns() // 1_000
    return Record("topic", 0, 0, b"acme", wire.encode(wire.Embedding(
        id, "acme", "lights off", "en", now_us, now_us + 60_000_000, "", "en", SPACE, "int8", 1, 4, bytes(4),
        np.ones(1, "<f4").tobytes(), bytes(8),
    )))


async def test_a_shadow_that_cannot_score_costs_nobody_a_reply():
    record = HeadRecord("acme", "en", "one", SPACE, "", Candidate("two", SPACE, "", "shadow"))
    heads = Heads(record, one=Head("one", "lights.off"), two=Head("two", None))
    worker = HeadWorker(Settings(rings={"en": Ring(name="en")}), "en", "a", heads)
    outcome, = [step async for step in worker.process([embedded("x")])]
    reply, = outcome.replies
    assert reply.ok and wire.decode(wire.Prediction, reply.value).intent == "lights.off"
    assert len(outcome.outputs) == 1 and worker.stats()["shadow_failed"] == 1
