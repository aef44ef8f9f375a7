"""int8 forward passes of encoders and heads in C, for CPUs: one call, one thread, the interpreter lock released.

Both workers compute with them, so they stand here. Weights are int8 with a scale an output, activations int8 with a
scale a token made on the fly: a token's result depends on its own row only, alone and in any batch (ZeroQuant, Yao et
al. 2022; SmoothQuant, Xiao et al. 2023). `kernels.h` describes the memory, `forward.h` the arithmetic.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topology.native.int8 import quantize

log = logging.getLogger(__name__)

PANEL, QUAD = 16, 4
WIDTHS_OF = 16  # float32 in the widest register: hidden widths, also of one attention head, are multiples of it
SETS = ("amx", "vnni", "avx2", "generic")  # the best first
NEEDS = {"amx": 4, "vnni": 2, "avx2": 1, "generic": 0}

_PARTS = {"weight": np.int8, "scale": np.float32, "bias": np.float32, "sum": np.int32}

Floats = NDArray[np.float32]


class LinearStruct(ctypes.Structure):
    """`Linear` of kernels.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "bias", "sum", "smooth")),
        ("n", ctypes.c_int32), ("k", ctypes.c_int32),
    )


class LayerStruct(ctypes.Structure):
    """`Layer` of kernels.h."""

    _fields_ = (
        *((name, LinearStruct) for name in ("qkv", "out", "up", "down")),
        *((name, ctypes.c_void_p) for name in ("norm1_weight", "norm1_bias", "norm2_weight", "norm2_bias")),
    )


class EncoderStruct(ctypes.Structure):
    """`Encoder` of kernels.h."""

    _fields_ = (
        *((n, ctypes.c_void_p) for n in ("word", "word_scale", "place", "norm_weight", "norm_bias", "relative")),
        ("layer", ctypes.POINTER(LayerStruct)),
        ("fused", ctypes.c_int64),
        *((n, ctypes.c_int32) for n in ("layers", "hidden", "heads", "ffn", "first_position", "reach")),
        ("eps", ctypes.c_float),
    )


class HeadStruct(ctypes.Structure):
    """`Head` of kernels.h."""

    _fields_ = (
        ("project", LinearStruct), ("norm0_weight", ctypes.c_void_p), ("norm0_bias", ctypes.c_void_p),
        ("layer", LayerStruct), ("pool", LinearStruct), ("intent", LinearStruct), ("tag", LinearStruct),
        *((name, ctypes.c_int32) for name in ("hidden", "width", "ffn", "heads")),
    )


@dataclass(frozen=True)
class PackedLinear:
    """An int8 linear layer as the kernels read it.

    weight: int8[ceil(n/16), ceil(k/4), 16, 4]; scale, bias: float32[ceil16(n)]; sum: int32[ceil16(n)]; smooth:
    float32[k], or None.
    """

    n: int
    k: int
    weight: NDArray[np.int8]
    scale: Floats
    bias: Floats
    sum: NDArray[np.int32]
    smooth: Floats | None = None

    @classmethod
    def of(cls, weight: Floats, bias: Floats, smooth: Floats | None = None) -> PackedLinear:
        """Quantize float32[n, k], rounded to the nearest of 255 steps an output. `smooth` divides the weights' inputs
        and multiplies the activations."""
        n, k = weight.shape
        even = weight if smooth is None else weight / smooth
        whole, scale = quantize(even)
        wide = np.zeros((-(-n // PANEL) * PANEL, -(-k // QUAD) * QUAD), np.int8)
        wide[:n, :k] = whole
        panels = wide.reshape(wide.shape[0] // PANEL, PANEL, wide.shape[1] // QUAD, QUAD).transpose(0, 2, 1, 3)
        return cls(
            n, k, np.ascontiguousarray(panels), _lengthened(scale, len(wide)),
            _lengthened(bias.astype(np.float32), len(wide)), wide.sum(axis=1, dtype=np.int32),
            None if smooth is None else np.ascontiguousarray(smooth, np.float32),
        )

    def dequantized(self) -> Floats:
        """float32[n, k]: the weights that the kernels multiply with."""
        wide = self.weight.transpose(0, 2, 1, 3).reshape(len(self.scale), -1)
        plain = wide[: self.n, : self.k].astype(np.float32) * self.scale[: self.n, None]
        return plain if self.smooth is None else plain * self.smooth

    def tensors(self, name: str) -> dict[str, NDArray[Any]]:
        """The layer as tensors of a file, for `at` to find again under `name`."""
        found: dict[str, NDArray[Any]] = {
            f"{name}.weight": self.weight, f"{name}.scale": self.scale, f"{name}.bias": self.bias,
            f"{name}.sum": self.sum, f"{name}.shape": np.array([self.n, self.k], np.int32),
        }
        if self.smooth is not None:
            found[f"{name}.smooth"] = self.smooth
        return found

    @classmethod
    def at(cls, tensors: Mapping[str, NDArray[Any]], name: str) -> PackedLinear:
        """The layer `name` of a file; it keeps views of it. Raises: ValueError where a part is missing or wrong."""
        parts = {part: tensors.get(f"{name}.{part}") for part in (*_PARTS, "shape", "smooth")}
        shape = parts.pop("shape")
        if shape is None or shape.shape != (2,) or not (shape > 0).all():
            raise ValueError(f"{name}.shape: two numbers above 0 are wanted")
        n, k = (int(number) for number in shape)
        wanted: dict[str, tuple[int, ...]] = {part: (_up(n),) for part in ("scale", "bias", "sum")}
        wanted.update(weight=(_up(n) // PANEL, -(-k // QUAD), PANEL, QUAD), smooth=(k,))
        for part, array in parts.items():
            if array is None and part == "smooth":
                continue
            if array is None or array.shape != wanted[part] or array.dtype != _PARTS.get(part, np.float32):
                raise ValueError(f"{name}.{part}: {wanted[part]} of {_PARTS.get(part, np.float32).__name__} is wanted")
            if array.dtype == np.float32 and not np.isfinite(array).all():
                raise ValueError(f"{name}.{part} holds values that are not finite")
        return cls(n, k, **parts)  # type: ignore[arg-type]

    def struct(self) -> LinearStruct:
        """Pointers into the arrays, which must outlive it."""
        smooth = None if self.smooth is None else self.smooth.ctypes.data
        arrays = (self.weight, self.scale, self.bias, self.sum)
        return LinearStruct(*(a.ctypes.data for a in arrays), smooth, self.n, self.k)


def _lengthened(values: Floats, size: int) -> Floats:
    found = np.zeros(size, np.float32)
    found[: len(values)] = values
    return found


class Kernels:
    """The forward passes for one instruction set. Every call releases the interpreter lock."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.name = name
        self._encode, self._predict, self._linear = (
            getattr(library, f"headrace_{name}_{call}") for call in ("encode", "predict", "apply_linear")
        )

    def encode(
        self, encoder: EncoderStruct, ids: NDArray[np.int32], lengths: NDArray[np.int32]
    ) -> tuple[Floats, NDArray[np.int8], Floats]:
        """Token vectors of packed rows: float32[tokens, hidden], and as the wire has them, int8[tokens, hidden] with
        scales float32[tokens]. `ids` is int32[tokens], `lengths` int32[rows] sums to tokens."""
        out = np.empty((len(ids), encoder.hidden), np.float32)
        data, scales = np.empty(out.shape, np.int8), np.empty(len(ids), np.float32)
        arrays = (_at(out), _at(data), _at(scales))
        _done(self._encode(ctypes.byref(encoder), _at(ids), _at(lengths), len(lengths), *arrays))
        return out, data, scales

    def predict(
        self, head: HeadStruct, data: NDArray[np.int8], scales: Floats, lengths: NDArray[np.int32]
    ) -> tuple[Floats, Floats]:
        """(intent logits float32[rows, intents], tag logits float32[tokens, tags]) of int8[tokens, hidden] vectors."""
        intents = np.empty((len(lengths), _up(head.intent.n)), np.float32)
        tags = np.empty((len(data), _up(head.tag.n)), np.float32)
        _done(self._predict(
            ctypes.byref(head), _at(data), _at(scales), _at(lengths), len(lengths), _at(intents), _at(tags)
        ))
        return intents[:, : head.intent.n], tags[:, : head.tag.n]

    def linear(self, layer: PackedLinear, x: Floats) -> Floats:
        """float32[rows, n] of float32[rows, k]."""
        out = np.empty((len(x), _up(layer.n)), np.float32)
        x = np.ascontiguousarray(x, np.float32)
        _done(self._linear(ctypes.byref(layer.struct()), _at(x), len(x), _at(out)))
        return out[:, : layer.n]


@functools.cache
def kernels() -> Kernels | None:
    """The fastest kernels that this processor has and that compute rightly on it; None where none were built.

    $HEADRACE_KERNELS names a set (amx, vnni, avx2, generic) or is `off`.
    """
    wanted = os.environ.get("HEADRACE_KERNELS", "")
    spec = importlib.util.find_spec("topology.native._native")
    if wanted == "off" or spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    processor = library.headrace_processor()
    for name in [wanted] if wanted else SETS:
        if name in SETS and processor & NEEDS[name] == NEEDS[name]:
            found = Kernels(library, name)
            if computes_rightly(found):
                return found
            log.error("the %s kernels compute wrongly on this processor and are not used: please report it", name)
    return None


def computes_rightly(found: Kernels) -> bool:
    """Whether a small layer comes out as numpy computes it from the same integers."""
    random = np.random.default_rng(0)
    x = random.normal(size=(7, 44)).astype(np.float32)
    layer = PackedLinear.of(random.normal(size=(37, 44)).astype(np.float32), random.normal(size=37).astype(np.float32))
    scale = np.abs(x).max(axis=1, keepdims=True) / 127
    wanted = np.rint(x / scale) * scale @ layer.dequantized().T + layer.bias[: layer.n]
    return bool(np.abs(found.linear(layer, x) - wanted).max() < 0.05)  # one step of rounding moves a sum by 0.03


def _up(n: int) -> int:
    return -(-n // PANEL) * PANEL


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _done(code: int) -> None:
    if code:
        raise MemoryError("the kernels found no room for their intermediate results")
