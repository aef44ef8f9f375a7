"""ATIS through the pipeline, with the frozen 768-d encoder in int8 and an int8 head: three seeds, mean and spread.

Protocol, in words: the standard split, 4,478 utterances to train, the last 500 of `train_dev` to choose the epoch and
to calibrate, 893 to test, which nothing but the last count sees. A compound of several intents (`flight;airfare`) is an
intent of its own, as in the published rows: it counts whole, and one that never occurs in training cannot be right.
`first_label_accuracy` counts by the first part of both instead, as much of the literature does. Slot F1 is of exact
spans (start, end, label), as conlleval counts them; a sentence is right where its intent and all of its spans are.
Texts are the tokens joined by one blank, in lower case, as they come. The test set goes through broker, encoder worker
and head worker. A token's vector is the mean of three of the encoder's layers, as its `headrace.json` says.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

from benchmarks.report import Result
from encoder_worker.engine import Encoded
from encoder_worker.tokens import Row
from head_worker.engine import Array, TokenVectors
from head_worker.load import load_head
from infra import announce, heads
from infra.assets.datasets import atis, first_label
from infra.assets.weights import encoder_directory
from infra.stack.up import stack
from infra.training.evaluate import Scores, evaluate
from infra.training.examples import Example
from infra.training.fit import Hooks, Target, fit
from infra.training.model import SIZES, Size
from infra.training.recipe import Recipe
from producers import Headrace
from topology.encoders import cache_dir
from topology.errors import HeadraceError
from topology.settings import Settings

PUBLISHED = {  # intent accuracy, slot F1, sentence accuracy; whole models, fine-tuned (monologg/JointBERT)
    "DistilBERT": (97.76, 95.50, 87.68), "BERT + CRF": (97.98, 95.93, 88.58),
}
CONFIG = """\
state_dir = "{home}"
[heads]
store = "{home}/heads"
[cache]
enabled = false
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
precision = "{precision}"
[rings.en.cells.a]
"""


@dataclass(frozen=True)
class Plan:
    """What to train. `precision`: the encoder's."""

    seeds: tuple[int, ...] = (0, 1, 2)
    encoder: str = "mpnet-6"
    precision: str = "int8"
    size: str = "standard"
    epochs: int = 16
    rate: float = 5e-4
    limit: int = 1 << 30  # training examples: fewer make a quick, worse head
    dropout: float | None = None  # of the head; default: its size's own
    float32_wire: bool = False  # beside it, heads in float32 on vectors that were never int8

    @property
    def shape(self) -> Size:
        """The head's size."""
        size = SIZES[self.size]
        return size if self.dropout is None else replace(size, dropout=self.dropout)


@dataclass(frozen=True)
class Unrounded(TokenVectors):
    """An utterance's vectors before they are made int8 for the wire."""

    exact: Array | None = None

    @property
    def vectors(self) -> Array:
        """float32[tokens, hidden]."""
        assert self.exact is not None
        return self.exact


def unrounded(text: str, row: Row, encoded: Encoded, place: slice) -> TokenVectors:
    """A form for `heads.Embedder.rows`."""
    served = heads.as_served(text, row, encoded, place)
    return Unrounded(text, served.data, served.scales, served.offsets, exact=encoded.vectors[place][row.kept])


def run(plan: Plan) -> Result:
    """Scores in per cent by seed, their mean and population standard deviation, beside the published ones."""
    encoder = encoder_directory(plan.encoder, cache_dir() / "encoders")
    train, tune, test = atis("train"), atis("dev"), atis("test")
    by_seed: dict[str, dict[str, float]] = {}
    float32_wire: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="headrace-accuracy-") as home:
        config = Path(home) / "headrace.toml"
        config.write_text(CONFIG.format(home=home, encoder=encoder, precision=plan.precision))
        with stack(config, say=lambda line: None) as (settings, _):
            ring, taught = settings.rings["en"], [*train[: plan.limit], *tune]
            embedder = heads.Embedder(settings, ring)
            space, rows = embedder.space, embedder.rows(taught)
            exact = embedder.rows([*taught, *test], unrounded) if plan.float32_wire else []
            for seed in plan.seeds:
                recipe = Recipe(epochs=plan.epochs, seed=seed, size=plan.shape, rate=plan.rate, patience=plan.epochs)
                hooks = Hooks(_told(seed))
                out, tenant = Path(home) / f"seed-{seed}", f"atis-{seed}"
                fit(Target(tenant, "en", space), rows[: -len(tune)], rows[-len(tune) :], out, recipe, hooks)
                asyncio.run(announce.publish(settings, out))
                by_seed[str(seed)] = asyncio.run(_scored(settings, tenant, test))
                print(f"seed {seed}: {by_seed[str(seed)]}", flush=True)
                if exact:
                    out, recipe = Path(home) / f"exact-{seed}", replace(recipe, precision="float32")
                    known, tuning = exact[: len(taught) - len(tune)], exact[len(taught) - len(tune) : len(taught)]
                    fit(Target(tenant, "en", space), known, tuning, out, recipe, hooks)
                    float32_wire[str(seed)] = _in_per_cent(evaluate(load_head(out), exact[len(taught) :]))
                    print(f"seed {seed}, vectors and head in float32: {float32_wire[str(seed)]}", flush=True)
    values = {name: [one[name] for one in by_seed.values()] for name in next(iter(by_seed.values()))}
    return {
        **_means(by_seed),
        "spread": {name: pstdev(found) for name, found in values.items()}, "by_seed": by_seed,
        "published": {name: dict(zip(("intent_accuracy", "slot_f1", "sentence_accuracy"), row, strict=True))
                      for name, row in PUBLISHED.items()},
        **({"float32_wire": {"by_seed": float32_wire, **_means(float32_wire)}} if float32_wire else {}),
        "protocol": " ".join((__doc__ or "").split()),
    }


def _means(by_seed: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: mean(one[name] for one in by_seed.values()) for name in next(iter(by_seed.values()))}


def _in_per_cent(scores: Scores) -> dict[str, float]:
    return {"intent_accuracy": 100 * scores.intent_accuracy, "slot_f1": 100 * scores.span_f1,
            "sentence_accuracy": 100 * scores.sentence_accuracy}


def _told(seed: int) -> Callable[[float, dict[str, float]], None]:
    def note(share: float, scores: dict[str, float]) -> None:
        print(f"seed {seed}, {share:.0%}: {scores}", flush=True)

    return note


async def _scored(settings: Settings, tenant: str, test: Sequence[Example]) -> dict[str, float]:
    """The test set through the running pipeline, counted here and not by the training code."""
    async with Headrace(settings) as client:
        end = asyncio.get_running_loop().time() + 30
        while True:
            try:
                await client.predict(tenant, test[0].text, lang="en", deadline=60)
                break
            except HeadraceError:
                if asyncio.get_running_loop().time() > end:
                    raise
        replies = await client.predict_many(tenant, [one.text for one in test], lang="en", deadline=600)
    right = first = sentences = hit = said = there = 0
    for one, reply in zip(test, replies, strict=True):
        if isinstance(reply, HeadraceError):
            raise reply
        wanted = {(e.start, e.end, e.label) for e in one.entities}
        found = {(e.start, e.end, e.label) for e in reply.entities}
        right += reply.intent == one.intent
        first += first_label(reply.intent) == first_label(one.intent)
        sentences += reply.intent == one.intent and found == wanted
        hit, said, there = hit + len(found & wanted), said + len(found), there + len(wanted)
    return {
        "intent_accuracy": 100 * right / len(test), "slot_f1": 100 * 2 * hit / (said + there),
        "sentence_accuracy": 100 * sentences / len(test), "first_label_accuracy": 100 * first / len(test),
    }


def plot(result: Result) -> Any:
    """Ours beside the published ones."""
    def draw(axes: Any) -> None:
        names = ("intent_accuracy", "slot_f1", "sentence_accuracy")
        rows = {"frozen encoder, int8 head": [result[name] for name in names], **{
            who: [row[name] for name in names] for who, row in result["published"].items()
        }}
        for place, (who, values) in enumerate(rows.items()):
            axes.bar([i + place * 0.27 for i in range(3)], values, width=0.25, label=who)
        axes.set_xticks([i + 0.27 for i in range(3)], [name.replace("_", " ") for name in names])
        axes.set(ylim=(80, 100), ylabel="%")
        axes.legend(loc="lower left")

    return draw
