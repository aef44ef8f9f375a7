"""Fits a head: AdamW with a cosine rate, early stopping and calibration on the tuning part."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from head_worker.decode import words_of
from head_worker.engine import TokenVectors
from head_worker.float32 import Float32Head
from head_worker.int8 import tensors_of
from head_worker.load import load_head
from infra.training.evaluate import Labelled, evaluate
from infra.training.model import SIZES, HeadModel, Size
from topology.heads import HeadManifest
from topology.tensors import to_bytes

IGNORED = -100
BATCH = 32
PATIENCE = 5


@dataclass(frozen=True)
class Target:
    """Whose head it is and which encoder it reads."""

    tenant: str
    ring: str
    space: str


def fit(
    target: Target, train: Sequence[Labelled], tune: Sequence[Labelled], out: Path,
    epochs: int = 30, seed: int = 0, size: Size = SIZES["compact"], precision: str = "int8",
    progress: Callable[[int, dict[str, float]], None] = lambda epoch, scores: None,
) -> HeadManifest:
    """Train, keep the epoch that is best on `tune`, calibrate on it and write a head directory to `out`."""
    torch.manual_seed(seed)
    intents = tuple(sorted({one.example.intent for one in train}))
    labels = sorted({entity.label for one in train for entity in one.example.entities})
    tags = ("O", *(f"{kind}-{label}" for label in labels for kind in "BI"))
    if not size.layer:
        tags = tags[:1]
    model = HeadModel(train[0].row.data.shape[1], len(intents), len(tags), size)
    wanted = [(intents.index(one.example.intent), _tags(one, tags)) for one in train]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    steps = epochs * -(-len(train) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps, pct_start=0.1)
    known = [one for one in tune if one.example.intent in intents]
    best, best_score, since = copy.deepcopy(model.state_dict()), -1.0, 0
    for epoch in range(epochs):
        model.train()
        for batch in torch.randperm(len(train)).split(BATCH):  # type: ignore[no-untyped-call]
            vectors, mask = _padded([train[i].row for i in batch])
            tag_ids = torch.full(mask.shape, IGNORED)
            for place, i in enumerate(batch):
                tag_ids[place, : len(wanted[i][1])] = torch.tensor(wanted[i][1])
            intent_logits, tag_logits = model(vectors, mask)
            loss = F.cross_entropy(intent_logits, torch.tensor([wanted[i][0] for i in batch]))
            if tag_logits is not None:
                loss = loss + F.cross_entropy(tag_logits.flatten(0, 1), tag_ids.flatten(), ignore_index=IGNORED)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            rate.step()
        scores = evaluate(_head(model.eval(), _manifest(target, model, intents, tags)), tune or train)
        progress(epoch + 1, {"intent_accuracy": scores.intent_accuracy, "span_f1": scores.span_f1})
        score, since = scores.intent_accuracy + scores.span_f1, since + 1
        if score > best_score:
            best, best_score, since = copy.deepcopy(model.state_dict()), score, 0
        if since >= PATIENCE:
            break
    model.load_state_dict(best)
    temperature, threshold = _calibrate(model.eval(), known, intents)
    scores = evaluate(_head(model, _manifest(target, model, intents, tags, temperature)), tune or train)
    manifest = _manifest(target, model, intents, tags, temperature, threshold, scores.as_dict())
    return write_head(_head(model, manifest), out, precision)


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


def _padded(rows: Sequence[TokenVectors]) -> tuple[Tensor, Tensor]:
    longest = max(len(row.data) for row in rows)
    vectors = torch.zeros(len(rows), longest, rows[0].data.shape[1])
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        vectors[i, : len(row.data)] = torch.from_numpy(row.vectors)
        mask[i, : len(row.data)] = True
    return vectors, mask


@torch.inference_mode()
def _calibrate(model: HeadModel, tune: Sequence[Labelled], intents: Sequence[str]) -> tuple[float, float]:
    """The temperature with the least tuning loss (Guo et al., 2017), and the confidence that 99 % of tuning exceed."""
    if len(tune) < 20:
        return 1.0, 0.0
    logits = torch.cat([model(*_padded([o.row for o in tune[i : i + BATCH]]))[0] for i in range(0, len(tune), BATCH)])
    right = torch.tensor([intents.index(one.example.intent) for one in tune])
    grid = torch.logspace(-0.7, 0.7, 57).tolist()
    temperature = min(grid, key=lambda t: float(F.cross_entropy(logits / t, right)))
    sure = (logits / temperature).softmax(1).amax(1)
    return float(temperature), float(sure.quantile(0.01))


def _manifest(
    target: Target, model: HeadModel, intents: tuple[str, ...], tags: tuple[str, ...],
    temperature: float = 1.0, threshold: float = 0.0, metrics: dict[str, object] | None = None,
) -> HeadManifest:
    now = datetime.now(UTC)
    return HeadManifest(
        tenant=target.tenant, ring=target.ring, version=now.strftime("%Y%m%dT%H%M%S%fZ"), space=target.space,
        hidden=model.hidden, intents=intents, tags=tags, sha256="unwritten", attention_heads=model.heads,
        temperature=temperature, out_of_scope_threshold=threshold, created=now.isoformat(), metrics=metrics or {},
    )


def _head(model: HeadModel, manifest: HeadManifest) -> Float32Head:
    return Float32Head(manifest, {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()})


def write_head(head: Float32Head, out: Path, precision: str = "int8") -> HeadManifest:
    """Write a head directory in `precision`, int8 or float32, and read it back. Raises: BadHead, ValueError."""
    out.mkdir(parents=True, exist_ok=True)
    body = to_bytes(tensors_of(head) if precision == "int8" else head.weights)
    (out / "head.safetensors").write_bytes(body)
    manifest = replace(head.manifest, sha256=hashlib.sha256(body).hexdigest(), precision=precision)
    (out / "head.json").write_text(manifest.to_json())
    return load_head(out).manifest
