"""A tenant's head in numpy: one transformer layer over token vectors, an intent and a tag classifier.

The layer is post-LN (Vaswani et al., 2017); `infra/training/model.py` is its twin that learns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from head_worker.decode import best_path, spans_of, transitions, words_of
from topology.errors import BadHead
from topology.heads import HeadManifest

Array = NDArray[np.float32]


@dataclass(frozen=True)
class TokenVectors:
    """One utterance: float32[tokens, hidden] vectors and int32[tokens, 2] character offsets (end exclusive)."""

    text: str
    vectors: Array
    offsets: NDArray[np.int32]


@dataclass(frozen=True)
class Span:
    """An entity: `text` is characters `start` to `end` (exclusive) of the utterance."""

    start: int
    end: int
    label: str
    text: str
    confidence: float


@dataclass(frozen=True)
class Scored:
    """An utterance's prediction. `confidence` is calibrated, in 0..1."""

    intent: str
    confidence: float
    out_of_scope: bool
    entities: tuple[Span, ...]


def shapes(hidden: int, width: int, ffn: int, intents: int, tags: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of `head.safetensors` and its shape; matrices are [out, in], as torch writes them."""
    found: dict[str, tuple[int, ...]] = {
        "project.weight": (width, hidden), "project.bias": (width,),
        "qkv.weight": (3 * width, width), "qkv.bias": (3 * width,),
        "out.weight": (width, width), "out.bias": (width,),
        "up.weight": (ffn, width), "up.bias": (ffn,),
        "down.weight": (width, ffn), "down.bias": (width,),
        "intent.weight": (intents, 2 * width), "intent.bias": (intents,),
        "tag.weight": (tags, width), "tag.bias": (tags,),
    }
    for norm in ("norm0", "norm1", "norm2"):
        found[f"{norm}.weight"] = found[f"{norm}.bias"] = (width,)
    return found


class Head:
    """A loaded head. Immutable, so any thread may use it."""

    def __init__(self, manifest: HeadManifest, weights: dict[str, Array]) -> None:
        self.manifest = manifest
        self._w = weights
        self._legal = transitions(manifest.tags)

    @classmethod
    def load(cls, directory: Path) -> Head:
        """The head in a directory. Raises: BadHead, naming the file and what is wrong."""
        try:
            manifest = HeadManifest.from_json((directory / "head.json").read_text())
            body = (directory / "head.safetensors").read_bytes()
        except (OSError, UnicodeDecodeError) as error:
            raise BadHead(f"{directory}: cannot be read: {error}") from error
        except BadHead as error:
            raise BadHead(f"{directory}: {error}") from error
        place = directory / "head.safetensors"
        if hashlib.sha256(body).hexdigest() != manifest.sha256:
            raise BadHead(f"{place}: its sha256 is not the one in head.json; the copy is damaged, publish it again")
        try:
            weights = {name: np.asarray(array, np.float32) for name, array in load_safetensors(body).items()}
        except SafetensorError as error:
            raise BadHead(f"{place}: not a safetensors file: {error}") from error
        _check(place, manifest, weights)
        return cls(manifest, weights)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory."""
        return sum(array.nbytes for array in self._w.values())

    def predict(self, rows: Sequence[TokenVectors]) -> list[Scored]:
        """A prediction for each row. Raises: BadHead where a row's width is not the head's."""
        for row in rows:
            if row.vectors.shape[1] != self.manifest.hidden:
                raise BadHead(f"the head reads vectors of {self.manifest.hidden}, these have {row.vectors.shape[1]}")
        mask = np.zeros((len(rows), max(len(row.vectors) for row in rows)), bool)
        padded = np.zeros((*mask.shape, self.manifest.hidden), np.float32)
        for i, row in enumerate(rows):
            padded[i, : len(row.vectors)] = row.vectors
            mask[i, : len(row.vectors)] = True
        intents, tags = self._forward(padded, mask)
        intents = softmax(intents / np.float32(self.manifest.temperature))
        return [self._decode(row, intents[i], tags[i]) for i, row in enumerate(rows)]

    def _forward(self, vectors: Array, mask: NDArray[np.bool_]) -> tuple[Array, Array]:
        x = self._norm(self._linear(vectors, "project"), "norm0")
        x = self._norm(x + self._attention(x, mask), "norm1")
        x = self._norm(x + self._linear(gelu(self._linear(x, "up")), "down"), "norm2")
        held = mask[:, :, None]
        mean = (x * held).sum(axis=1) / held.sum(axis=1)
        peak = np.where(held, x, np.float32(-1e9)).max(axis=1)
        return self._linear(np.concatenate([mean, peak], axis=1), "intent"), self._linear(x, "tag")

    def _attention(self, x: Array, mask: NDArray[np.bool_]) -> Array:
        rows, tokens, width = x.shape
        heads = self.manifest.attention_heads
        qkv = self._linear(x, "qkv").reshape(rows, tokens, 3, heads, width // heads)
        q, k, v = (qkv[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
        scores = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // heads))
        weights = softmax(np.where(mask[:, None, None, :], scores, np.float32(-1e9)))
        return self._linear((weights @ v).transpose(0, 2, 1, 3).reshape(rows, tokens, width), "out")

    def _linear(self, x: Array, name: str) -> Array:
        y: Array = x @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]
        return y

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        y: Array = centred / scale * self._w[f"{name}.weight"] + self._w[f"{name}.bias"]
        return y

    def _decode(self, row: TokenVectors, intents: Array, tags: Array) -> Scored:
        best = int(intents.argmax())
        confidence = float(intents[best])
        below = confidence < self.manifest.out_of_scope_threshold
        return Scored(self.manifest.intents[best], confidence, below, self._entities(row, tags))

    def _entities(self, row: TokenVectors, tags: Array) -> tuple[Span, ...]:
        words = words_of(row.text, row.offsets)
        if not words or len(self.manifest.tags) == 1:
            return ()
        chances = softmax(tags[[token for token, _, _ in words]])
        path = best_path(np.log(np.maximum(chances, np.float32(1e-12))), self._legal, self.manifest.tags)
        found = []
        for first, after, label in spans_of(path, self.manifest.tags):
            start, end = words[first][1], words[after - 1][2]
            sure = float(np.mean([chances[word, path[word]] for word in range(first, after)]))
            found.append(Span(start, end, label, row.text[start:end], sure))
        return tuple(found)


def softmax(x: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    y: Array = powers / powers.sum(axis=-1, keepdims=True)
    return y


def gelu(x: Array) -> Array:
    """The tanh form (Hendrycks and Gimpel, 2016)."""
    y: Array = np.float32(0.5) * x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x**3)))
    return y


def _check(place: Path, manifest: HeadManifest, weights: dict[str, Array]) -> None:
    try:
        width, ffn = weights["project.weight"].shape[0], weights["up.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise BadHead(f"{place}: has no matrix {error}") from error
    wanted = shapes(manifest.hidden, width, ffn, len(manifest.intents), len(manifest.tags))
    if set(wanted) != set(weights):
        raise BadHead(f"{place}: wrong tensors: {', '.join(sorted(set(wanted) ^ set(weights)))}")
    if width % manifest.attention_heads:
        raise BadHead(f"{place}: width {width} does not divide into {manifest.attention_heads} attention heads")
    for name, shape in wanted.items():
        if weights[name].shape != shape:
            raise BadHead(f"{place}: {name} has shape {weights[name].shape}, wanted {shape}")
        if not np.isfinite(weights[name]).all():
            raise BadHead(f"{place}: {name} holds values that are not finite")
