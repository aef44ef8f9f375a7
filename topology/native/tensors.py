"""Tensor files that are mapped, not read: safetensors whose data begins at a multiple of 64 bytes.

Processes of one machine that map the same file share its pages, and loading costs no copy. The format is safetensors
(any reader of it reads these); only the blanks after its header, which it allows, are ours.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from topology.json_map import parse_json_map, shown

ALIGNMENT = 64
MAX_HEADER_BYTES = 16 << 20
MAX_DIMENSIONS = 8
_DTYPES = {"I8": np.int8, "I32": np.int32, "F32": np.float32, "F16": np.float16}
_NAMES = {np.dtype(kind): name for name, kind in _DTYPES.items()}

Tensors = dict[str, NDArray[Any]]


def to_bytes(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    """The file's bytes. Tensors stand largest item first, then by name, so that each is aligned to its items."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at, parts = 0, []
    for name in sorted(tensors, key=lambda n: (tensors[n].nbytes % ALIGNMENT != 0, -tensors[n].itemsize, n)):
        array = np.ascontiguousarray(tensors[name])
        header[name] = {
            "dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]
        }
        parts.append(array.tobytes())
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def open_mapped(place: Path) -> tuple[Tensors, dict[str, str], memoryview]:
    """(tensors, metadata, all bytes) of a file. The tensors are read-only views of the mapping.

    Raises: ValueError where it is no such file, says more than it holds, or is truncated; OSError.
    """
    with place.open("rb") as file:
        body = map_file(file)
    return *parse(body), body


def map_file(file: BinaryIO) -> memoryview:
    """All bytes of a file, mapped. Whoever cuts the file shorter ends this process (SIGBUS): map only what nobody does.

    Raises: ValueError where it is empty; OSError.
    """
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def parse(body: memoryview) -> tuple[Tensors, dict[str, str]]:
    """The tensors (views of `body`) and metadata of a file's bytes. Raises: ValueError, and nothing else."""
    if len(body) < 10:
        raise ValueError("too short for a safetensors file")
    (size,) = struct.unpack_from("<Q", body)
    if size > len(body) - 8:
        raise ValueError(f"its header of {size} bytes does not fit into {len(body)}")
    header = parse_json_map(bytes(body[8 : 8 + size]), MAX_HEADER_BYTES)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its __metadata__ is no map of names to texts")
    return {name: _tensor(name, entry, body[8 + size :]) for name, entry in header.items()}, metadata


def _tensor(name: str, entry: Any, data: memoryview) -> NDArray[Any]:
    try:
        kind, shape, (start, end) = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"tensor {shown(name)}: {type(error).__name__}: {str(error)[:80]}") from error
    sizes = (*shape, start, end)
    if len(shape) > MAX_DIMENSIONS or not all(type(n) is int and 0 <= n <= len(data) for n in sizes):
        raise ValueError(f"tensor {shown(name)}: its shape or its place is none in {len(data)} bytes")
    if start > end or math.prod(shape) * kind.itemsize != end - start:
        raise ValueError(f"tensor {shown(name)}: {shape} of {kind} do not fit bytes {start} to {end} of {len(data)}")
    if start % kind.itemsize:
        raise ValueError(f"tensor {shown(name)}: byte {start} is no place for {kind}")
    return np.frombuffer(data[start:end], kind).reshape(shape)
