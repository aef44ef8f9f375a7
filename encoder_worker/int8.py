"""The int8 engine of CPUs: an encoder quantized once, mapped by every worker of the machine, run by our C kernels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from encoder_worker.engine import Encoded, Rows
from topology.encoders import cache_dir, fused_layers, weights_sha256
from topology.errors import Misconfigured
from topology.native.kernels import WIDTHS_OF, EncoderStruct, LayerStruct, PackedLinear, kernels
from topology.native.tensors import Tensors, open_mapped

RECIPE = 1  # raised whenever the same weights would give another file
LINEARS = ("qkv", "out", "up", "down")


class Int8Engine:
    """No padding: rows lie side by side and attention runs row by row. A call computes on its own thread."""

    precision, on_gpu = "int8", False

    def __init__(self, place: Path, fused: Sequence[int] = ()) -> None:
        """`fused`: the layers whose outputs are averaged, as `EncoderMeta.layers` has them."""
        found = kernels()
        if found is None:
            raise Misconfigured(NO_KERNELS)
        self._kernels = found
        try:
            self._tensors, metadata, self._body = open_mapped(place)
            self._sizes: dict[str, float] = json.loads(metadata["encoder"])
            _check_widths(self._sizes)
            self._struct = self._encoder(fused)
        except (OSError, ValueError, KeyError) as error:
            raise Misconfigured(f"{place}: no int8 encoder ({error}); delete it and it is made anew") from error
        self.hidden = int(self._sizes["hidden"])

    def encode(self, rows: Rows) -> Encoded:
        """As `Engine.encode`."""
        lengths = np.array([len(row) for row in rows], np.int32)
        ids = np.fromiter(chain.from_iterable(rows), np.int32)
        ends = lengths.cumsum()
        spans = list(zip((ends - lengths).tolist(), ends.tolist(), strict=True))
        vectors, data, scales = self._kernels.encode(self._struct, ids, lengths)
        return Encoded(data, scales, spans, len(ids), lambda: vectors)

    @property
    def nbytes(self) -> int:
        """Bytes of the mapped file, which all workers of a machine share."""
        return len(self._body)

    def _encoder(self, fused: Sequence[int]) -> EncoderStruct:
        count = int(self._sizes["layers"])
        bits = sum(1 << (number - 1) for number in fused_layers(fused, count))
        self._layers = (LayerStruct * count)(*(self._layer(f"layers.{number}.") for number in range(count)))
        at = {name: _address(self._tensors, name) for name in (
            "word", "word_scale", "place", "norm_weight", "norm_bias", "relative"
        )}
        sizes = {n: int(self._sizes[n]) for n in ("layers", "hidden", "heads", "ffn", "first_position", "reach")}
        return EncoderStruct(layer=self._layers, fused=bits, eps=self._sizes["eps"], **at, **sizes)

    def _layer(self, stem: str) -> LayerStruct:
        norms = {n: _address(self._tensors, stem + n) for n in (
            "norm1_weight", "norm1_bias", "norm2_weight", "norm2_bias"
        )}
        return LayerStruct(**{name: PackedLinear.at(self._tensors, stem + name).struct() for name in LINEARS}, **norms)


NO_KERNELS = (
    "the int8 kernels are not built for this machine: install a C compiler and run `pip install --no-binary headrace "
    "headrace` again (or unset HEADRACE_KERNELS=off), or choose another precision in headrace.toml"
)


def _check_widths(sizes: dict[str, float]) -> None:
    hidden, heads = int(sizes["hidden"]), int(sizes["heads"])
    for name, width in (("vectors", hidden), ("an attention head", hidden // heads)):
        if width % WIDTHS_OF:
            raise Misconfigured(
                f"an encoder whose width of {name} is {width} has no int8 form, {WIDTHS_OF} must divide it: choose "
                "another precision in headrace.toml"
            )


def _address(tensors: Tensors, name: str) -> int | None:
    if name == "relative" and name not in tensors:
        return None
    return tensors[name].ctypes.data


def place_of(directory: Path) -> Path:
    """Where the int8 form of an encoder directory is kept: by the hash of its weights."""
    return cache_dir() / "int8" / f"{weights_sha256(directory)[:16]}-r{RECIPE}.safetensors"
