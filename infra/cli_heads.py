"""`headrace head ...`: training, publishing and taking back tenants' heads."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topology.errors import Misconfigured


def add_commands(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Put `head` and its subcommands among `commands`; `add(commands, name, function, text)` makes one."""
    head = commands.add_parser("head", help="tenants' heads").add_subparsers(required=True, metavar="COMMAND")
    train = add(head, "train", _head_train, "train a head from JSON lines of text, intent and entities")
    train.add_argument("tenant")
    train.add_argument("data", type=Path, help='{"text", "intent", "entities": [{"start", "end", "label"}]} lines')
    train.add_argument("--ring", help="the ring (default: the only one)")
    train.add_argument("--out", type=Path, help="the head directory to write (default: ./TENANT-head)")
    train.add_argument("--tune", type=Path, help="held-out examples (default: every tenth line of data)")
    train.add_argument("--test", type=Path, help="unseen examples: the finished head's scores on them")
    train.add_argument(
        "--size", choices=("small", "compact", "standard"), default="compact",
        help="small: intents only; standard: a layer as wide as the encoder (default: compact, a layer of 256)",
    )
    train.add_argument("--epochs", type=int, default=30)
    train.add_argument("--seed", type=int, default=0)
    add(head, "publish", _head_publish, "store a head directory and announce it").add_argument("directory", type=Path)
    for name, function, text in (
        ("list", _head_list, "the stored versions"), ("show", _head_show, "the manifest of the newest version"),
        ("rollback", _head_rollback, "announce an earlier version"), ("delete", _head_delete, "retract the head"),
    ):
        command = add(head, name, function, text)
        command.add_argument("tenant")
        command.add_argument("--ring", help="the ring (default: the only one)")
        if name == "rollback":
            command.add_argument("--version", help="which (default: the one before the newest)")


def _ring(settings: Any, name: str | None) -> Any:
    if name is None and len(settings.rings) == 1:
        return next(iter(settings.rings.values()))
    if name not in settings.rings:
        raise Misconfigured(f"--ring {name or '?'}: one of {', '.join(settings.rings)} is wanted")
    return settings.rings[name]


def _head_train(args: argparse.Namespace) -> None:
    from rich.progress import Progress

    from infra import heads
    from topology.addresses import load_placed

    settings = load_placed(args.config)
    ring = _ring(settings, args.ring)
    examples = heads.read_jsonl(args.data)
    tune = heads.read_jsonl(args.tune) if args.tune else None
    out = args.out or Path(f"{args.tenant}-head")
    with Progress() as bar:
        task = bar.add_task(f"encoding {len(examples)} examples", total=args.epochs)

        def note(epoch: int, scores: dict[str, float]) -> None:
            text = f"intents {scores['intent_accuracy']:.1%}, spans {scores['span_f1']:.1%}"
            bar.update(task, completed=epoch, description=text)

        chosen = (args.epochs, args.seed, args.size)
        manifest = heads.train(settings, ring, args.tenant, examples, tune, out, *chosen, note)
    _print_manifest(manifest)
    if args.test:
        scores = heads.score(settings, ring, out, heads.read_jsonl(args.test))
        print(f"{args.test}: intent accuracy {scores.intent_accuracy:.2%}, span F1 {scores.span_f1:.2%}")
    print(f"written to {out}; announce it with: headrace head publish {out}")


def _print_manifest(manifest: Any) -> None:
    metrics = manifest.metrics
    name = f"{manifest.ring}/{manifest.tenant} {manifest.version}"
    print(f"{name}: {len(manifest.intents)} intents, space {manifest.space}")
    if metrics:
        print(f"held out: intent accuracy {metrics['intent_accuracy']:.1%}, span F1 {metrics['span_f1']:.1%}")
        for label, value in sorted(metrics["span_f1_by_label"].items()):
            print(f"  {label:32} {value:.1%}")


def _head_publish(args: argparse.Namespace) -> None:
    from infra.announce import publish
    from topology.addresses import load_running

    manifest = asyncio.run(publish(load_running(args.config), args.directory))
    print(f"announced {manifest.ring}/{manifest.tenant} {manifest.version}")


def _stored(args: argparse.Namespace, running: bool = False) -> tuple[Any, Any, str, list[str]]:
    from head_worker.store import HeadStore
    from topology.addresses import load_placed, load_running

    settings = (load_running if running else load_placed)(args.config)
    store, ring = HeadStore(settings.heads.store), _ring(settings, args.ring).name
    versions = store.versions(ring, args.tenant)
    if not versions:
        raise Misconfigured(f"no head of {args.tenant!r} is stored in ring {ring!r}; headrace head publish stores one")
    return settings, store, ring, versions


def _head_list(args: argparse.Namespace) -> None:
    print("\n".join(_stored(args)[3]))


def _head_show(args: argparse.Namespace) -> None:
    _, store, ring, versions = _stored(args)
    _print_manifest(store.manifest(ring, args.tenant, versions[-1]))


def _head_rollback(args: argparse.Namespace) -> None:
    from infra.announce import announce

    settings, store, ring, versions = _stored(args, running=True)
    version = args.version or (versions[-2] if len(versions) > 1 else "")
    if version not in versions:
        raise Misconfigured(f"there is no version {version or 'before the only one'}; stored: {', '.join(versions)}")
    asyncio.run(announce(settings, store.manifest(ring, args.tenant, version)))
    print(f"announced {ring}/{args.tenant} {version}")


def _head_delete(args: argparse.Namespace) -> None:
    from infra.announce import retract

    settings, store, ring, _ = _stored(args, running=True)
    asyncio.run(retract(settings, ring, args.tenant))
    store.delete(ring, args.tenant)
    print(f"deleted {ring}/{args.tenant}")
