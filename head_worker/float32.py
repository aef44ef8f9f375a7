"""A head in numpy, float32: what any machine runs, and what the others are checked against.

The layer is post-LN (Vaswani et al., 2017); `infra/training/model.py` is its twin that learns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from head_worker.architecture import LINEARS, Architecture
from head_worker.engine import TRANSITIONS, Array, Head, TokenVectors, softmax
from topology.heads import HeadManifest


class Float32Head(Head):
    """Weights as `Architecture.tensors` names them."""

    def __init__(self, manifest: HeadManifest, weights: dict[str, Array]) -> None:
        super().__init__(manifest, weights.get(TRANSITIONS))
        self.weights = weights
        self.architecture = checked(manifest, weights)
        self.nbytes = sum(array.nbytes for array in weights.values())

    def logits(self, rows: Sequence[TokenVectors]) -> tuple[Array, Array]:
        """As `Head.logits`; rows are padded to the longest."""
        mask = np.zeros((len(rows), max(len(row.data) for row in rows)), bool)
        padded = np.zeros((*mask.shape, self.manifest.hidden), np.float32)
        for i, row in enumerate(rows):
            padded[i, : len(row.data)] = row.vectors
            mask[i, : len(row.data)] = True
        intents, tags = self.forward(padded, mask)
        return intents, tags[mask]

    def forward(self, vectors: Array, mask: NDArray[np.bool_]) -> tuple[Array, Array]:
        """(float32[rows, intents], float32[rows, tokens, tags]) of padded float32[rows, tokens, hidden] vectors."""
        x = vectors
        if self.architecture.project:
            x = self._norm(self._linear(x, "project"), "norm0")
        if self.architecture.layer:
            x = self._norm(x + self._attention(x, mask), "norm1")
            x = self._norm(x + self._linear(gelu(self._linear(x, "up")), "down"), "norm2")
        held = mask[:, :, None]
        mean = (x * held).sum(axis=1) / held.sum(axis=1)
        pooled = np.concatenate([mean, np.where(held, x, np.float32(-1e9)).max(axis=1)], axis=1)
        if self.architecture.pool:
            pooled = np.tanh(self._linear(pooled, "pool"))
        tags = self._linear(x, "tag") if self.architecture.tags > 1 else np.zeros((*mask.shape, 1), np.float32)
        return self._linear(pooled, "intent"), tags

    def _attention(self, x: Array, mask: NDArray[np.bool_]) -> Array:
        rows, tokens, width = x.shape
        heads = self.manifest.attention_heads
        qkv = self._linear(x, "qkv").reshape(rows, tokens, 3, heads, width // heads)
        q, k, v = (qkv[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
        scores = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // heads))
        weights = softmax(np.where(mask[:, None, None, :], scores, np.float32(-1e9)))
        return self._linear((weights @ v).transpose(0, 2, 1, 3).reshape(rows, tokens, width), "out")

    def _linear(self, x: Array, name: str) -> Array:
        y: Array = x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return y

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        y: Array = centred / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return y


def checked(manifest: HeadManifest, weights: dict[str, Array]) -> Architecture:
    """The architecture of float32 weights. Raises: ValueError, naming the tensor at fault."""
    shapes = {name: weights[f"{name}.weight"].shape for name in LINEARS if f"{name}.weight" in weights}
    found = Architecture.of(manifest, shapes)
    wanted = found.tensors()
    there = set(weights) - {TRANSITIONS}
    if set(wanted) != there:
        raise ValueError(f"wrong tensors: {', '.join(sorted(set(wanted) ^ there))}")
    for name, shape in wanted.items():
        if weights[name].shape != shape:
            raise ValueError(f"{name} has shape {weights[name].shape}, wanted {shape}")
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"{name} holds values that are not finite")
    return found


def gelu(x: Array) -> Array:
    """The tanh form (Hendrycks and Gimpel, 2016)."""
    y: Array = np.float32(0.5) * x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x**3)))
    return y
