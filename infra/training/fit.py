"""Fits a head: AdamW with one cycle of the rate, early stopping, and what held-out lines say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from head_worker.engine import TRANSITIONS, Array
from head_worker.float32 import Float32Head
from head_worker.int8 import tensors_of
from head_worker.load import load_head
from infra.training.calibrate import Calibration
from infra.training.descend import Progress as Progress
from infra.training.descend import Recipe as Recipe
from infra.training.descend import descend
from infra.training.evaluate import Labelled
from infra.training.examples import OUT_OF_SCOPE
from infra.training.folds import FOLDED, FOLDS, folds_of
from infra.training.model import HeadModel
from infra.training.tags import path_of
from infra.training.transitions import associations
from infra.training.trial import Trial, Verdict, best_epoch, judge
from topology.errors import Misconfigured
from topology.heads import HeadManifest
from topology.native.kernels import WIDTHS_OF
from topology.native.tensors import to_bytes

SPREAD = FOLDS / (FOLDS - 1)  # folds share lines: their scores vary more than lines do (Nadeau and Bengio 2003)
DEFAULT = Recipe()
UNTRIED_EPOCHS = 15  # of a head that no line can be held out for


@dataclass(frozen=True)
class Target:
    """Whose head it is and which encoder it reads. `synonyms`: label → value → ways to say it."""

    tenant: str
    ring: str
    space: str
    system_entities: tuple[str, ...] = ()
    synonyms: dict[str, dict[str, list[str]]] | None = None


def fit(
    target: Target, train: Sequence[Labelled], tune: Sequence[Labelled] | None, out: Path, recipe: Recipe = DEFAULT,
    progress: Progress = lambda epoch, scores: None,
) -> HeadManifest:
    """Train, keep the epoch that is best on lines that do not teach, calibrate on them and write a head directory.

    Those lines are `tune`; without it a tenth of `train`, or of few lines every fifth in turn (5 folds: the head itself
    learns from all lines, for as many epochs as were best). Examples of the intent `out_of_scope` are no class: they
    teach the head to be unsure of them, and set the threshold. The same examples, recipe and machine give the same
    weights. Raises: Misconfigured where fewer than two lines are in scope.
    """
    within = [one for one in train if one.example.intent != OUT_OF_SCOPE]
    if len(within) < 2:
        raise Misconfigured(f"{len(within)} examples in scope are too few to train a head")
    intents = tuple(sorted({one.example.intent for one in within}))
    labels = sorted({entity.label for one in within for entity in one.example.entities})
    tags = ("O", *(f"{kind}-{label}" for label in labels for kind in "BI")) if recipe.size.layer else ("O",)

    def fresh() -> tuple[HeadModel, HeadManifest]:
        torch.manual_seed(recipe.seed)
        model = _model(within[0].row.data.shape[1], len(intents), len(tags), recipe)
        return model, _manifest(target, model, intents, tags)

    known = [one for one in tune or () if one.example.intent in (*intents, OUT_OF_SCOPE)]
    found = associations([path_of(one, tags)[1] for one in within], len(tags)) if len(tags) > 1 else None
    by_folds = not any(one.example.intent in intents for one in known) and len(train) < FOLDED
    learn = _fold if by_folds else _hold_out
    with _threads(1 if by_folds else torch.get_num_threads()):
        model, manifest, verdict = learn(fresh, list(train), known, found, recipe, progress)
    shipped = replace(manifest, metrics=verdict.metrics, temperature=verdict.calibration.temperature,
                      out_of_scope_threshold=verdict.calibration.threshold)
    return write_head(_head(model, shipped, verdict.transitions), out, recipe.precision)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch's threads for a while. Steps on few lines are too short for two: beside other load, 70 lines took more than
    90 s with two and 8 s with one, as each step waits for the thread that does not run."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Fresh = Callable[[], tuple[HeadModel, HeadManifest]]
Learned = tuple[HeadModel, HeadManifest, Verdict]


def _hold_out(
    fresh: Fresh, train: list[Labelled], tune: list[Labelled], found: Array | None, recipe: Recipe, progress: Progress
) -> Learned:
    """One model, judged by lines that are held out."""
    if not any(one.example.intent != OUT_OF_SCOPE for one in tune):
        held = set(folds_of([one.example for one in train], recipe.seed)[0])
        tune = [*tune, *(train[i] for i in sorted(held))]
        train = [one for i, one in enumerate(train) if i not in held]
    if not any(one.example.intent == OUT_OF_SCOPE for one in tune):
        strange = [one for one in train if one.example.intent == OUT_OF_SCOPE][::2]
        tune, train = [*tune, *strange], [one for one in train if one not in strange]
    model, manifest = fresh()
    trial = Trial(tune)
    best = descend(model, manifest, train, trial, recipe.epochs, recipe, progress)
    verdict = judge(trial.parts(recipe.seed), best, manifest, found, recipe.keep)
    return model, manifest, replace(verdict, metrics={**verdict.metrics, "evaluation": "held out"})


def _fold(
    fresh: Fresh, train: list[Labelled], tune: list[Labelled], found: Array | None, recipe: Recipe, progress: Progress
) -> Learned:
    """A model of all lines, judged by models that each learned without a part of them."""
    trials: list[Trial] = []
    folds = folds_of([one.example for one in train], recipe.seed)
    for number, fold in enumerate(folds if len(folds) > 1 else ()):
        model, manifest = fresh()
        trials.append(Trial([train[i] for i in fold]))
        teach = [one for i, one in enumerate(train) if i not in set(fold)]

        def note(epoch: int, scores: dict[str, float], done: int = number * recipe.epochs) -> None:
            progress((done + epoch) // (len(folds) + 1), scores)

        descend(model, manifest, teach, trials[-1], recipe.epochs, recipe, note)
    model, manifest = fresh()
    best = best_epoch(trials) if trials else min(UNTRIED_EPOCHS, recipe.epochs) - 1
    descend(model, manifest, train, None, best + 1, recipe, progress)
    if not trials:
        return model, manifest, Verdict(Calibration(), None, {"examples": 0, "lines": len(train), "evaluation": "none"})
    verdict = judge(trials, best, manifest, found, recipe.keep, spread=SPREAD)
    return model, manifest, replace(verdict, metrics={**verdict.metrics, "evaluation": f"{len(trials)} folds"})


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
