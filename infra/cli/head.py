"""`headrace head ...`: publishing, trying and taking back tenants' heads. Training stands in `train`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli import train
from infra.cli.command import add_command, add_group
from infra.cli.running import running
from infra.cli.train import print_manifest, ring_of
from infra.cli.values import number
from topology.addresses import load_placed
from topology.errors import BadRecord, Misconfigured, Unavailable

if TYPE_CHECKING:
    from topology.registry import HeadRecord

TOGETHER = 100  # heads that are announced in one go: fewer connections, against the work of a crash


def add_commands(commands: Any) -> None:
    """Put `head` among `commands`."""
    head = add_group(
        commands, "head", "train, publish, try and take back tenants' heads",
        "headrace head train acme examples.jsonl\nheadrace head publish acme-head\nheadrace head rollback acme",
    )
    train.add_commands(head)
    publish = add_command(
        head, "publish", _head_publish, "store a head directory and announce it: it answers from now on"
    )
    publish.add_argument("directories", type=Path, nargs="+", metavar="DIRECTORY",
                         help="several at once: over one connection")
    for mode, text in (
        ("canary", "let another version answer a share of a tenant's utterances"),
        ("shadow", "let another version score beside the current one, which answers, and compare the two"),
    ):
        trial = add_command(head, mode, _head_trial, text)
        trial.set_defaults(mode=mode)
        trial.add_argument("directory", type=Path, help="the head directory to try")
        trial.add_argument("--share", type=number(0, 1), default=0.1 if mode == "canary" else 1.0, help="0..1 of them")
    for name, function, text in (
        ("list", _head_list, "which version answers: of all tenants, or of one with all its stored versions"),
        ("show", _head_show, "the manifest of the version that answers; of the newest where nothing is up"),
        ("promote", _head_promote, "end a trial: its version answers everything"),
        ("report", _head_report, "what a version in the shadow would have said"),
        ("rollback", _head_rollback, "announce an earlier version; ends a trial"),
        ("delete", _head_delete, "retract the head and remove its versions"),
    ):
        command = add_command(head, name, function, text)
        command.add_argument("tenant", nargs="?" if name == "list" else None)
        command.add_argument("--ring", help="the ring (default: the only one)")
        if name == "delete":
            command.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")
        if name == "rollback":
            command.add_argument("--version", help="which (default: the current one in a trial, else the one before)")


def _head_publish(args: argparse.Namespace) -> int:
    """One that is bad costs only itself, where there are several."""
    from infra.announce import announce_all, stored

    settings, wrong = running(args.config), 0
    for at in range(0, len(args.directories), TOGETHER):
        manifests = []
        for directory in args.directories[at : at + TOGETHER]:
            try:
                manifests.append(stored(settings, directory))
            except BadRecord as error:
                wrong += 1
                print(f"headrace: {error.code}: {error}", file=sys.stderr)
        asyncio.run(announce_all(settings, manifests))
        for one in manifests:
            print(f"announced {one.ring}/{one.tenant} {one.version}")
    return 1 if wrong else 0


def _head_trial(args: argparse.Namespace) -> None:
    from infra.announce import announce_candidate, stored

    settings = running(args.config)
    manifest = stored(settings, args.directory)
    record = asyncio.run(announce_candidate(settings, manifest, args.mode, args.share))
    name = f"{manifest.ring}/{manifest.tenant}"
    print(f"{name}: {record.version} answers, {manifest.version} is its {args.mode} for {args.share:.0%}; "
          f"end it with: headrace head promote {manifest.tenant}, or rollback {manifest.tenant}")


def _head_promote(args: argparse.Namespace) -> None:
    from infra.announce import announce, announced

    settings, store, ring, _ = _stored(args, is_up=True)
    record = asyncio.run(announced(settings, ring, args.tenant))
    if record is None or record.candidate is None:
        raise Misconfigured(f"{ring}/{args.tenant} has no version on trial: headrace head canary or shadow starts one")
    asyncio.run(announce(settings, store.manifest(ring, args.tenant, record.candidate.version)))
    print(f"announced {ring}/{args.tenant} {record.candidate.version}")


def _head_report(args: argparse.Namespace) -> None:
    from infra.shadows import report

    settings = running(args.config)
    print(asyncio.run(report(settings, args.tenant)))


def _stored(args: argparse.Namespace, is_up: bool = False) -> tuple[Any, Any, str, list[str]]:
    from infra.announce import store_of

    settings = (running if is_up else load_placed)(args.config)
    store, ring = store_of(settings), ring_of(settings, args.ring).name
    versions = store.versions(ring, args.tenant)
    if not versions:
        raise Misconfigured(f"no head of {args.tenant!r} is stored in ring {ring!r}; headrace head publish stores one")
    return settings, store, ring, versions


def _head_list(args: argparse.Namespace) -> None:
    from infra.versions import answering, told

    if args.tenant is None:
        settings = running(args.config)
        ring = ring_of(settings, args.ring).name if args.ring else ""
        for record in asyncio.run(answering(settings, ring)):
            print(told(record))
        return
    _, _, ring, versions = _stored(args)
    current = _current(args, ring)
    for version in versions:
        marks = ["answers"] if current and version == current.version else []
        if current and current.candidate and version == current.candidate.version:
            marks.append(f"{current.candidate.mode} for {current.candidate.share:.0%}")
        print("\t".join([version, *marks]))


def _current(args: argparse.Namespace, ring: str) -> HeadRecord | None:
    """What the registry says of the tenant; None where no stack is up, or it does not answer."""
    from infra.announce import announced

    try:
        return asyncio.run(announced(running(args.config), ring, args.tenant))
    except (Misconfigured, Unavailable) as error:
        print(f"headrace: which version answers is not known: {error}", file=sys.stderr)
        return None


def _head_show(args: argparse.Namespace) -> None:
    _, store, ring, versions = _stored(args)
    record = _current(args, ring)
    print_manifest(store.manifest(ring, args.tenant, record.version if record else versions[-1]))
    if record is not None:
        print(f"answers: {record.version}")


def _head_rollback(args: argparse.Namespace) -> None:
    from infra.announce import announce, announced

    settings, store, ring, versions = _stored(args, is_up=True)
    record = asyncio.run(announced(settings, ring, args.tenant))
    if args.version is None and record is not None:
        before = [v for v in versions if v < record.version]
        args.version = record.version if record.candidate else before[-1] if before else ""
    if args.version not in versions:
        raise Misconfigured(
            f"there is no version {args.version or 'before the current one'}; stored: {', '.join(versions)}"
        )
    asyncio.run(announce(settings, store.manifest(ring, args.tenant, args.version)))
    print(f"announced {ring}/{args.tenant} {args.version}")


def _head_delete(args: argparse.Namespace) -> None:
    from infra.announce import retract

    if not args.yes and not (sys.stdin and sys.stdin.isatty()):  # None where it is closed
        raise Misconfigured(f"there is no terminal to ask at: --yes deletes {args.tenant} and all its versions unasked")
    settings, store, ring, _ = _stored(args, is_up=True)
    if not args.yes:
        print(f"delete {ring}/{args.tenant} and all its versions? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Misconfigured("nothing is deleted")
    asyncio.run(retract(settings, ring, args.tenant))
    store.delete(ring, args.tenant)
    print(f"deleted {ring}/{args.tenant}")
