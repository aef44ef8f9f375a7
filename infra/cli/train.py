"""`headrace head train`: a tenant's head, or several tenants', from files or from labelled traffic."""

from __future__ import annotations

import argparse
import asyncio
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command
from infra.cli.values import folder_to_write, number, whole
from infra.languages import check_ring
from topology.addresses import load_placed, load_running
from topology.errors import HeadraceError, Misconfigured
from topology.heads import SYSTEM_ENTITIES

if TYPE_CHECKING:
    from infra.training.fit import Recipe, Target

TRAIN = """\
Train a head. DATA holds {"text", "intent", "entities": [{"start", "end", "label"}]} lines, or is a .csv with the
columns text, intent and entities (a JSON list), or of any format that `headrace data convert --help` shows. A row that
cannot be used is left out and named. A file's own dev part tunes. Examples of the intent out_of_scope set the threshold
for it and are no intent. `headrace head train DIRECTORY` trains every TENANT.jsonl, TENANT.csv, TENANT.yml, … in it."""


def add_commands(head: Any) -> None:
    """Put `train` among the commands of `head`."""
    train = add_command(head, "train", _train, TRAIN)
    train.add_argument("tenant", help="whose head; or the directory of many tenants' data")
    train.add_argument("data", type=Path, nargs="?", help="examples: a file, a directory of one tenant, or a .zip")
    train.add_argument("--from-topic", action="store_true", help="the tenant's labelled traffic instead of a file")
    train.add_argument("--ring", help="the ring (default: the only one)")
    train.add_argument("--out", type=folder_to_write, help="the head directory to write (default: ./TENANT-head)")
    train.add_argument("--tune", type=Path, help="held-out examples (default: the file's own dev part, else every "
                       "tenth line of data)")
    train.add_argument("--test", type=Path, help="unseen examples: the finished head's scores on them")
    train.add_argument(
        "--size", default="compact",
        help="small: intents only; compact (default): a layer of 256; standard: a layer as wide as the encoder; or a "
        ".toml file of width, ffn, heads, pool, layer, dropout",
    )
    train.add_argument("--balance", choices=("none", "sqrt", "full"), default="none", help="weight rare intents up")
    train.add_argument("--epochs", type=whole(), default=30)
    train.add_argument("--rate", type=number(0, 1, above=True), default=1e-3,
                       help="AdamW's highest rate (default: 0.001)")
    train.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="the same seed gives the same weights")
    train.add_argument(
        "--system-entities", default="", metavar="KINDS", help=f"comma-separated, of {', '.join(SYSTEM_ENTITIES)}"
    )
    train.add_argument("--synonyms", type=Path, help='JSON: {"label": {"value": ["ways", "to say it"]}}')


def ring_of(settings: Any, name: str | None) -> Any:
    """The ring of that name, or the only one. Raises: Misconfigured."""
    if name is None and len(settings.rings) == 1:
        return next(iter(settings.rings.values()))
    if name not in settings.rings:
        raise Misconfigured(f"{f'--ring {name}' if name else '--ring'}: one of {', '.join(settings.rings)} is wanted")
    return settings.rings[name]


def print_manifest(manifest: Any) -> None:
    """A manifest and its scores."""
    metrics = manifest.metrics
    name = f"{manifest.ring}/{manifest.tenant} {manifest.version}"
    print(f"{name}: {len(manifest.intents)} intents, {manifest.precision}, space {manifest.space}")
    if metrics:
        print(f"held out: intent accuracy {metrics['intent_accuracy']:.1%}, span F1 {metrics['span_f1']:.1%}, "
              f"calibration error {metrics.get('ece', 0):.3f}")
        for label, value in sorted(metrics["span_f1_by_label"].items()):
            print(f"  {label:32} {value:.1%}")


def _train(args: argparse.Namespace) -> int:
    from infra.training.reading import tenants_in

    folder = Path(args.tenant)
    if args.data is not None or args.from_topic:
        _train_one(args, args.tenant, args.data, args.out or Path(f"{args.tenant}-head"))
        return 0
    if not folder.is_dir():
        raise Misconfigured(f"no data: give a file after {args.tenant!r}, --from-topic, or a directory of many tenants")
    files = tenants_in(folder)
    if not files:
        raise Misconfigured(f"{folder}: no TENANT.jsonl, TENANT.csv, TENANT.yml or the like is in it")
    failed = 0
    for place in files:  # one tenant's bad data costs only its own head
        try:
            _train_one(args, place.stem, place, (args.out or Path()) / f"{place.stem}-head")
        except HeadraceError as error:
            failed += 1
            print(f"headrace: {place.stem} was not trained: {error}")
    return int(failed > 0)


def _train_one(args: argparse.Namespace, tenant: str, data: Path | None, out: Path) -> None:
    from rich.progress import Progress

    from head_worker.system import unread
    from infra import heads
    from infra.training.checks import told
    from infra.training.examples import read_topic
    from infra.training.limit import token_limit
    from infra.training.reading import read_training
    from infra.training.report import write_report

    settings = (load_running if data is None else load_placed)(args.config)
    ring = ring_of(settings, args.ring)
    check_ring(settings, ring)
    own = data or asyncio.run(read_topic(settings, tenant))
    given = read_training(own, ring.languages, token_limit(settings, ring), args.tune, args.test)
    for line in (*given.notes, *told(given.findings)):
        print(line)
    examples, tune = given.train, given.dev
    recipe, about = _recipe(args), _about(args, given.synonyms)
    for line in unread(about.system_entities, ring.languages):
        print(line)
    with Progress() as bar:
        task = bar.add_task(f"{tenant}: encoding {len(examples)} examples", total=recipe.epochs)

        def note(epoch: int, scores: dict[str, float]) -> None:
            text = f"{tenant}: intents {scores['intent_accuracy']:.1%}, spans {scores['span_f1']:.1%}"
            bar.update(task, completed=epoch, description=text)

        manifest = heads.train(settings, ring, tenant, examples, tune, out, recipe, about, note)
    print_manifest(manifest)
    if given.test:
        scores = heads.score(settings, ring, out, given.test)
        print(f"{args.test}: intent accuracy {scores.intent_accuracy:.2%}, span F1 {scores.span_f1:.2%}, "
              f"sentence accuracy {scores.sentence_accuracy:.2%}")
    page = write_report(manifest, out / "report.html")
    print(f"written to {out} (a report: {page}); announce it with: headrace head publish {out}")


def _recipe(args: argparse.Namespace) -> Recipe:
    from infra.training.fit import Recipe

    return Recipe(epochs=args.epochs, seed=args.seed, size=_size(args.size), rate=args.rate, balance=args.balance)


def _size(name: str) -> Any:
    from infra.training.model import SIZES, Size

    if name in SIZES:
        return SIZES[name]
    try:
        body = tomllib.loads(Path(name).read_text())
    except (OSError, ValueError) as error:
        raise Misconfigured(f"--size {name}: none of {', '.join(SIZES)}, nor a .toml file: {error}") from error
    kinds = {field.name: type(field.default) for field in fields(Size)}
    for key, value in body.items():
        if key not in kinds or type(value) is not kinds[key]:
            known = ", ".join(f"{key} ({kind.__name__})" for key, kind in kinds.items())
            raise Misconfigured(f"{name}: {key} = {value!r}; known here: {known}")
    return Size(**body)


def _about(args: argparse.Namespace, synonyms: dict[str, dict[str, list[str]]]) -> Target:
    from infra.training.fit import Target
    from infra.training.reading import read_synonyms

    kinds = tuple(kind.strip() for kind in args.system_entities.split(",") if kind.strip())
    if unknown := [kind for kind in kinds if kind not in SYSTEM_ENTITIES]:
        raise Misconfigured(f"--system-entities {', '.join(unknown)}: known are {', '.join(SYSTEM_ENTITIES)}")
    if args.synonyms:
        try:
            synonyms = read_synonyms(args.synonyms)
        except Misconfigured as error:
            raise Misconfigured(f"--synonyms {error}") from error
    return Target("", "", "", kinds, synonyms)
