"""Every engine gives transformers' vectors, and the same ones alone and in any batch."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from transformers import BertConfig, BertModel

from encoder_worker.int8 import Int8Engine
from encoder_worker.load import build
from encoder_worker.model import load_packed
from encoder_worker.quantize import _reach, _sizes, _tensors
from encoder_worker.torch_engine import TorchEngine
from tests.built import HERE, needs_kernels
from tests.families import FAMILIES, ROWS, SIZE, saved, wanted
from topology.encoders import read_meta, space_of
from topology.errors import Misconfigured
from topology.native.kernels import kernels
from topology.native.tensors import to_bytes

PACKED = [family for family in FAMILIES if family != "albert"]  # which has no packed form, so no int8 one


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request, tmp_path_factory):
    """(directory, transformers' own model) of each family."""
    folder = tmp_path_factory.mktemp(request.param)
    return folder, saved(request.param, folder)


def int8_form(folder, place):
    """The int8 form of an encoder directory, at `place`."""
    model = load_packed(folder)
    place.write_bytes(to_bytes(_tensors(model, _reach(model, ROWS)), {"encoder": json.dumps(_sizes(model))}))
    return place


@pytest.fixture(scope="module", params=PACKED)
def quantized(request, tmp_path_factory):
    """(directory, the place of its int8 form) of each family that has one."""
    folder = tmp_path_factory.mktemp(request.param)
    saved(request.param, folder)
    return folder, int8_form(folder, folder / "int8.safetensors")


def test_packed_rows_give_what_transformers_gives(encoder):
    folder, model = encoder
    encoded = build(folder, "cpu", "float32").encode(ROWS)
    for row, (start, end) in zip(ROWS, encoded.spans, strict=True):
        np.testing.assert_allclose(encoded.vectors[start:end], wanted(model, row), atol=1e-4)
    np.testing.assert_allclose(encoded.data * encoded.scales[:, None], encoded.vectors, atol=0.03)


def test_named_layers_are_averaged_in_every_engine_and_make_another_space(encoder, tmp_path):
    folder, model = encoder
    fused = tmp_path / "fused"
    shutil.copytree(folder, fused)
    (fused / "headrace.json").write_text('{"layers": [2, 1]}')
    assert space_of(fused, 40) != space_of(folder, 40)
    with torch.inference_mode():
        given = [model(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states for row in ROWS]
    means = np.concatenate([((states[1] + states[2]) / 2)[0].numpy() for states in given])
    np.testing.assert_allclose(build(fused, "cpu", "float32").encode(ROWS).vectors, means, atol=1e-4)


@needs_kernels
def test_named_layers_are_averaged_in_int8_too(quantized, tmp_path):
    folder, _ = quantized
    fused = tmp_path / "fused"
    shutil.copytree(folder, fused)
    (fused / "headrace.json").write_text('{"layers": [2, 1]}')
    exact = build(fused, "cpu", "float32").encode(ROWS).vectors
    encoded = Int8Engine(int8_form(fused, tmp_path / "fused.safetensors"), read_meta(fused).layers).encode(ROWS)
    assert cosines(exact, encoded.vectors).min() > 0.98
    np.testing.assert_allclose(encoded.data * encoded.scales[:, None], encoded.vectors, atol=0.03)


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("layers,named", [("[3]", "names layers \\[3\\], but it has 2"), ("2", "not a JSON map")])
def test_a_layer_that_the_encoder_has_not_is_refused_by_name(encoder, tmp_path, layers, named):
    folder, _ = encoder
    fused = tmp_path / "fused"
    shutil.copytree(folder, fused)
    (fused / "headrace.json").write_text(f'{{"layers": {layers}}}')
    with pytest.raises(Misconfigured, match=named):
        build(fused, "cpu", "float32")


@needs_kernels
def test_int8_vectors_are_close_to_float32(quantized):
    folder, place = quantized
    exact = build(folder, "cpu", "float32").encode(ROWS).vectors
    assert cosines(exact, Int8Engine(place).encode(ROWS).vectors).min() > 0.98


@needs_kernels
@pytest.mark.parametrize("name", HERE)
def test_int8_vectors_are_bitwise_the_same_alone_and_in_any_batch(quantized, name, monkeypatch):
    monkeypatch.setenv("HEADRACE_KERNELS", name)
    kernels.cache_clear()
    try:
        engine = Int8Engine(quantized[1])
    finally:
        kernels.cache_clear()
    random = np.random.default_rng(0)
    for _ in range(10):
        order = random.permutation(len(ROWS)).tolist()
        encoded = engine.encode([ROWS[i] for i in order])
        for i, (start, end) in zip(order, encoded.spans, strict=True):
            alone = engine.encode([ROWS[i]])
            np.testing.assert_array_equal(encoded.vectors[start:end], alone.vectors)
            np.testing.assert_array_equal(encoded.data[start:end], alone.data)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_torch_vectors_do_not_depend_on_batch_mates(encoder, precision):
    folder, _ = encoder
    engine = TorchEngine(folder, "cpu", precision)
    together = engine.encode(ROWS)
    for row, (start, end) in zip(ROWS, together.spans, strict=True):
        alone = engine.encode([row]).vectors
        cosine = (together.vectors[start:end] * alone).sum(1) / np.linalg.norm(alone, axis=1) ** 2
        assert np.abs(cosine - 1).max() < (1e-5 if precision == "float32" else 2e-2)


def test_a_family_without_a_packed_form_is_refused_by_name_in_int8(tmp_path):
    FAMILIES["albert"]().save_pretrained(tmp_path)
    with pytest.raises(Misconfigured, match="albert"):
        load_packed(tmp_path)


def test_a_checkpoint_without_all_of_its_weights_is_refused_by_their_names(tmp_path):
    BertModel(BertConfig(**{**SIZE, "num_hidden_layers": 1})).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **SIZE}))
    with pytest.raises(Misconfigured, match=r"lacks 16 of the encoder's weights \(encoder\.layer\.1\."):
        build(tmp_path, "cpu", "float32")


@needs_kernels
@pytest.mark.parametrize("sizes,named", [
    ({"hidden_size": 32, "num_attention_heads": 4}, "an attention head is 8"),
    ({"hidden_size": 40, "num_attention_heads": 1}, "vectors is 40"),
])
def test_widths_that_the_kernels_do_not_take_are_refused_by_name(tmp_path, sizes, named):
    BertModel(BertConfig(**{**SIZE, **sizes})).save_pretrained(tmp_path)
    place = int8_form(tmp_path, tmp_path / "int8.safetensors")
    with pytest.raises(Misconfigured, match=named):
        Int8Engine(place)
