"""torch's engine: on a GPU, and its kernels by Triton's interpreter where there is none."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from transformers import BertConfig, BertModel

from encoder_worker.model import PackedEncoder
from encoder_worker.packed import packed
from encoder_worker.torch_engine import RECORDED, STEPS, TorchEngine, bucket, sizes, wire_form
from tests.families import FAMILIES, ROWS, SIZE, saved, wanted
from topology.errors import Unavailable


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request, tmp_path_factory):
    """(directory, transformers' own model) of each family."""
    folder = tmp_path_factory.mktemp(request.param)
    return folder, saved(request.param, folder)


def fused_engine(folder):
    """The engine with the fused kernels, on the GPU; where there is none, by Triton's interpreter (conftest.py)."""
    fused_encoder = pytest.importorskip("encoder_worker.fused", reason="left out: this build of torch has no Triton")
    engine = TorchEngine(folder, "auto", "float32")
    if not engine.on_gpu and isinstance(engine._model, PackedEncoder):
        engine._fused = fused_encoder.FusedEncoder(engine._model)
    assert (engine._fused is not None) == isinstance(engine._model, PackedEncoder)
    return engine


def test_fused_kernels_give_what_transformers_gives_in_any_batch(encoder):
    folder, model = encoder
    engine = fused_engine(folder)
    many = [*ROWS, [3] * 40, [4] * 30]  # rows that begin in one tile and end in the next
    for rows in (ROWS[2:3], many):
        encoded = engine.encode(rows)
        for row, (start, end) in zip(rows, encoded.spans, strict=True):
            np.testing.assert_allclose(encoded.vectors[start:end], wanted(model, row), atol=1e-3)
        for data, scales in ((encoded.data, encoded.scales), wire_of(engine, rows)):
            np.testing.assert_allclose(data * scales[:, None], encoded.vectors, atol=0.03)


def test_fused_kernels_take_widths_that_are_no_powers_of_two(tmp_path):
    torch.manual_seed(0)
    model = BertModel(BertConfig(**{**SIZE, "hidden_size": 48, "intermediate_size": 96})).eval()
    model.save_pretrained(tmp_path)
    engine = fused_engine(tmp_path)
    for row in ROWS[:3]:
        np.testing.assert_allclose(engine.encode([row]).vectors, wanted(model, row), atol=1e-3)


def test_a_full_device_gets_half_the_batch_until_it_has_room(tmp_path, monkeypatch):
    folder, model = tmp_path, saved("bert", tmp_path)
    engine = TorchEngine(folder, "cpu", "float32")
    whole, fits = engine._encode, 2
    tried = []

    def full(rows):
        tried.append(len(rows))
        if len(rows) > fits:
            raise torch.OutOfMemoryError("full")
        return whole(rows)

    monkeypatch.setattr(engine, "_encode", full)
    encoded = engine.encode(ROWS)
    assert tried == [5, 2, 3, 1, 2]
    for row, (start, end) in zip(ROWS, encoded.spans, strict=True):
        np.testing.assert_allclose(encoded.vectors[start:end], wanted(model, row), atol=1e-4)
    fits = 0
    with pytest.raises(Unavailable, match="no room for one row of 3 tokens"):
        engine.encode(ROWS)


def test_a_broken_gpu_ends_the_worker_and_refuses_no_record(tmp_path, monkeypatch):
    saved("bert", tmp_path)
    engine = TorchEngine(tmp_path, "cpu", "float32")

    def broken(rows):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(engine, "_encode", broken)
    with pytest.raises(Unavailable, match="illegal memory access"):
        engine.encode(ROWS)


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:All-NaN")  # of numpy, which interprets
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "albert"])  # those with fused kernels
def test_vectors_that_are_not_finite_are_told_by_their_scales(family, tmp_path):
    saved(family, tmp_path)
    engine = fused_engine(tmp_path)
    engine._model.word.weight.data[50] = float("inf")
    rows = [[5, 6, 7], [50, 8]]
    encoded = engine.encode(rows)
    for scales in (encoded.scales, wire_of(engine, rows)[1]):
        assert not np.isfinite(scales[slice(*encoded.spans[1])]).any()
    assert np.isfinite(engine.encode(rows[:1]).scales).all()


def wire_of(engine, rows):
    """int8 and scales of the rows, without a graph."""
    batch = packed(rows, engine._model.first_position)
    with torch.inference_mode():
        outputs = wire_form(engine._vectors(engine._inputs(batch)))
        if engine._fused is not None:
            outputs = engine._fused.wire(engine._inputs(batch)[0].to(engine._device))
    return tuple(t[: len(batch.ids)].cpu().numpy() for t in outputs)


def test_a_batch_takes_the_smallest_graph_that_has_room():
    graphs = sizes()
    assert len(graphs) < 120
    for tokens in range(1, RECORDED + 1):
        size = bucket(tokens)
        assert size in graphs
        assert tokens <= size < tokens + max(STEPS, tokens / STEPS)
    assert bucket(RECORDED + 1) == RECORDED + RECORDED // STEPS
