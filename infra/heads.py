"""Training a tenant's head from JSON lines of labelled utterances."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from encoder_worker.load import build
from encoder_worker.tokens import Tokenizer
from head_worker.engine import TokenVectors
from head_worker.load import load_head
from infra.datasets import Entity, Example
from infra.training.evaluate import Labelled, Scores, evaluate
from infra.training.fit import Target, fit
from infra.training.model import SIZES
from topology.encoders import find_encoder, read_meta, space_of
from topology.errors import Misconfigured
from topology.heads import HeadManifest
from topology.settings import Ring, Settings

HELD_OUT = 10  # every tenth example, where no tuning file is given
BATCH = 32


def read_jsonl(place: Path) -> list[Example]:
    """Examples of `{"text": …, "intent": …, "entities": [{"start", "end", "label"}]}` lines.

    Raises: Misconfigured, naming every bad line (the first ten are shown).
    """
    found: list[Example] = []
    mistakes: list[str] = []
    for number, line in enumerate(place.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                found.append(_example(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                mistakes.append(f"{place}:{number}: {type(error).__name__}: {error}")
    if mistakes:
        more = f"\n… and {len(mistakes) - 10} more" if len(mistakes) > 10 else ""
        raise Misconfigured("\n".join(mistakes[:10]) + more)
    if len(found) < 2:
        raise Misconfigured(f"{place}: {len(found)} examples are too few to train a head")
    return found


def _example(body: dict[str, object]) -> Example:
    text, intent, entities = body["text"], body["intent"], body.get("entities", [])
    if not isinstance(text, str) or not text.strip() or not isinstance(intent, str) or not intent:
        raise ValueError("text and intent must be strings that are not empty")
    if not isinstance(entities, list):
        raise ValueError("entities must be a list")
    spans = tuple(sorted((Entity(e["start"], e["end"], str(e["label"])) for e in entities), key=lambda e: e.start))
    end = 0
    for span in spans:
        whole = isinstance(span.start, int) and isinstance(span.end, int)
        if not whole or not end <= span.start < span.end <= len(text):
            raise ValueError(f"entity {span.start}..{span.end} is outside the text, empty, or overlaps another")
        end = span.end
    return Example(text, intent, spans)


def embed(settings: Settings, ring: Ring, examples: Sequence[Example]) -> tuple[str, list[Labelled]]:
    """(space, rows): the examples through the ring's encoder and the wire's int8 form, as they would be served."""
    directory = find_encoder(ring.encoder)
    if directory is None:
        raise Misconfigured(f"encoder {ring.encoder!r} is not prepared: headrace encoder fetch {ring.encoder}")
    engine = build(directory, ring.device, ring.precision, threads=os.cpu_count() or 1)
    tokenizer = Tokenizer(directory, settings.limits.max_tokens, read_meta(directory).prefix)
    rows = tokenizer.rows([one.text for one in examples])
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    found: dict[int, Labelled] = {}
    for at in range(0, len(order), BATCH):
        part = order[at : at + BATCH]
        encoded = engine.encode([rows[i].ids for i in part])
        for i, (start, end) in zip(part, encoded.spans, strict=True):
            kept = rows[i].kept
            data, scales = encoded.data[start:end][kept], encoded.scales[start:end][kept]
            found[i] = Labelled(examples[i], TokenVectors(examples[i].text, data, scales, rows[i].offsets[kept]))
    return space_of(directory, settings.limits.max_tokens), [found[i] for i in range(len(examples))]


def score(settings: Settings, ring: Ring, directory: Path, examples: Sequence[Example]) -> Scores:
    """The scores of a head directory on examples it has not seen, embedded as they would be served. Raises: BadHead."""
    _, rows = embed(settings, ring, examples)
    return evaluate(load_head(directory), rows)


def train(
    settings: Settings, ring: Ring, tenant: str, examples: Sequence[Example], tune: Sequence[Example] | None,
    out: Path, epochs: int = 30, seed: int = 0, size: str = "compact",
    progress: Callable[[int, dict[str, float]], None] = lambda epoch, scores: None,
) -> HeadManifest:
    """Train a head and write its directory. Without `tune`, every tenth example is held out."""
    given = list(examples)
    if tune is None:
        tune, given = given[::HELD_OUT], [one for i, one in enumerate(given) if i % HELD_OUT]
    space, rows = embed(settings, ring, [*given, *tune])
    target = Target(tenant, ring.name, space)
    return fit(
        target, rows[: len(given)], rows[len(given) :], out, epochs, seed, SIZES[size], progress=progress
    )
