"""The C kernels against numpy on the same integers, for every instruction set of this processor."""

import ctypes
import importlib.util

import numpy as np
import pytest

from tests.built import HERE, NO_COMPILER
from topology.native.kernels import Kernels, PackedLinear, computes_rightly, kernels

if NO_COMPILER:
    pytest.skip("left out: no C compiler built the kernels here", allow_module_level=True)
assert kernels() is not None, "a C compiler is here and the kernels are not built: see what the installation printed"
LIBRARY = ctypes.CDLL(importlib.util.find_spec("topology.native._native").origin)


def layer(n, k, smooth=False, seed=0):
    rng = np.random.default_rng(seed)
    factors = np.exp(rng.normal(size=k)).astype(np.float32) if smooth else None
    return PackedLinear.of(rng.normal(size=(n, k)).astype(np.float32), rng.normal(size=n).astype(np.float32), factors)


def by_numpy(one, x):
    x = x if one.smooth is None else x * one.smooth
    scale = np.abs(x).max(axis=1, keepdims=True) / 127
    plain = one.dequantized() if one.smooth is None else one.dequantized() / one.smooth
    return np.rint(x / scale) * scale @ plain.T + one.bias[: one.n]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("n,k", [(1, 1), (16, 4), (17, 5), (64, 768), (37, 44), (768, 96)])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 13, 50])
def test_a_linear_layer_is_numpys_of_the_same_integers(name, n, k, rows):
    x = np.random.default_rng(1).normal(size=(rows, k)).astype(np.float32)
    one = layer(n, k)
    np.testing.assert_allclose(Kernels(LIBRARY, name).linear(one, x), by_numpy(one, x), atol=2e-2 * np.sqrt(k))


@pytest.mark.parametrize("name", HERE)
def test_smoothing_moves_outliers_from_activations_to_weights(name):
    x = np.random.default_rng(1).normal(size=(9, 64)).astype(np.float32)
    one = layer(40, 64, smooth=True)
    np.testing.assert_allclose(Kernels(LIBRARY, name).linear(one, x), by_numpy(one, x), atol=0.5)


@pytest.mark.parametrize("name", HERE)
def test_the_check_at_start_up_passes_here(name):
    assert computes_rightly(Kernels(LIBRARY, name))


def test_the_check_at_start_up_finds_a_wrong_kernel():
    class Wrong(Kernels):
        def linear(self, layer, x):
            return super().linear(layer, x) * 1.1

    assert not computes_rightly(Wrong(LIBRARY, "generic"))


def test_a_layer_comes_back_from_a_file_as_it_was_and_a_damaged_one_is_refused_by_name():
    one = layer(17, 5, smooth=True)
    tensors = one.tensors("up")
    again = PackedLinear.at(tensors, "up")
    np.testing.assert_array_equal(again.dequantized(), one.dequantized())
    for part, wrong in (("weight", tensors["up.weight"][:1]), ("scale", tensors["up.scale"] * np.nan), ("sum", None)):
        with pytest.raises(ValueError, match=f"up.{part}"):
            PackedLinear.at({**tensors, f"up.{part}": wrong}, "up")
