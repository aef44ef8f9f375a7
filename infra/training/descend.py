"""A head's learning: AdamW with one cycle of the rate, in batches of like length, with early stopping."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from head_worker.engine import Array, Head, TokenVectors
from infra.training.adamw import AdamW
from infra.training.evaluate import Labelled
from infra.training.model import HeadModel, pooled
from infra.training.packed import Packed
from infra.training.recipe import BALANCE, Recipe
from infra.training.tags import IGNORED, tags_of
from infra.training.trial import Trial
from topology.heads import HeadManifest

POOLED_TOGETHER = 256  # lines

Scored = dict[str, float]  # of an epoch: intent_accuracy and, where there are spans, span_f1


def descend(
    model: HeadModel, manifest: HeadManifest, train: Sequence[Labelled], trial: Trial | None, recipe: Recipe,
    progress: Callable[[int, Scored], None], may_keep: Callable[[int, Scored], bool] = lambda epoch, scores: False,
) -> int:
    """Leave `model` with the weights of its best epoch on the trial, which is returned, counted from 0; without a trial
    with those of the last.

    `progress` is told how many epochs are done and, where there is a trial, what the last one scored on it. `may_keep`
    is asked at a KeyboardInterrupt whether the best epoch so far is enough; where it is not, that is raised.
    """
    lessons = Lessons(train, manifest, recipe)
    optimizer = AdamW(model, recipe.rate, recipe.epochs * lessons.steps)
    kept, best = optimizer.weights.clone(), -1
    try:
        for epoch in range(recipe.epochs):
            model.train()
            for places in lessons.batches():
                lessons.loss(model, places).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            model.eval()
            if trial is None:
                progress(epoch + 1, {})
                continue
            said = trial.note(Learning(manifest, model))
            if best < 0 or said.score > trial.at(best).score:
                kept, best = optimizer.weights.clone(), epoch
            progress(epoch + 1, said.scores)  # after it: who reads of an epoch and presses Ctrl-C wants it
            if epoch - best >= recipe.patience:
                break
    except KeyboardInterrupt:
        if trial is None or best < 0 or not may_keep(best + 1, trial.at(best).scores):
            raise
    if trial is not None:
        optimizer.weights.copy_(kept)
    return best


class Lessons:
    """The lines that teach, ready to be taken in batches."""

    def __init__(self, lines: Sequence[Labelled], manifest: HeadManifest, recipe: Recipe) -> None:
        self._rows = Packed([one.row for one in lines])
        numbers = {intent: number for number, intent in enumerate(manifest.intents)}
        self._intents = torch.tensor([numbers.get(one.example.intent, IGNORED) for one in lines])
        self._tags = torch.tensor([
            tag for one in lines
            for tag in (tags_of(one, manifest.tags) if one.example.intent in numbers else [IGNORED] * len(one.row.data))
        ])
        counts = Counter(self._intents[self._intents != IGNORED].tolist())
        self._weights = weights_of(counts, len(manifest.intents), BALANCE[recipe.balance])
        self._smoothing, self._batch = recipe.smoothing, recipe.batch
        self._chance = np.random.default_rng(recipe.seed)
        self.steps = math.ceil(len(lines) / self._batch)
        self._pooled: Tensor | None = None

    def batches(self) -> Iterator[Tensor]:
        """The places of all lines once, in a new order; lines of like length meet, so that little is padding."""
        order, found = self._chance.permutation(len(self._intents)), list[Tensor]()
        for at in range(0, len(order), self._batch * 16):
            part = order[at : at + self._batch * 16]
            near = torch.from_numpy(part[np.argsort(self._rows.lengths[part], kind="stable")])
            found += torch.split(near, self._batch)
        for i in self._chance.permutation(len(found)):
            yield found[i]

    def loss(self, model: HeadModel, places: Tensor) -> Tensor:
        """Of intents and tags; of lines out of scope the distance from being equally unsure of every intent (outlier
        exposure, Hendrycks et al. 2019)."""
        said, tags, where = self._said(model, places)
        intents = self._intents[places]
        outside = intents == IGNORED
        inside = int((~outside).sum())
        loss = said.new_zeros(())
        if inside:
            loss = F.cross_entropy(said, intents, self._weights, ignore_index=IGNORED, label_smoothing=self._smoothing)
        if inside < len(places):
            loss = loss - said[outside].log_softmax(1).mean(1).sum() / max(1, inside)
        if tags is None or not inside:
            return loss
        right = self._tags[where].masked_fill(where < 0, IGNORED)
        return loss + F.cross_entropy(tags.flatten(0, 1), right.flatten(), ignore_index=IGNORED)


    def _said(self, model: HeadModel, places: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """(intent logits, tag logits or None, where the tokens' tags are, -1 for none)."""
        if model.is_flat:
            if self._pooled is None:
                parts = torch.arange(len(self._intents)).split(POOLED_TOGETHER)  # type: ignore[no-untyped-call]
                self._pooled = torch.cat([pooled(*self._rows.batch(part)[:2]) for part in parts])
            return model.flat(self._pooled[places]), None, places
        vectors, mask, where = self._rows.batch(places)
        return *_scores(model, vectors, mask), where.masked_fill(~mask, -1)


def _scores(model: HeadModel, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """The model's float32 logits, multiplied in bfloat16 where the processor does that faster."""
    with torch.autocast("cpu", torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        intents, tags = model(vectors, mask)
    return intents.float(), None if tags is None else tags.float()


class Learning(Head):
    """The model as a head, for its scores between two epochs."""

    nbytes = 0

    def __init__(self, manifest: HeadManifest, model: HeadModel) -> None:
        super().__init__(manifest)
        self._model = model

    @torch.no_grad()
    def logits(self, rows: Sequence[TokenVectors]) -> tuple[Array, Array]:
        """As `Head.logits`."""
        vectors, mask, _ = Packed(rows).batch(torch.arange(len(rows)))
        intents, tags = _scores(self._model, vectors, mask)
        found = torch.zeros(int(mask.sum()), 1) if tags is None else tags[mask]
        return intents.numpy(), found.numpy()


def weights_of(counts: Counter[int], classes: int, strength: float) -> Tensor:
    """float32[intents], 1 on average over the examples: rarer intents weigh more, by `strength` (0: all the same)."""
    found = torch.tensor([float(max(1, counts[i])) for i in range(classes)]) ** -strength
    total = sum(counts[i] * float(found[i]) for i in range(classes))
    return found * (counts.total() / total)
