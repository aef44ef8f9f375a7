"""Where encoders stand on a machine, and the id of the embedding space each one spans."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topology.errors import Misconfigured

META = "headrace.json"
SPACE_CACHE = "headrace-space.json"


def cache_dir() -> Path:
    """$HEADRACE_CACHE, else ~/.cache/headrace: encoders and data sets, safe to delete."""
    return Path(os.environ.get("HEADRACE_CACHE") or Path.home() / ".cache" / "headrace")


@dataclass(frozen=True)
class EncoderMeta:
    """What `headrace.json` beside an encoder's weights says. All of it is part of the space."""

    name: str = ""
    prefix: str = ""
    layers: tuple[int, ...] = ()  # whose mean a token's vector is, counted from 1; none: the last alone


def find_encoder(name: str) -> Path | None:
    """The directory of an encoder: a path, or a name in the cache; None where it may be a hub id."""
    for place in (Path(name), cache_dir() / "encoders" / name):
        if (place / "config.json").is_file():
            return place
    return None


def read_meta(directory: Path) -> EncoderMeta:
    """The encoder's `headrace.json`, or the defaults where it has none. Raises: Misconfigured."""
    place = directory / META
    if not place.is_file():
        return EncoderMeta(name=directory.name)
    try:
        body = json.loads(place.read_text())
        name, prefix = str(body.get("name", directory.name)), str(body.get("prefix", ""))
        return EncoderMeta(name, prefix, tuple(sorted({int(number) for number in body.get("layers", ())})))
    except (ValueError, TypeError, AttributeError) as error:
        raise Misconfigured(f"{place}: not a JSON map with name, prefix and layers: {error}") from error


def fused_layers(named: Sequence[int], count: int) -> frozenset[int]:
    """Which of an encoder's `count` layers are averaged: `EncoderMeta.layers`. Raises: Misconfigured."""
    wrong = [number for number in named if not 1 <= number <= count]
    if wrong:
        raise Misconfigured(f"{META} beside the encoder names layers {wrong}, but it has {count}, counted from 1")
    return frozenset(named or (count,))


def space_of(directory: Path, max_tokens: int) -> str:
    """The embedding-space id: 16 hex digits over weights, tokeniser, prefix, truncation and the layers.

    Precision and engine are left out: every engine must give the same vectors within the stated tolerance.
    The hash of the weights is kept beside them, keyed by size and time, because reading them takes a second.
    """
    digest = hashlib.sha256(weights_sha256(directory).encode())
    for name in ("tokenizer.json", "vocab.txt"):
        if (directory / name).is_file():
            digest.update((directory / name).read_bytes())
            break
    meta = read_meta(directory)
    digest.update(json.dumps([meta.prefix, max_tokens, *([meta.layers] if meta.layers else [])]).encode())
    return digest.hexdigest()[:16]


def weights_sha256(directory: Path) -> str:
    """The sha256 of an encoder's weights file. Raises: Misconfigured where there is none."""
    weights = next((p for p in (directory / "model.safetensors", directory / "pytorch_model.bin") if p.is_file()), None)
    if weights is None:
        raise Misconfigured(f"{directory}: no model.safetensors (or pytorch_model.bin) is there")
    stat = weights.stat()
    stamp = [stat.st_size, stat.st_mtime_ns]
    cached = directory / SPACE_CACHE
    try:
        body = json.loads(cached.read_text())
        if body["stamp"] == stamp:
            return str(body["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        body = {}
    with weights.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if os.access(directory, os.W_OK):
        cached.write_text(json.dumps({"stamp": stamp, "sha256": sha256}))
    return sha256
