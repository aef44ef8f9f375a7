"""Whether tests of the int8 kernels run: they are left out only where there is no compiler to build them with."""

import os
import shutil

import pytest

from topology.kernels import kernels

NO_COMPILER = kernels() is None and not (shutil.which("cc") or shutil.which("gcc") or os.environ.get("CC"))
needs_kernels = pytest.mark.skipif(NO_COMPILER, reason="left out: no C compiler built the kernels here")
