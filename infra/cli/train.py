"""`headrace head train`: a tenant's head, or several tenants', from files or from labelled traffic."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli.bar import shown
from infra.cli.command import add_command
from infra.cli.reading import add_reading, options_of
from infra.cli.values import folder_to_write, number, whole
from infra.counted import counted
from infra.languages import check_ring
from topology.addresses import load_placed, load_running
from topology.errors import Misconfigured
from topology.heads import SYSTEM_ENTITIES

if TYPE_CHECKING:
    from infra.training.examples import Example
    from infra.training.fit import Target
    from infra.training.reading import TrainingData
    from infra.training.recipe import Recipe

TRAIN = """\
Train a head. DATA holds {"text", "intent", "entities": [{"start", "end", "label"}]} lines, or is a .csv with the
columns text, intent and entities (a JSON list), or of any format that `headrace data convert --help` shows. A row that
cannot be used is left out and named. A file's own dev part tunes. Examples of the intent out_of_scope are no intent:
they teach what to refuse. Ctrl-C ends it; where an epoch was scored, it offers to write the best one so far.

`headrace head train DIRECTORY` trains every TENANT.jsonl, TENANT.csv, TENANT.yml, … in it, as many at once as there are
processors. One that cannot be trained stops no other. Begun again it goes on: a tenant whose data and options are those
of its last head is left as it is (--again trains it)."""


def add_commands(head: Any) -> None:
    """Put `train` among the commands of `head`."""
    train = add_command(head, "train", _train, TRAIN)
    train.add_argument("tenant", help="whose head; or the directory of many tenants' data")
    train.add_argument("data", type=Path, nargs="*", default=[],
                       help="examples: files, directories, .zip archives, -: stdin")
    train.add_argument("--from-topic", action="store_true", help="the tenant's labelled traffic instead of a file")
    train.add_argument("--ring", help="the ring (default: the only one)")
    train.add_argument("--out", type=folder_to_write, help="the head directory to write (default: ./TENANT-head); of "
                       "many tenants: the directory of them")
    train.add_argument("--again", action="store_true", help="of a directory: also tenants that have such a head")
    train.add_argument("--tune", type=Path, help="held-out examples (default: the file's own dev part, else five folds "
                       "of the data; of 400 lines or more a tenth of them)")
    train.add_argument("--test", type=Path, help="unseen examples: the finished head's scores on them")
    train.add_argument(
        "--size", default="compact",
        help="small: intents only; compact (default): a layer of 256; standard: a layer as wide as the encoder; or a "
        ".toml file of width, ffn, heads, pool, layer, dropout",
    )
    train.add_argument("--balance", choices=("none", "sqrt", "full"), default="none", help="weight rare intents up")
    train.add_argument("--epochs", type=whole(), help="how often every line teaches (default: 20 where there are fewer "
                       "than 400 lines, else 30, or fewer of more than 8,000)")
    train.add_argument("--rate", type=number(0, 1, above=True), help="AdamW's highest rate (default: 0.002 where there "
                       "are fewer than 400 lines, else 0.001)")
    train.add_argument("--keep", type=number(0, 1, above=True), default=0.97, metavar="SHARE",
                       help="of what is in scope, at least this is not refused (default: 0.97)")
    train.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="the same seed gives the same weights")
    train.add_argument(
        "--system-entities", default="", metavar="KINDS", help=f"comma-separated, of {', '.join(SYSTEM_ENTITIES)}"
    )
    train.add_argument("--synonyms", type=Path, help='JSON: {"label": {"value": ["ways", "to say it"]}}, beside those '
                       "that DATA brings")
    add_reading(train)


def ring_of(settings: Any, name: str | None) -> Any:
    """The ring of that name, or the only one. Raises: Misconfigured."""
    if name is None and len(settings.rings) == 1:
        return next(iter(settings.rings.values()))
    if name not in settings.rings:
        raise Misconfigured(f"{f'--ring {name}' if name else '--ring'}: one of {', '.join(settings.rings)} is wanted")
    return settings.rings[name]


def print_manifest(manifest: Any) -> None:
    """A manifest and its scores."""
    name = f"{manifest.ring}/{manifest.tenant} {manifest.version}"
    print(f"{name}: {counted(len(manifest.intents), 'intent')}, {manifest.precision}, space {manifest.space}")
    if manifest.metrics:
        from infra.training.told import lines_of

        for line in lines_of(manifest):
            print(line)


def _train(args: argparse.Namespace) -> int:
    from infra.training.reading import SUFFIXES, tenants_in

    folder = Path(args.tenant)
    if folder.is_file() and folder.suffix.lower() in SUFFIXES:
        typed = " ".join(map(str, (folder, *args.data)))
        raise Misconfigured(f"{folder} is a file, a tenant comes first: headrace head train TENANT {typed}")
    if args.data or args.from_topic:
        out = args.out or Path(f"{args.tenant}-head")
        return _unless_interrupted([out], "", lambda: _train_one(args, args.tenant, out))
    if not folder.is_dir():
        raise Misconfigured(f"no data: give a file after {args.tenant!r}, --from-topic, or a directory of many tenants")
    files = tenants_in(folder)
    if not files:
        raise Misconfigured(f"{folder}: no TENANT.jsonl, TENANT.csv, TENANT.yml or the like is in it")
    out, goes_on = args.out or Path(), f"; {'without --again ' if args.again else ''}the same command goes on"
    return _unless_interrupted([out / f"{one.stem}-head" for one in files], goes_on, lambda: _train_many(args, files))


def _unless_interrupted(outs: Sequence[Path], goes_on: str, train: Callable[[], int]) -> int:
    """What `train` returns; at Ctrl-C 130, once it is said how many heads were written. What is being trained by other
    processes is finished by then."""
    before = [_written(out) for out in outs]
    try:
        return train()
    except KeyboardInterrupt:
        count = sum(_written(out) != then for out, then in zip(outs, before, strict=True))
        told = f"{counted(count, 'head is', 'heads are')} written" if count or goes_on else "nothing was written"
        print(f"headrace: interrupted: {told}{goes_on}", file=sys.stderr)
        return 130


def _written(out: Path) -> tuple[int, int] | None:
    """What a head's directory has another one of once the head is written again; None where there is none."""
    try:
        found = (out / "head.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _train_one(args: argparse.Namespace, tenant: str, out: Path) -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait and spin slow each other down
    from head_worker.system import unread
    from infra import heads
    from infra.training.checks import told
    from infra.training.examples import read_topic
    from infra.training.fit import Hooks
    from infra.training.report import write_report
    from infra.training.told import lines_of_test, lone

    settings = (load_placed if args.data else load_running)(args.config)
    ring = ring_of(settings, args.ring)
    check_ring(settings, ring)
    given = _given(args, settings, ring, args.data or asyncio.run(read_topic(settings, tenant)))
    for line in (*given.notes, *told(given.findings), *lone(given.train)):
        print(line)
    recipe, about = _recipe(args), _about(args, given.synonyms)
    for line in unread(about.system_entities, ring.languages):
        print(line)
    with shown(f"training {tenant}") as show:
        show(0.0, f"encoding {counted(len(given.train), 'example')}")
        embedder = heads.Embedder(settings, ring)

        def note(share: float, scores: dict[str, float]) -> None:
            show(share, _seen(scores))

        manifest = heads.train(
            embedder, tenant, given.train, given.dev, out, recipe, about, Hooks(note, _may_keep))
    print_manifest(manifest)
    if given.test:
        for line in lines_of_test(heads.score(embedder, out, given.test).as_dict()):
            print(f"{args.test}: {line}")
    page = write_report(manifest, out / "report.html")
    print(f"written to {out} (a report: {page}); announce it with: headrace head publish {out}")
    return 0


def _train_many(args: argparse.Namespace, files: Sequence[Path]) -> int:
    from infra.many_heads import Order, Several, train_many

    settings = load_placed(args.config)
    ring = ring_of(settings, args.ring)
    check_ring(settings, ring)
    out, recipe = args.out or Path(), _recipe(args)

    def orders() -> Any:
        for place in files:
            def read(place: Path = place) -> Order:
                if len(same := [str(one) for one in files if one.stem == place.stem]) > 1:
                    raise Misconfigured(f"{', '.join(same)}: one tenant's files are trained with: headrace head train "
                                        f"{place.stem} {' '.join(same)}")
                given = _given(args, settings, ring, [place])
                return Order(place.stem, given.train, given.dev, given.test, out / f"{place.stem}-head",
                             _about(args, given.synonyms), len(given.findings))

            yield place.stem, read

    several = Several(len(files))
    with shown(f"training {counted(len(files), 'tenant')}") as show:
        for line in train_many(settings, ring, orders(), recipe, several, args.again):
            print(line, flush=True)
            show(several.done / len(files), several.told())
    print(several.told())
    if several.failed:
        print(f"headrace: not trained: {', '.join(several.failed)}", file=sys.stderr)
    return int(bool(several.failed))


def _given(args: argparse.Namespace, settings: Any, ring: Any, data: Sequence[Path | Example]) -> TrainingData:
    from infra.training.limit import token_limit
    from infra.training.reading import read_training

    languages = [args.lang] if args.lang else ring.languages
    return read_training(data, languages, token_limit(settings, ring), args.tune, args.test, options_of(args))


def _seen(scores: dict[str, float]) -> str:
    names = (("intent_accuracy", "intents"), ("span_f1", "spans"))
    return ", ".join(f"{title} {scores[name]:.1%}" for name, title in names if name in scores)


def _may_keep(epoch: int, scores: dict[str, float]) -> bool:
    """Whether the best epoch so far is written, at Ctrl-C; without a terminal it is."""
    best = f"stopped; the best epoch so far is the {epoch}., with {_seen(scores)}"
    if not sys.stdin.isatty():
        print(f"{best}: it is written", file=sys.stderr)
        return True
    return input(f"\n{best}. Write it? [Y/n] ").strip().lower() in ("", "y", "yes")


def _recipe(args: argparse.Namespace) -> Recipe:
    from infra.training.recipe import Recipe

    return Recipe(epochs=args.epochs or 0, seed=args.seed, size=_size(args.size), rate=args.rate or 0.0,
                  balance=args.balance, keep=args.keep)


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
            given = read_synonyms(args.synonyms)
        except Misconfigured as error:
            raise Misconfigured(f"--synonyms {error}") from error
        for label, values in given.items():
            synonyms.setdefault(label, {}).update(values)
    return Target("", "", "", kinds, synonyms)
