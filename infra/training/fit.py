"""Fits a head: AdamW with one cycle of the rate, early stopping, and what held-out lines say of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from head_worker.engine import TRANSITIONS, Array
from head_worker.files import FILES
from head_worker.float32 import Float32Head
from head_worker.int8 import tensors_of
from head_worker.load import load_head
from infra.counted import counted
from infra.training.calibrate import Calibration
from infra.training.descend import Learning, Scored, descend
from infra.training.evaluate import Labelled
from infra.training.examples import OUT_OF_SCOPE
from infra.training.folds import FOLDED, FOLDS, folds_of
from infra.training.model import HeadModel
from infra.training.recipe import Recipe as Recipe
from infra.training.tags import path_of
from infra.training.transitions import associations
from infra.training.trial import Trial, Verdict, judge
from topology.errors import Misconfigured
from topology.heads import HeadManifest
from topology.native.kernels import WIDTHS_OF
from topology.native.tensors import to_bytes

SPREAD = FOLDS / (FOLDS - 1)  # folds share lines: their scores vary more than lines do (Nadeau and Bengio 2003)
OTHERS = 300  # lines whose score the interval of folds holds: they vary too
DEFAULT = Recipe()


@dataclass(frozen=True)
class Target:
    """Whose head it is and which encoder it reads. `synonyms`: label → value → ways to say it."""

    tenant: str
    ring: str
    space: str
    system_entities: tuple[str, ...] = ()
    synonyms: dict[str, dict[str, list[str]]] | None = None


Progress = Callable[[float, Scored], None]  # the share that is done, and what the last epoch scored, where it was told


@dataclass(frozen=True)
class Hooks:
    """Who looks on, and what the processor may be used for. `may_keep`: as of `descend`."""

    progress: Progress = lambda share, scores: None
    may_keep: Callable[[int, Scored], bool] = lambda epoch, scores: False
    threads: int = os.cpu_count() or 1


ALONE = Hooks()


def fit(
    target: Target, train: Sequence[Labelled], tune: Sequence[Labelled] | None, out: Path, recipe: Recipe = DEFAULT,
    hooks: Hooks = ALONE, facts: Mapping[str, object] = {},
) -> HeadManifest:
    """Train, calibrate and score on lines that do not teach, and write a head directory.

    Those lines are `tune`; without it a tenth of `train`, and the epoch that is best on them is kept; or of few lines
    every fifth in turn (5 folds), and the head itself learns from all lines. Examples of the intent `out_of_scope` are
    no class: they teach the head to be unsure of them, and set the threshold. `facts` are put among the head's metrics.
    The same examples, recipe and machine give the same weights.

    Raises: Misconfigured where fewer than two lines are in scope.
    """
    within = [one for one in train if one.example.intent != OUT_OF_SCOPE]
    if len(within) < 2:
        raise Misconfigured(f"{counted(len(within), 'example')} in scope: too few to train a head")
    recipe = recipe.for_lines(len(within))
    intents = tuple(sorted({one.example.intent for one in within}))
    labels = sorted({entity.label for one in within for entity in one.example.entities})
    tags = ("O", *(f"{kind}-{label}" for label in labels for kind in "BI")) if recipe.size.layer else ("O",)

    def fresh() -> tuple[HeadModel, HeadManifest]:
        torch.manual_seed(recipe.seed)
        model = _model(within[0].row.data.shape[1], len(intents), len(tags), recipe)
        return model, _manifest(target, model, intents, tags)

    known = [one for one in tune or () if one.example.intent in (*intents, OUT_OF_SCOPE)]
    found = associations([path_of(one, tags)[1] for one in within], len(tags)) if len(tags) > 1 else None
    tuned = any(one.example.intent in intents for one in known)
    by_folds = not tuned and (len(train) < FOLDED or not _tenth(train, recipe))
    learn = _fold if by_folds else _hold_out
    with _torch_threads(1 if by_folds else hooks.threads):
        model, manifest, verdict = learn(fresh, list(train), known, found, recipe, hooks)
    shipped = replace(manifest, metrics={**verdict.metrics, **facts}, temperature=verdict.calibration.temperature,
                      out_of_scope_threshold=verdict.calibration.threshold,
                      out_of_scope_max_logit=verdict.calibration.max_logit,
                      system_entities=target.system_entities, synonyms=target.synonyms or {})
    return write_head(_head(model, shipped, verdict.transitions), out, recipe.precision)


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """For a while. Steps on few lines are too short for two: beside other load, 70 lines took more than 90 s with two
    and 8 s with one, as each step waits for the thread that does not run."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Fresh = Callable[[], tuple[HeadModel, HeadManifest]]
Learned = tuple[HeadModel, HeadManifest, Verdict]


def _tenth(train: Sequence[Labelled], recipe: Recipe) -> set[int]:
    """The lines to hold out; none where no line in scope is like another: there the head learns from all."""
    held = {place for fold in folds_of([one.example for one in train], recipe.seed)[:1] for place in fold}
    return held if any(train[place].example.intent != OUT_OF_SCOPE for place in held) else set()


def _hold_out(
    fresh: Fresh, train: list[Labelled], tune: list[Labelled], found: Array | None, recipe: Recipe, hooks: Hooks
) -> Learned:
    """One model, judged by lines that are held out."""
    if not any(one.example.intent != OUT_OF_SCOPE for one in tune):
        held = _tenth(train, recipe)
        tune = [*tune, *(train[i] for i in sorted(held))]
        train = [one for i, one in enumerate(train) if i not in held]
    if not any(one.example.intent == OUT_OF_SCOPE for one in tune):
        strange = [i for i, one in enumerate(train) if one.example.intent == OUT_OF_SCOPE][::2]
        tune = [*tune, *(train[i] for i in strange)]
        held = set(strange)
        train = [one for i, one in enumerate(train) if i not in held]
    model, manifest = fresh()
    trial = Trial(tune)

    def note(epoch: int, scores: Scored) -> None:
        hooks.progress(epoch / recipe.epochs, scores)

    best = descend(model, manifest, train, trial, recipe, note, hooks.may_keep)
    verdict = judge(trial.parts(recipe.seed), best, manifest, found, recipe.keep)
    return model, manifest, replace(verdict, metrics={**verdict.metrics, "evaluation": "held out"})


def _fold(
    fresh: Fresh, train: list[Labelled], tune: list[Labelled], found: Array | None, recipe: Recipe, hooks: Hooks
) -> Learned:
    """A model of all lines, judged by models that each learned without a part of them; none is stopped early.

    They learn side by side, in a thread each: steps on few lines are too short to be shared by threads.
    """
    train = [*train, *tune]  # which are out of scope
    folds = folds_of([one.example for one in train], recipe.seed)
    folds = folds if len(folds) > 1 else []
    done, halted = [0] * (1 + len(folds)), list[bool]()

    def learn(number: int, model: HeadModel, manifest: HeadManifest) -> Trial:
        def note(epoch: int, scores: Scored) -> None:
            done[number] = epoch
            hooks.progress(sum(done) / len(done) / recipe.epochs, {})
            if halted:
                raise KeyboardInterrupt

        held = set(folds[number - 1]) if number else set()
        descend(model, manifest, [one for i, one in enumerate(train) if i not in held], None, recipe, note)
        trial = Trial([train[i] for i in sorted(held)])
        if held:
            trial.note(Learning(manifest, model))
        return trial

    models = [fresh() for _ in done]  # here, as torch's source of chance is one for all threads
    with ThreadPoolExecutor(hooks.threads) as threads:
        learning = [threads.submit(learn, number, *models[number]) for number in range(len(done))]
        try:
            for one in wait(learning, return_when=FIRST_EXCEPTION).done:
                one.result()
        finally:
            halted.append(True)
    _, *trials = [one.result() for one in learning]
    model, manifest = models[0]
    if not trials:
        return model, manifest, Verdict(Calibration(), None, {"examples": 0, "lines": len(train), "evaluation": "none"})
    verdict = judge(trials, 0, manifest, found, recipe.keep, SPREAD + len(train) / OTHERS)
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
    return HeadModel(hidden, intents, tags, size, recipe.seed)


def _manifest(
    target: Target, model: HeadModel, intents: tuple[str, ...], tags: tuple[str, ...]
) -> HeadManifest:
    now = datetime.now(UTC)
    return HeadManifest(
        tenant=target.tenant, ring=target.ring, version=now.strftime("%Y%m%dT%H%M%S%fZ"), space=target.space,
        hidden=model.hidden, intents=intents, tags=tags, sha256="unwritten", attention_heads=model.heads,
        created=now.isoformat(),
    )


def _head(model: HeadModel, manifest: HeadManifest, transitions: Array | None = None) -> Float32Head:
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    return Float32Head(manifest, weights if transitions is None else {**weights, TRANSITIONS: transitions})


def write_head(head: Float32Head, out: Path, precision: str = "int8") -> HeadManifest:
    """Write a head directory in `precision`, int8 or float32, and read it back; one that cannot be read replaces none.

    Raises: BadHead, ValueError.
    """
    body = to_bytes(tensors_of(head) if precision == "int8" else head.weights)
    manifest = replace(head.manifest, sha256=hashlib.sha256(body).hexdigest(), precision=precision)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".new-") as folder:
        new = Path(folder)
        (new / "head.safetensors").write_bytes(body)
        (new / "head.json").write_text(manifest.to_json())
        read = load_head(new).manifest
        for name in FILES[::-1]:  # a crash between the two leaves a head.json whose sha256 is another's: it is refused
            (new / name).replace(out / name)
    return read
