"""Every engine gives transformers' vectors, and the same ones alone and in any batch."""

import json
import shutil
import threading

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
from tests.built import needs_kernels
from tests.families import FAMILIES, ROWS, SIZE, saved, wanted
from topology.encoders import read_meta, space_of
from topology.errors import Misconfigured
from topology.native.kernels import SETS, Team, kernels
from topology.native.tensors import to_bytes

MOST_IN_TEAM = 8  # as team.h has it: who comes after them goes home


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request, tmp_path_factory):
    """(directory, transformers' own model) of each family."""
    folder = tmp_path_factory.mktemp(request.param)
    return folder, saved(request.param, folder)


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
    if model.config.model_type == "albert" or kernels() is None:
        return
    packed_model = load_packed(fused)
    place = tmp_path / "int8.safetensors"
    reach = _reach(packed_model, ROWS)
    place.write_bytes(to_bytes(_tensors(packed_model, reach), {"encoder": json.dumps(_sizes(packed_model))}))
    encoded = Int8Engine(place, fused=read_meta(fused).layers).encode(ROWS)
    cosine = (means * encoded.vectors).sum(1) / np.linalg.norm(means, axis=1) / np.linalg.norm(encoded.vectors, axis=1)
    assert cosine.min() > 0.98
    np.testing.assert_allclose(encoded.data * encoded.scales[:, None], encoded.vectors, atol=0.03)


@pytest.mark.parametrize("layers,named", [("[3]", "names layers \\[3\\], but it has 2"), ("2", "not a JSON map")])
def test_a_layer_that_the_encoder_has_not_is_refused_by_name(encoder, tmp_path, layers, named):
    folder, _ = encoder
    fused = tmp_path / "fused"
    shutil.copytree(folder, fused)
    (fused / "headrace.json").write_text(f'{{"layers": {layers}}}')
    with pytest.raises(Misconfigured, match=named):
        build(fused, "cpu", "float32")


@needs_kernels
def test_int8_vectors_are_close_and_bitwise_the_same_in_any_batch(encoder, tmp_path):
    folder, _ = encoder
    try:
        model = load_packed(folder)
    except Misconfigured:
        return  # no packed form of this family, so no int8 one: tested below
    place = tmp_path / "int8.safetensors"
    place.write_bytes(to_bytes(_tensors(model, _reach(model, ROWS)), {"encoder": json.dumps(_sizes(model))}))
    engine = Int8Engine(place)
    random = np.random.default_rng(0)
    for _ in range(10):
        order = random.permutation(len(ROWS)).tolist()
        encoded = engine.encode([ROWS[i] for i in order])
        for i, (start, end) in zip(order, encoded.spans, strict=True):
            alone = engine.encode([ROWS[i]])
            np.testing.assert_array_equal(encoded.vectors[start:end], alone.vectors)
            np.testing.assert_array_equal(encoded.data[start:end], alone.data)
    exact = build(folder, "cpu", "float32").encode(ROWS).vectors
    found = engine.encode(ROWS).vectors
    cosine = (exact * found).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.98


def helped_by(count):
    """(threads, what calls so many to help and returns when they are about to)."""
    threads, there = [], threading.Semaphore(0)

    def call_for_help(assist):
        def help_it():
            there.release()
            assist()

        threads.extend(threading.Thread(target=help_it, daemon=True) for _ in range(count))
        for thread in threads:
            thread.start()
        assert all(there.acquire(timeout=10) for _ in threads)

    return threads, call_for_help


def all_gone(threads):
    for thread in threads:
        thread.join(10)
    return not any(thread.is_alive() for thread in threads)


@needs_kernels
@pytest.mark.parametrize("name", SETS)
def test_int8_vectors_are_bitwise_the_same_whoever_helps(encoder, tmp_path, name, monkeypatch):
    folder, _ = encoder
    monkeypatch.setenv("HEADRACE_KERNELS", name)
    kernels.cache_clear()
    try:
        model = load_packed(folder)
        place = tmp_path / "int8.safetensors"
        place.write_bytes(to_bytes(_tensors(model, _reach(model, ROWS)), {"encoder": json.dumps(_sizes(model))}))
        engine = Int8Engine(place)
    except Misconfigured:
        return  # no packed form of this family, or no such processor
    finally:
        kernels.cache_clear()
    for rows in (ROWS, [[7]], [list(range(1, 65))] * 3):
        alone = engine.encode(rows)
        for count in (1, 3, MOST_IN_TEAM + 2):
            threads, call_for_help = helped_by(count)
            helped = engine.encode(rows, call_for_help)
            np.testing.assert_array_equal(helped.vectors, alone.vectors)
            np.testing.assert_array_equal(helped.data, alone.data)
            assert len(threads) == count and all_gone(threads)

    def failing(*_):
        raise MemoryError

    threads, call_for_help = helped_by(2)
    monkeypatch.setattr(engine._kernels, "encode", failing)
    with pytest.raises(MemoryError):
        engine.encode(ROWS, call_for_help)
    assert all_gone(threads)  # a call that fails before it begins keeps no helper


@needs_kernels
def test_who_comes_to_help_too_late_leaves_at_once():
    team = Team()
    team.over = 1
    kernels().assist(team)
    assert team.helpers == 1


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
    model = load_packed(tmp_path)
    place = tmp_path / "int8.safetensors"
    place.write_bytes(to_bytes(_tensors(model, _reach(model, ROWS)), {"encoder": json.dumps(_sizes(model))}))
    with pytest.raises(Misconfigured, match=named):
        Int8Engine(place)
