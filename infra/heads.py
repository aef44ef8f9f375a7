"""Training a tenant's head from labelled utterances, embedded as they would be served."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from encoder_worker.engine import Encoded
from encoder_worker.load import build
from encoder_worker.tokens import Row, Tokenizer
from head_worker.engine import TokenVectors
from head_worker.load import load_head
from infra.assets.weights import meant
from infra.training.evaluate import Labelled, Scores, evaluate
from infra.training.examples import Example
from infra.training.fit import ALONE, DEFAULT, Hooks, Target, fit
from infra.training.recipe import Recipe
from topology.encoders import find_encoder, read_meta, space_of
from topology.errors import Misconfigured
from topology.heads import HeadManifest
from topology.settings import Ring, Settings

BATCH = 32


Form = Callable[[str, Row, Encoded, slice], TokenVectors]


def as_served(text: str, row: Row, encoded: Encoded, place: slice) -> TokenVectors:
    """The vectors of one of the rows that were encoded together, in the wire's int8 form."""
    data, scales = encoded.data[place][row.kept], encoded.scales[place][row.kept]
    return TokenVectors(text, data, scales, row.offsets[row.kept])


class Embedder:
    """A ring's encoder, loaded once. Raises: Misconfigured where it is not prepared."""

    def __init__(self, settings: Settings, ring: Ring) -> None:
        directory = find_encoder(ring.encoder)
        if directory is None:
            known = meant(ring.encoder) or f": headrace encoder fetch {ring.encoder}"
            raise Misconfigured(f"encoder {ring.encoder!r} is not prepared{known}")
        self.ring, self.space = ring.name, space_of(directory, settings.limits.max_tokens)
        self._engine = build(directory, ring.device, ring.precision, threads=os.cpu_count() or 1)
        self._tokenizer = Tokenizer(directory, settings.limits.max_tokens, read_meta(directory).prefix)

    def rows(self, examples: Sequence[Example], form: Form = as_served) -> list[Labelled]:
        """The examples with their vectors in `form`; texts of like length are encoded together."""
        rows = self._tokenizer.rows([one.text for one in examples])
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        found: dict[int, Labelled] = {}
        for at in range(0, len(order), BATCH):
            part = order[at : at + BATCH]
            encoded = self._engine.encode([rows[i].ids for i in part])
            for i, (start, end) in zip(part, encoded.spans, strict=True):
                found[i] = Labelled(examples[i], form(examples[i].text, rows[i], encoded, slice(start, end)))
        return [found[i] for i in range(len(examples))]


def train(
    embedder: Embedder, tenant: str, examples: Sequence[Example], tune: Sequence[Example] | None,
    out: Path, recipe: Recipe = DEFAULT, about: Target | None = None,
    hooks: Hooks = ALONE,
) -> HeadManifest:
    """Train a head and write its directory. Without `tune` it is judged as `fit` says: by folds, or by a tenth.

    `about`: system entities and synonyms of the head; its tenant, ring and space are filled in here.
    """
    rows = embedder.rows([*examples, *(tune or ())])
    target = replace(about or Target("", "", ""), tenant=tenant, ring=embedder.ring, space=embedder.space)
    return fit(target, rows[: len(examples)], rows[len(examples) :] or None, out, recipe, hooks)


def score(embedder: Embedder, directory: Path, examples: Sequence[Example]) -> Scores:
    """The scores of a head directory on examples it has not seen, embedded as they would be served. Raises: BadHead."""
    return evaluate(load_head(directory), embedder.rows(examples))
