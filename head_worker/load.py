"""A head directory to a head that answers: checked whole, and mapped rather than read where it is int8."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from head_worker.engine import Head
from head_worker.float32 import Float32Head
from head_worker.int8 import Int8Head, as_float32
from topology.errors import BadHead
from topology.heads import HeadManifest
from topology.native.kernels import kernels
from topology.native.tensors import open_mapped

log = logging.getLogger(__name__)


def load_head(directory: Path) -> Head:
    """The head in a directory. Raises: BadHead, naming the file and what is wrong."""
    place = directory / "head.safetensors"
    try:
        manifest = HeadManifest.from_json((directory / "head.json").read_text())
        if manifest.precision == "int8":
            return _int8(place, manifest)
        body = place.read_bytes()
        _check_hash(place, body, manifest)
        weights = {name: np.asarray(array, np.float32) for name, array in load_safetensors(body).items()}
        return Float32Head(manifest, weights)
    except (OSError, UnicodeDecodeError) as error:
        raise BadHead(f"{directory}: cannot be read: {error}") from error
    except BadHead as error:
        raise BadHead(f"{directory}: {error}") from error
    except (SafetensorError, ValueError) as error:
        raise BadHead(f"{place}: {error}") from error


def _int8(place: Path, manifest: HeadManifest) -> Head:
    tensors, _, body = open_mapped(place)
    _check_hash(place, body, manifest)
    found = kernels()
    if found is None:
        return as_float32(manifest, tensors)
    return Int8Head(manifest, tensors, found)


def _check_hash(place: Path, body: bytes | memoryview, manifest: HeadManifest) -> None:
    if hashlib.sha256(body).hexdigest() != manifest.sha256:
        raise BadHead(f"{place.name}: its sha256 is not the one in head.json; the copy is damaged, publish it again")


