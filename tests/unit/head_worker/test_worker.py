"""What a head worker does with embeddings that anybody may have written."""

from dataclasses import replace

import numpy as np

from head_worker.worker import HeadWorker
from tests.unit.head_worker.test_cache import ask, cache_with, put
from topology import topics, wire
from topology.registry import Candidate
from topology.settings import parse
from topology.stream.outcomes import Outcome
from topology.stream.process import now_us
from topology.stream.records import Record

SETTINGS = parse('[limits]\nmax_tokens = 10\n[rings.en]\nlanguages = ["en"]\nencoder = "x"\n[rings.en.cells.a]\n')
LATER_US = 3_600 * 10**6


def embedding(id, tokens=3, hidden=8, scale=1.0, **fields):
    values = {
        "tenant": "acme", "text": "light on", "lang": "en", "submitted_us": now_us(),
        "deadline_us": now_us() + LATER_US, "reply_to": "", "ring": "en", "space": "space", "dtype": "int8",
        "data": bytes(tokens * hidden), "scales": np.full(tokens, scale, "<f4").tobytes(),
        "offsets": bytes(8 * tokens), **fields,
    }
    return wire.encode(wire.Embedding(id=id, tokens=tokens, hidden=hidden, **values))


async def outcomes(worker, values):
    """(ids with an intent, id → error code), of a batch of records that the worker yields as outcomes only."""
    records = [Record("embeddings", 0, offset, b"acme", value) for offset, value in enumerate(values)]
    steps = [step async for step in worker.process(records)]
    assert all(isinstance(step, Outcome) for step in steps)
    assert sorted(r.offset for step in steps for r in step.done) == list(range(len(values)))
    said = [wire.decode(wire.Prediction, reply.value) for step in steps for reply in step.replies]
    return {one.id for one in said if one.intent}, {one.id: one.error for one in said if one.error}


def worker_of(tmp_path):
    cache = cache_with(tmp_path, ["acme"])
    return HeadWorker(SETTINGS, "en", "a", cache), cache


async def test_embeddings_that_no_encoder_wrote_are_refused_before_their_neighbors_are_scored_once(tmp_path):
    worker, cache = worker_of(tmp_path)
    await ask(cache, "acme")
    good, refused = await outcomes(worker, [
        embedding("before"), embedding("nan", scale=np.nan), embedding("inf", scale=np.inf),
        embedding("out", offsets=np.full(6, 99, "<i4").tobytes()), embedding("below", offsets=b"\xff" * 24),
        embedding("space", space="other"), embedding("after"),
    ])
    assert good == {"before", "after"}
    malformed = dict.fromkeys(("nan", "inf", "out", "below"), "malformed_record")
    assert refused == {**malformed, "space": "wrong_space"}
    assert worker.stats()["calls"] == 1


async def test_an_embedding_of_more_tokens_than_the_limit_is_refused_as_its_cost_grows_with_their_square(tmp_path):
    worker, cache = worker_of(tmp_path)
    await ask(cache, "acme")
    good, refused = await outcomes(worker, [embedding("most", tokens=10), embedding("more", tokens=11)])
    assert (good, refused) == ({"most"}, {"more": "malformed_record"})


async def test_what_a_shadow_scored_may_be_lost_and_the_answer_may_not(tmp_path):
    worker, cache = worker_of(tmp_path)
    trial = put(tmp_path, "acme", "v2")
    candidate = Candidate("v2", trial.space, trial.sha256, "shadow")
    cache.apply("en", "acme", replace(cache.record("acme"), candidate=candidate))
    await ask(cache, "acme")
    await cache.load("acme", "v2", trial.sha256)
    (step,) = [step async for step in worker.process([Record("embeddings", 0, 0, b"acme", embedding("x"))])]
    compared = topics.shadows(SETTINGS.prefix)
    assert {output.topic: output.optional for output in step.outputs} == {
        compared: True, topics.predictions(SETTINGS.prefix, "en", "a"): False
    }
