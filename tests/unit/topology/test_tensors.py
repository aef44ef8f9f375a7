import numpy as np
import pytest
from safetensors.numpy import load

from topology.native.tensors import ALIGNMENT, open_mapped, to_bytes

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones((3, 64), np.int8), "c": np.array([1], np.int32)
}


def test_a_file_is_safetensors_aligned_and_maps_back(tmp_path):
    place = tmp_path / "x.safetensors"
    place.write_bytes(to_bytes(TENSORS, {"about": "test"}))
    assert set(load(place.read_bytes())) == set(TENSORS)
    tensors, metadata, _ = open_mapped(place)
    assert metadata == {"about": "test"}
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array)
    assert tensors["b"].ctypes.data % ALIGNMENT == 0
    with pytest.raises(ValueError):
        tensors["a"][0, 0] = 1


@pytest.mark.parametrize("hurt", [
    lambda body: body[:-7], lambda body: b"\xff" * 8 + body[8:], lambda body: body[:9], lambda body: b"",
    lambda body: body.replace(b"[2,3]", b"[9,3]"), lambda body: body.replace(b'"F32"', b'"F99"'),
])
def test_a_damaged_file_is_refused(tmp_path, hurt):
    place = tmp_path / "x.safetensors"
    place.write_bytes(hurt(to_bytes(TENSORS)))
    with pytest.raises(ValueError):
        open_mapped(place)
