"""A head's learning: AdamW with one cycle of the rate, in batches of like length, with early stopping."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from head_worker.engine import Array, Head, TokenVectors
from infra.training.calibrate import KEEP
from infra.training.evaluate import Labelled, scores_of
from infra.training.examples import OUT_OF_SCOPE
from infra.training.model import SIZES, HeadModel, Size
from infra.training.tags import IGNORED, tags_of
from infra.training.trial import Trial
from topology.heads import HeadManifest

BATCH = 32
BALANCE = {"none": 0.0, "sqrt": 0.5, "full": 1.0}

Progress = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Recipe:
    """How to train. `balance`: how far rare intents are weighted up: none, sqrt or full (inverse frequency).

    `patience`: epochs without a better one after which training ends. `keep`: the least share of what is in scope that
    the threshold may let through; `exposure`: the weight of lines out of scope beside the others in training.
    """

    epochs: int = 30
    seed: int = 0
    size: Size = SIZES["compact"]
    precision: str = "int8"
    rate: float = 1e-3
    balance: str = "none"
    patience: int = 6
    smoothing: float = 0.0
    keep: float = KEEP
    exposure: float = 1.0


def descend(
    model: HeadModel, manifest: HeadManifest, train: Sequence[Labelled], trial: Trial | None, epochs: int,
    recipe: Recipe, progress: Progress,
) -> int:
    """Leave `model` with the weights of its best epoch on the trial, which is returned, counted from 0.

    Without a trial: with those of the last of `epochs`. The rate's cycle is always that of all the recipe's epochs.
    """
    wanted = [(_intent(one, manifest), tags_of(one, manifest.tags) if _intent(one, manifest) >= 0 else [])
              for one in train]
    counts = Counter(intent for intent, _ in wanted if intent >= 0)
    weights = weights_of(counts, len(manifest.intents), BALANCE[recipe.balance])
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.01, fused=True)
    steps = recipe.epochs * len(_batches([1] * len(train)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps, pct_start=0.1)
    kept, best, best_score = copy.deepcopy(model.state_dict()), 0, -1.0
    for epoch in range(epochs):
        model.train()
        for batch in _batches([len(one.row.data) for one in train]):
            loss = _loss(model, [train[i] for i in batch], [wanted[i] for i in batch], weights, recipe)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        if trial is None:
            continue
        said = trial.note(_Learning(manifest, model.eval()))
        scores = scores_of(said.lines, spread=-1)
        progress(epoch + 1, {"intent_accuracy": scores.intent_accuracy, "span_f1": scores.span_f1})
        if said.score > best_score:
            kept, best, best_score = copy.deepcopy(model.state_dict()), epoch, said.score
        if epoch - best >= recipe.patience:
            break
    if trial is not None:
        model.load_state_dict(kept)
    model.eval()
    return best


def _intent(one: Labelled, manifest: HeadManifest) -> int:
    """Its number; IGNORED of what is out of scope."""
    return IGNORED if one.example.intent == OUT_OF_SCOPE else manifest.intents.index(one.example.intent)


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
    recipe: Recipe,
) -> Tensor:
    """Of intents and tags; of lines out of scope the distance from being equally unsure of every intent (outlier
    exposure, Hendrycks et al. 2019)."""
    vectors, mask = padded([one.row for one in batch])
    intents, tags = _scores(model, vectors, mask)
    right = torch.tensor([intent for intent, _ in wanted])
    outside = right == IGNORED
    loss = intents.new_zeros(())
    if not outside.all():
        loss = F.cross_entropy(intents, right, weight=weights, label_smoothing=recipe.smoothing, ignore_index=IGNORED)
    if outside.any() and recipe.exposure:
        even = -intents[outside].log_softmax(1).mean()
        loss = loss + recipe.exposure * even * outside.sum() / (~outside).sum().clamp(min=1)
    if tags is None or outside.all():
        return loss
    tag_ids = torch.full(mask.shape, IGNORED)
    for place, (_, own) in enumerate(wanted):
        tag_ids[place, : len(own)] = torch.tensor(own, dtype=torch.long)
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


def weights_of(counts: Counter[int], classes: int, strength: float) -> Tensor:
    """float32[intents], 1 on average over the examples: rarer intents weigh more, by `strength` (0: all the same)."""
    found = torch.tensor([float(max(1, counts[i])) for i in range(classes)]) ** -strength
    total = sum(counts[i] * float(found[i]) for i in range(classes))
    return found * (counts.total() / total)


def padded(rows: Sequence[TokenVectors]) -> tuple[Tensor, Tensor]:
    """(float32[rows, longest, hidden], bool[rows, longest]) of rows of token vectors."""
    longest = max(len(row.data) for row in rows)
    vectors = torch.zeros(len(rows), longest, rows[0].data.shape[1])
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        vectors[i, : len(row.data)] = torch.from_numpy(row.vectors)
        mask[i, : len(row.data)] = True
    return vectors, mask
