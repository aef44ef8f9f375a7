"""What this machine lacks: tests that need it are left out, and say so."""

import ctypes
import importlib.util
import os
import shutil

import pytest

from infra.stack.embedded import redis_server
from topology.errors import Misconfigured
from topology.native.kernels import NEEDS, SETS, kernels

NO_COMPILER = kernels() is None and not (shutil.which("cc") or shutil.which("gcc") or os.environ.get("CC"))
needs_kernels = pytest.mark.skipif(NO_COMPILER, reason="left out: no C compiler built the kernels here")


def _instruction_sets() -> list[str]:
    spec = importlib.util.find_spec("topology.native._native")
    if spec is None or spec.origin is None:
        return []
    processor = ctypes.CDLL(spec.origin).headrace_processor()
    return [name for name in SETS if processor & NEEDS[name] == NEEDS[name]]


HERE = _instruction_sets()  # the kernels' instruction sets that this processor has


def _redis_is_missing() -> str:
    try:
        redis_server()
    except Misconfigured as error:
        return f"left out: {error}"
    return ""


NO_REDIS = _redis_is_missing()
needs_redis = pytest.mark.skipif(bool(NO_REDIS), reason=NO_REDIS)
