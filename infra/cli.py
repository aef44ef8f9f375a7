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

from infra import cli_bench, cli_heads
from topology.errors import HeadraceError, Misconfigured

QUANTIZE = """\
make an encoder's int8 form, which rings with precision = "int8" serve on CPUs; report its size, its speed against
float32 and the cosine of its token vectors to float32's, and refuse it below a floor. Also made at the first start."""

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
    quantize = _add(encoder, "quantize", _encoder_quantize, QUANTIZE)
    quantize.add_argument("name", help="a directory, or the name of a prepared encoder")
    quantize.add_argument("--text", type=Path, help="lines of your own domain to calibrate on and to measure with")
    quantize.add_argument("--floor", type=float, default=0.99, help="least mean cosine to accept (default: 0.99)")
    _add(commands, "up", _up, "start the whole stack of headrace.toml; Ctrl-C stops it")
    demo = _add(commands, "demo", _demo, "six tenants in five languages, end to end, on this machine")
    demo.add_argument("--serve", action="store_true", help="leave it running and say how to send to it")

    predict = _add(commands, "predict", _predict, "ask a running stack")
    predict.add_argument("tenant", help="whose head")
    predict.add_argument("text", nargs="?", help='the utterance; without it, {"text": …, "lang": …} lines from stdin')
    predict.add_argument("--lang", help="BCP 47 tag (default: identified from the text)")
    predict.add_argument("--deadline", type=float, help="seconds")
    predict.add_argument("--json", action="store_true", help="print replies as JSON lines")

    cli_heads.add_commands(commands, _add)
    cli_bench.add_commands(commands, _add)
    return parser


def _add(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text.replace("%", "%%"), description=text)
    parser.set_defaults(run=function)
    return parser


def _init(args: argparse.Namespace) -> None:
    place = Path(args.config or "headrace.toml")
    if place.exists():
        raise Misconfigured(f"{place} is there already")
    place.write_text(STARTER)
    print(f"{place} written; next: headrace encoder fetch minilm-l6 && headrace up")


def _config_check(args: argparse.Namespace) -> None:
    from topology.addresses import load_placed
    from topology.settings import advice, missing, settings_path

    settings = load_placed(args.config)
    for line in missing(settings, args.config):  # the machine that checks need not be the one that has them
        print(f"warning: {line}; a process here would not start", file=sys.stderr)
    for line in advice(settings, args.config):
        print(f"warning: {line}", file=sys.stderr)
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
    from infra.assets.weights import encoder_directory
    from topology.encoders import cache_dir

    print(encoder_directory(args.name, cache_dir() / "encoders"))


def _encoder_quantize(args: argparse.Namespace) -> None:
    from encoder_worker.int8 import place_of
    from encoder_worker.quantize import quantize
    from topology.encoders import find_encoder

    directory = find_encoder(args.name)
    if directory is None:
        raise Misconfigured(f"no encoder {args.name!r}: give a directory, or prepare it with `headrace encoder fetch`")
    texts: list[str] = []
    if args.text:
        try:
            texts = [line for line in args.text.read_text(encoding="utf-8").splitlines() if line.strip()]
        except OSError as error:
            raise Misconfigured(f"{args.text}: cannot be read: {error}") from error
        if len(texts) < 20:
            raise Misconfigured(f"{args.text}: {len(texts)} lines; at least 20 are needed to calibrate and to measure")
    place = place_of(directory)
    quantize(directory, place, say=print, texts=texts, floor=args.floor)
    print(place)


def _wait_for_signal(supervisor: Any) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    while True:
        time.sleep(0.5)
        for name in supervisor.restart_ended():
            print(f"restarted: {name}", flush=True)


def _up(args: argparse.Namespace) -> None:
    from infra.stack.up import stack

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
                spans = ", ".join(
                    f"{e.label}={e.text!r}" + (f" ({e.value})" if e.value is not None else "") for e in reply.entities
                ) or "no entities"
                print(f"{reply.intent} ({reply.confidence:.0%})  {spans}  {reply.times_ms['total']:.0f} ms")
    return failed


if __name__ == "__main__":
    sys.exit(main())
