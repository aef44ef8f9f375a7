"""A head directory to a head that answers: checked whole, and mapped rather than read where it is int8."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors.numpy import load as load_safetensors

from head_worker.engine import Head
from head_worker.files import FILES, open_regular
from head_worker.float32 import Float32Head
from head_worker.int8 import Int8Head, as_float32
from head_worker.store import read_manifest
from topology.errors import BadHead, BadRecord
from topology.heads import HeadManifest
from topology.native.kernels import kernels
from topology.native.tensors import map_file, parse

_, WEIGHTS = FILES
# No memory, no handle, a disk that fails: the machine's trouble of the moment, not the file's.
OF_THIS_MOMENT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO}


def load_head(directory: Path) -> Head:
    """The head in a directory, checked whole.

    Raises: BadHead, naming the file and what is wrong, never the path: it may reach a caller; OSError or MemoryError
    where this machine has no room or no handle now.
    """
    try:
        manifest = read_manifest(directory)
        with open_regular(directory / WEIGHTS) as file:
            return _int8(file, manifest) if manifest.precision == "int8" else _float32(file, manifest)
    except (BadRecord, MemoryError):
        raise
    except OSError as error:
        if error.errno in OF_THIS_MOMENT:
            raise
        raise BadHead(f"{WEIGHTS} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadHead(f"{WEIGHTS}: {str(error)[:300]}") from error
    except Exception as error:  # a file from elsewhere: whatever its reading raises is the file's fault
        raise BadHead(f"{WEIGHTS} cannot be read: {type(error).__name__}") from error


def _float32(file: BinaryIO, manifest: HeadManifest) -> Head:
    body = file.read()
    _check_hash(body, manifest)
    weights = {name: np.asarray(array, np.float32) for name, array in load_safetensors(body).items()}
    return Float32Head(manifest, weights)


def _int8(file: BinaryIO, manifest: HeadManifest) -> Head:
    body = map_file(file)
    _check_hash(body, manifest)
    tensors, _ = parse(body)
    found = kernels()
    return as_float32(manifest, tensors) if found is None else Int8Head(manifest, tensors, found)


def _check_hash(body: bytes | memoryview, manifest: HeadManifest) -> None:
    if hashlib.sha256(body).hexdigest() != manifest.sha256:
        raise BadHead(f"{WEIGHTS}: its sha256 is not the one in head.json; the copy is damaged, publish it again")
