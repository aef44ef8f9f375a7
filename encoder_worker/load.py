"""Which engine a ring gets, and the int8 form of its encoder, made at the first need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from encoder_worker.engine import Engine
from encoder_worker.int8 import Int8Engine, place_of
from topology.encoders import read_meta
from topology.errors import Misconfigured


def build(directory: Path, device: str = "auto", precision: str = "auto", threads: int = 1) -> Engine:
    """The engine of `device` and `precision` for a Hugging Face directory. Raises: Misconfigured.

    `threads`: of torch on a CPU; int8 computes a batch on one. `auto` precision: float16 on CUDA, bfloat16 on a CPU
    that multiplies it, else float32. int8 is for CPUs.
    """
    if precision != "int8":
        # Here, not above: an int8 worker spares itself torch, 3 s of import and 300 MB of memory.
        from encoder_worker.torch_engine import TorchEngine

        return TorchEngine(directory, device, precision, threads)
    if device == "cuda":
        raise Misconfigured('precision = "int8" is for CPUs: set device = "cpu", or precision = "auto" on a GPU')
    return Int8Engine(quantized(directory), read_meta(directory).layers)


def quantized(directory: Path, say: Callable[[str], None] = lambda line: None, texts: Sequence[str] = ()) -> Path:
    """The int8 form of an encoder directory, made at the first call. Raises: Misconfigured."""
    place = place_of(directory)
    if not place.is_file():
        # Here, not above: torch, for the one time that an encoder is quantized on this machine.
        from encoder_worker.quantize import quantize

        quantize(directory, place, say=say, texts=texts)
    return place
