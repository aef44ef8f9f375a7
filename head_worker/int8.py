"""A head in int8: the file's pages are the weights, multiplied by our C kernels without a copy.

All workers of a machine share the pages. What comes on the wire is int8 already and goes into the first product so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from head_worker.architecture import LAYER, LINEARS, Architecture
from head_worker.engine import TRANSITIONS, Array, Head, TokenVectors
from head_worker.float32 import Float32Head
from topology.heads import HeadManifest
from topology.native.kernels import WIDTHS_OF, HeadStruct, Kernels, LayerStruct, LinearStruct, PackedLinear

Tensors = Mapping[str, NDArray[Any]]


class Int8Head(Head):
    """`tensors`: as `tensors_of` makes them, views of the mapped file."""

    def __init__(self, manifest: HeadManifest, tensors: Tensors, found: Kernels) -> None:
        super().__init__(manifest, tensors.get(TRANSITIONS))
        self._kernels = found
        self._parts = linears_of(tensors)
        self._norms = _norms(manifest, self._parts, tensors)
        self._struct = self._build()
        self.nbytes = sum(array.nbytes for array in tensors.values())

    def logits(self, rows: Sequence[TokenVectors]) -> tuple[Array, Array]:
        """As `Head.logits`, in one call; rows lie side by side."""
        if len(rows) == 1:
            data, scales = np.ascontiguousarray(rows[0].data), np.ascontiguousarray(rows[0].scales)
        else:
            data, scales = np.concatenate([r.data for r in rows]), np.concatenate([r.scales for r in rows])
        lengths = np.array([len(row.data) for row in rows], np.int32)
        return self._kernels.predict(self._struct, data, scales, lengths)

    def _build(self) -> HeadStruct:
        architecture = Architecture.of(self.manifest, {name: (p.n, p.k) for name, p in self._parts.items()})
        _check_widths(self.manifest, architecture)
        part = {name: self._parts[name].struct() if name in self._parts else LinearStruct() for name in LINEARS}
        at = {name: array.ctypes.data for name, array in self._norms.items()}
        layer = LayerStruct(
            **{name: part[name] for name in LAYER},
            **{name: at[name] for name in ("norm1_weight", "norm1_bias", "norm2_weight", "norm2_bias") if name in at},
        )
        return HeadStruct(
            project=part["project"], layer=layer, pool=part["pool"], intent=part["intent"], tag=part["tag"],
            norm0_weight=at.get("norm0_weight"), norm0_bias=at.get("norm0_bias"), hidden=architecture.hidden,
            width=architecture.width, ffn=architecture.ffn, heads=self.manifest.attention_heads,
        )


def linears_of(tensors: Tensors) -> dict[str, PackedLinear]:
    """The linear layers that are there. Raises: ValueError."""
    return {name: PackedLinear.at(tensors, name) for name in LINEARS if f"{name}.weight" in tensors}


def tensors_of(head: Float32Head) -> dict[str, NDArray[Any]]:
    """The int8 form of a float32 head. Raises: ValueError where its widths are none that the kernels take."""
    _check_widths(head.manifest, head.architecture)
    found: dict[str, NDArray[Any]] = {}
    for name in head.architecture.linears():
        found.update(PackedLinear.of(head.weights[f"{name}.weight"], head.weights[f"{name}.bias"]).tensors(name))
    for norm in head.architecture.norms():
        for kind in ("weight", "bias"):
            found[f"{norm}_{kind}"] = head.weights[f"{norm}.{kind}"]
    if TRANSITIONS in head.weights:
        found[TRANSITIONS] = head.weights[TRANSITIONS]
    return found


def as_float32(manifest: HeadManifest, tensors: Tensors) -> Float32Head:
    """The same head for a machine without kernels: four times the memory. Raises: ValueError."""
    parts = linears_of(tensors)
    weights: dict[str, Array] = {}
    for name, part in parts.items():
        weights[f"{name}.weight"], weights[f"{name}.bias"] = part.dequantized(), part.bias[: part.n]
    for name, array in _norms(manifest, parts, tensors).items():
        norm, _, kind = name.partition("_")
        weights[f"{norm}.{kind}"] = array
    if TRANSITIONS in tensors:
        weights[TRANSITIONS] = tensors[TRANSITIONS]
    return Float32Head(manifest, weights)


def _norms(manifest: HeadManifest, parts: Mapping[str, PackedLinear], tensors: Tensors) -> dict[str, Array]:
    architecture = Architecture.of(manifest, {name: (p.n, p.k) for name, p in parts.items()})
    found = {}
    for name in (f"{norm}_{kind}" for norm in architecture.norms() for kind in ("weight", "bias")):
        array = tensors.get(name)
        whole = array is not None and array.shape == (architecture.width,) and array.dtype == np.float32
        if array is None or not whole or not np.isfinite(array).all():
            raise ValueError(f"{name}: float32[{architecture.width}], all finite, is wanted")
        found[name] = array
    return found


def _check_widths(manifest: HeadManifest, architecture: Architecture) -> None:
    sizes = {"hidden": architecture.hidden, "width": architecture.width}
    if architecture.layer:
        sizes["width of an attention head"] = architecture.width // manifest.attention_heads
    for name, size in sizes.items():
        if size % WIDTHS_OF:
            raise ValueError(f"int8 heads have a {name} that {WIDTHS_OF} divides, not {size}")
    if architecture.pool > architecture.width:
        raise ValueError(f"its pooled layer of {architecture.pool} is wider than the head ({architecture.width})")
