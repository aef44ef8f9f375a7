"""The `headrace` command. Each subcommand imports what it needs when it runs: a client installs no torch."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from topology.errors import HeadraceError, Misconfigured

STARTER = """\
# headrace.toml: checked whole by `headrace config check`.
[rings.en]
languages = ["en"]
encoder = "minilm-l6"     # a directory, a prepared name (`headrace encoder fetch`), or a Hugging Face id
[rings.en.cells.a]
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command. Exit codes: 0 done, 1 failed, 2 misconfigured, 130 interrupted."""
    args = _parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:  # `headrace ... | head` closed the pipe: nobody reads on, which is no mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Misconfigured as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 2
    except HeadraceError as error:
        print(f"headrace: {error.code}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"headrace: {error.name} is not installed; pip install 'headrace[demo]' brings it", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="headrace", description="One shared encoder, a small head for each tenant.")
    parser.add_argument("--config", help="headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add(commands, "init", _init, "write a headrace.toml to start from")
    config = commands.add_parser("config", help="read headrace.toml").add_subparsers(required=True, metavar="COMMAND")
    _add(config, "check", _config_check, "name every mistake with its line")
    topics = commands.add_parser("topics", help="Kafka's topics").add_subparsers(required=True, metavar="COMMAND")
    _add(topics, "apply", _topics_apply, "create what is missing, say what differs; safe to run twice")
    encoder = commands.add_parser("encoder", help="encoders").add_subparsers(required=True, metavar="COMMAND")
    _add(encoder, "fetch", _encoder_fetch, "prepare a known encoder").add_argument("name")
    _add(commands, "up", _up, "start the whole stack of headrace.toml; Ctrl-C stops it")
    demo = _add(commands, "demo", _demo, "six tenants in five languages, end to end, on this machine")
    demo.add_argument("--serve", action="store_true", help="leave it running and say how to send to it")

    predict = _add(commands, "predict", _predict, "ask a running stack")
    predict.add_argument("tenant", help="whose head")
    predict.add_argument("text", nargs="?", help='the utterance; without it, {"text": …, "lang": …} lines from stdin')
    predict.add_argument("--lang", help="BCP 47 tag (default: identified from the text)")
    predict.add_argument("--deadline", type=float, help="seconds")
    predict.add_argument("--json", action="store_true", help="print replies as JSON lines")

    head = commands.add_parser("head", help="tenants' heads").add_subparsers(required=True, metavar="COMMAND")
    train = _add(head, "train", _head_train, "train a head from JSON lines of text, intent and entities")
    train.add_argument("tenant")
    train.add_argument("data", type=Path, help='{"text", "intent", "entities": [{"start", "end", "label"}]} lines')
    train.add_argument("--ring", help="the ring (default: the only one)")
    train.add_argument("--out", type=Path, help="the head directory to write (default: ./TENANT-head)")
    train.add_argument("--tune", type=Path, help="held-out examples (default: every tenth line of data)")
    train.add_argument("--epochs", type=int, default=30)
    train.add_argument("--seed", type=int, default=0)
    _add(head, "publish", _head_publish, "store a head directory and announce it").add_argument("directory", type=Path)
    for name, function, text in (
        ("list", _head_list, "the stored versions"), ("show", _head_show, "the manifest of the newest version"),
        ("rollback", _head_rollback, "announce an earlier version"), ("delete", _head_delete, "retract the head"),
    ):
        command = _add(head, name, function, text)
        command.add_argument("tenant")
        command.add_argument("--ring", help="the ring (default: the only one)")
        if name == "rollback":
            command.add_argument("--version", help="which (default: the one before the newest)")
    return parser


def _add(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=function)
    return parser


def _init(args: argparse.Namespace) -> None:
    place = Path(args.config or "headrace.toml")
    if place.exists():
        raise Misconfigured(f"{place} is there already")
    place.write_text(STARTER)
    print(f"{place} written; next: headrace encoder fetch minilm-l6 && headrace up")


def _config_check(args: argparse.Namespace) -> None:
    from topology.settings import load, settings_path

    settings = load(args.config)
    cells = sum(len(ring.cells) for ring in settings.rings.values())
    print(f"{settings_path(args.config)}: {len(settings.rings)} rings, {cells} cells, no mistakes")


def _topics_apply(args: argparse.Namespace) -> int:
    from topology.addresses import load_running
    from topology.stream.admin import apply_topics
    from topology.topics import wanted

    settings = load_running(args.config)
    reports = asyncio.run(apply_topics(settings, wanted(settings)))
    for report in reports:
        print(report.name, "created" if report.created else "; ".join(report.differences) or "as wanted", sep="\t")
    return int(any(report.differences for report in reports))


def _encoder_fetch(args: argparse.Namespace) -> None:
    from infra.weights import encoder_directory
    from topology.encoders import cache_dir

    print(encoder_directory(args.name, cache_dir() / "encoders"))


def _wait_for_signal(supervisor: Any) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    while True:
        time.sleep(0.5)
        for name in supervisor.restart_ended():
            print(f"restarted: {name}", flush=True)


def _up(args: argparse.Namespace) -> None:
    from infra.up import stack

    with stack(args.config) as (_, supervisor):
        print('up. Ask it with: headrace predict TENANT "text". Ctrl-C stops it.', flush=True)
        _wait_for_signal(supervisor)


def _demo(args: argparse.Namespace) -> None:
    from infra import demo

    with demo.running() as (config, settings, supervisor):
        asyncio.run(demo.show(settings))
        if args.serve:
            print(f'\nTry: headrace --config {config} predict airline "flights from boston to denver"   (Ctrl-C stops)')
            _wait_for_signal(supervisor)


def _predict(args: argparse.Namespace) -> int:
    if args.text is not None:
        asked = [{"text": args.text}]
    else:
        asked = []
        for number, line in enumerate(sys.stdin, 1):
            try:
                asked.append({"text": str(json.loads(line)["text"]), "lang": json.loads(line).get("lang")})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Misconfigured(f'standard input, line {number}: {{"text": …}} is wanted: {error}') from error
    return asyncio.run(_ask(args, asked))


async def _ask(args: argparse.Namespace, asked: list[dict[str, Any]]) -> int:
    from dataclasses import asdict

    from producers import Headrace

    failed = 0
    async with Headrace(args.config) as client:
        for one in asked:
            try:
                reply = await client.predict(
                    args.tenant, one["text"], lang=one.get("lang") or args.lang, deadline=args.deadline
                )
            except HeadraceError as error:
                failed = 1
                if args.json:
                    print(json.dumps({"text": one["text"], "error": error.code, "message": str(error)}))
                else:
                    print(f"headrace: {error.code}: {error}", file=sys.stderr)
                continue
            if args.json:
                print(json.dumps(asdict(reply), ensure_ascii=False))
            else:
                spans = ", ".join(f"{e.label}={e.text!r}" for e in reply.entities) or "no entities"
                print(f"{reply.intent} ({reply.confidence:.0%})  {spans}  {reply.times_ms['total']:.0f} ms")
    return failed


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

        manifest = heads.train(settings, ring, args.tenant, examples, tune, out, args.epochs, args.seed, note)
    _print_manifest(manifest)
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


if __name__ == "__main__":
    sys.exit(main())
