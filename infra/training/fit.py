"""Fits a head: AdamW with one cycle of the rate, early stopping and calibration on the tuning part."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from head_worker.decode import is_legal, words_of
from head_worker.engine import TRANSITIONS, Array, Head, TokenVectors, log_of, softmax
from head_worker.float32 import Float32Head
from head_worker.int8 import tensors_of
from head_worker.load import load_head
from infra.training.calibrate import OUT_OF_SCOPE, calibrate
from infra.training.evaluate import Labelled, evaluate
from infra.training.model import SIZES, HeadModel, Size
from infra.training.transitions import associations, weighed
from topology.errors import Misconfigured
from topology.heads import HeadManifest
from topology.native.kernels import WIDTHS_OF
from topology.native.tensors import to_bytes

IGNORED = -100
BATCH = 32
BALANCE = {"none": 0.0, "sqrt": 0.5, "full": 1.0}

Progress = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Target:
    """Whose head it is and which encoder it reads. `synonyms`: label → value → ways to say it."""

    tenant: str
    ring: str
    space: str
    system_entities: tuple[str, ...] = ()
    synonyms: dict[str, dict[str, list[str]]] | None = None


@dataclass(frozen=True)
class Recipe:
    """How to train. `balance`: how far rare intents are weighted up: none, sqrt or full (inverse frequency).

    `patience`: epochs without a better one after which training ends.
    """

    epochs: int = 30
    seed: int = 0
    size: Size = SIZES["compact"]
    precision: str = "int8"
    rate: float = 1e-3
    balance: str = "none"
    patience: int = 6
    smoothing: float = 0.0


def fit(
    target: Target, train: Sequence[Labelled], tune: Sequence[Labelled], out: Path, recipe: Recipe = Recipe(),
    progress: Progress = lambda epoch, scores: None,
) -> HeadManifest:
    """Train, keep the epoch that is best on `tune`, calibrate on it and write a head directory to `out`.

    Examples of the intent `out_of_scope` teach no class, they set the threshold below which a text is out of scope.
    The same examples, recipe and machine give the same weights.
    """
    torch.manual_seed(recipe.seed)
    within = [one for one in train if one.example.intent != OUT_OF_SCOPE]
    intents = tuple(sorted({one.example.intent for one in within}))
    labels = sorted({entity.label for one in within for entity in one.example.entities})
    tags = ("O", *(f"{kind}-{label}" for label in labels for kind in "BI")) if recipe.size.layer else ("O",)
    model = _model(within[0].row.data.shape[1], len(intents), len(tags), recipe)
    known = [one for one in tune if one.example.intent in intents]
    _descend(model, _manifest(target, model, intents, tags), within, known or within, recipe, progress)
    calibration = calibrate(model.eval(), padded, intents, tune, [o for o in train if o.example.intent == OUT_OF_SCOPE])
    manifest = replace(
        _manifest(target, model, intents, tags), temperature=calibration.temperature,
        out_of_scope_threshold=calibration.threshold,
    )
    transitions = _transitions(model, manifest, within, known)
    head = _head(model, manifest, transitions)
    metrics = {**evaluate(head, known or within).as_dict(), **calibration.as_dict()}
    return write_head(_head(model, replace(manifest, metrics=metrics), transitions), out, recipe.precision)


def _transitions(
    model: HeadModel, manifest: HeadManifest, train: Sequence[Labelled], tune: Sequence[Labelled]
) -> Array | None:
    """How tags follow each other, as far as that helps on `tune`."""
    tags = manifest.tags
    known = [one for one in tune if {f"B-{entity.label}" for entity in one.example.entities} <= set(tags)]
    if len(tags) == 1 or not known:
        return None
    found = associations([_path(one, tags)[1] for one in train], len(tags))
    learnt, tuning = _Learning(manifest, model), []
    for one in known:
        words, path = _path(one, tags)
        if words and is_legal(path, tags):  # entities that share a word leave a path that has no likelihood
            tuning.append((log_of(softmax(learnt.logits([one.row])[1][words])), path))
    return weighed(found, tuning, tags)


def _path(one: Labelled, tags: Sequence[str]) -> tuple[list[int], list[int]]:
    """(the first token of every word, the word's tag)."""
    found = [(token, tag) for token, tag in enumerate(_tags(one, tags)) if tag != IGNORED]
    return [token for token, _ in found], [tag for _, tag in found]


def _model(hidden: int, intents: int, tags: int, recipe: Recipe) -> HeadModel:
    """A fresh model. Raises: Misconfigured, before any training, where its sizes cannot be served."""
    size = recipe.size
    width = size.width or hidden
    widths = (hidden, width, *([width // size.heads] if size.layer else []))
    if recipe.precision == "int8" and any(one % WIDTHS_OF for one in widths):
        raise Misconfigured(
            f"a head of width {width} with {size.heads} attention heads on vectors of {hidden}: int8 takes widths, "
            f"also of one attention head, that {WIDTHS_OF} divides"
        )
    if size.layer and width % size.heads:
        raise Misconfigured(f"a head's width of {width} does not divide into {size.heads} attention heads")
    return HeadModel(hidden, intents, tags, size)


def _descend(
    model: HeadModel, manifest: HeadManifest, train: Sequence[Labelled], tune: Sequence[Labelled], recipe: Recipe,
    progress: Progress,
) -> None:
    """Leave `model` with the weights of its best epoch on `tune`."""
    wanted = [(manifest.intents.index(one.example.intent), _tags(one, manifest.tags)) for one in train]
    weights = _weights(Counter(intent for intent, _ in wanted), len(manifest.intents), BALANCE[recipe.balance])
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.01, fused=True)
    steps = recipe.epochs * len(_batches([1] * len(train)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps, pct_start=0.1)
    best, best_score, since = copy.deepcopy(model.state_dict()), -1.0, 0
    for epoch in range(recipe.epochs):
        model.train()
        for batch in _batches([len(one.row.data) for one in train]):
            loss = _loss(model, [train[i] for i in batch], [wanted[i] for i in batch], weights, recipe.smoothing)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        scores = evaluate(_Learning(manifest, model.eval()), tune)
        progress(epoch + 1, {"intent_accuracy": scores.intent_accuracy, "span_f1": scores.span_f1})
        score, since = scores.intent_accuracy + scores.span_f1 + scores.sentence_accuracy, since + 1
        if score > best_score:
            best, best_score, since = copy.deepcopy(model.state_dict()), score, 0
        if since >= recipe.patience:
            break
    model.load_state_dict(best)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Every index once, BATCH at a time, in a new order; examples of like length meet, so that little is padding."""
    order: list[int] = torch.randperm(len(lengths)).tolist()
    batches = []
    for at in range(0, len(order), BATCH * 16):
        near = sorted(order[at : at + BATCH * 16], key=lambda i: lengths[i])
        batches += [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
    return [batches[i] for i in torch.randperm(len(batches)).tolist()]


def _loss(
    model: HeadModel, batch: Sequence[Labelled], wanted: Sequence[tuple[int, list[int]]], weights: Tensor,
    smoothing: float,
) -> Tensor:
    vectors, mask = padded([one.row for one in batch])
    intents, tags = _scores(model, vectors, mask)
    right = torch.tensor([intent for intent, _ in wanted])
    loss = F.cross_entropy(intents, right, weight=weights, label_smoothing=smoothing)
    if tags is None:
        return loss
    tag_ids = torch.full(mask.shape, IGNORED)
    for place, (_, own) in enumerate(wanted):
        tag_ids[place, : len(own)] = torch.tensor(own)
    return loss + F.cross_entropy(tags.flatten(0, 1), tag_ids.flatten(), ignore_index=IGNORED)


def _scores(model: HeadModel, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """The model's float32 logits, multiplied in bfloat16 where the processor does that faster."""
    with torch.autocast("cpu", torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        intents, tags = model(vectors, mask)
    return intents.float(), None if tags is None else tags.float()


class _Learning(Head):
    """The model as a head, for its scores between two epochs."""

    nbytes = 0

    def __init__(self, manifest: HeadManifest, model: HeadModel) -> None:
        super().__init__(manifest)
        self._model = model

    @torch.no_grad()
    def logits(self, rows: Sequence[TokenVectors]) -> tuple[Array, Array]:
        """As `Head.logits`."""
        vectors, mask = padded(rows)
        intents, tags = _scores(self._model, vectors, mask)
        found = torch.zeros(int(mask.sum()), 1) if tags is None else tags[mask]
        return intents.numpy(), found.numpy()


def _weights(counts: Counter[int], classes: int, strength: float) -> Tensor:
    """float32[intents], 1 on average over the examples: rarer intents weigh more, by `strength` (0: all the same)."""
    found = torch.tensor([float(max(1, counts[i])) for i in range(classes)]) ** -strength
    total = sum(counts[i] * float(found[i]) for i in range(classes))
    return found * (counts.total() / total)


def _tags(one: Labelled, tags: Sequence[str]) -> list[int]:
    """A tag for the first token of every word, IGNORED for the rest. A word inside a span belongs to it."""
    found = [IGNORED] * len(one.row.data)
    if len(tags) == 1:
        return found
    for token, start, end in words_of(one.row.text, one.row.offsets):
        found[token] = 0
        for entity in one.example.entities:
            if start < entity.end and entity.start < end:
                begins = start <= entity.start
                found[token] = tags.index(f"{'B' if begins else 'I'}-{entity.label}")
                break
    return found


def padded(rows: Sequence[TokenVectors]) -> tuple[Tensor, Tensor]:
    """(float32[rows, longest, hidden], bool[rows, longest]) of rows of token vectors."""
    longest = max(len(row.data) for row in rows)
    vectors = torch.zeros(len(rows), longest, rows[0].data.shape[1])
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        vectors[i, : len(row.data)] = torch.from_numpy(row.vectors)
        mask[i, : len(row.data)] = True
    return vectors, mask


def _manifest(
    target: Target, model: HeadModel, intents: tuple[str, ...], tags: tuple[str, ...]
) -> HeadManifest:
    now = datetime.now(UTC)
    return HeadManifest(
        tenant=target.tenant, ring=target.ring, version=now.strftime("%Y%m%dT%H%M%S%fZ"), space=target.space,
        hidden=model.hidden, intents=intents, tags=tags, sha256="unwritten", attention_heads=model.heads,
        created=now.isoformat(), system_entities=target.system_entities, synonyms=target.synonyms or {},
    )


def _head(model: HeadModel, manifest: HeadManifest, transitions: Array | None = None) -> Float32Head:
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    return Float32Head(manifest, weights if transitions is None else {**weights, TRANSITIONS: transitions})


def write_head(head: Float32Head, out: Path, precision: str = "int8") -> HeadManifest:
    """Write a head directory in `precision`, int8 or float32, and read it back. Raises: BadHead, ValueError."""
    out.mkdir(parents=True, exist_ok=True)
    body = to_bytes(tensors_of(head) if precision == "int8" else head.weights)
    (out / "head.safetensors").write_bytes(body)
    manifest = replace(head.manifest, sha256=hashlib.sha256(body).hexdigest(), precision=precision)
    (out / "head.json").write_text(manifest.to_json())
    return load_head(out).manifest
