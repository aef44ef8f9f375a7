"""Encoder and heads of the reference shape, with random weights: made on the spot, no hub and no download.

The reference: an encoder of 6 layers, 768 wide, 57 M parameters (227 MB float32, 58 MB int8); a head of one layer
768/3072 with a pooler, 64 intents and 64 tags (36 MB float32, 10 MB int8).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import BertWordPieceTokenizer

from topology.encoders import META, cache_dir
from topology.heads import HeadManifest

LAYERS, HIDDEN, FFN, ATTENTION_HEADS, WORDS, POSITIONS = 6, 768, 3_072, 12, 18_000, 512
INTENTS, LABELS = 64, 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNIFORM_TOKENS = 15
OUTSIDE = 2.0  # added to the tag O: two of 15 tokens begin or continue an entity, as in ATIS


def words() -> list[str]:
    """WORDS different words, each one token of the reference encoder, as long as English words are."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    source = random.Random(0)
    found: dict[str, None] = {}
    while len(found) < WORDS:
        found["".join(source.choice(letters) for _ in range(source.randint(3, 7)))] = None
    return list(found)


def encoder_directory() -> Path:
    """A Hugging Face directory of the reference encoder, made at the first call (10 s)."""
    place = cache_dir() / "bench" / "reference-encoder"
    if (place / META).is_file():
        return place
    import torch  # here: the client side of a benchmark needs none
    from transformers import BertConfig, BertModel

    place.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=WORDS + len(SPECIAL), hidden_size=HIDDEN, num_hidden_layers=LAYERS, intermediate_size=FFN,
        num_attention_heads=ATTENTION_HEADS, max_position_embeddings=POSITIONS,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(place)
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *words()])}
    tokenizer = BertWordPieceTokenizer(vocab=vocabulary)
    tokenizer.save(str(place / "tokenizer.json"))
    (place / META).write_text(json.dumps({"name": "reference-encoder", "prefix": ""}))
    return place


def head_manifest_and_weights(seed: int, size: str = "standard") -> tuple[HeadManifest, dict[str, NDArray[np.float32]]]:
    """A random head of the reference encoder: (manifest without a tenant or space yet, float32 weights)."""
    import torch  # here: Triton's own environment reads this file, and has none

    from infra.training.model import SIZES, HeadModel  # here: it imports torch

    torch.manual_seed(seed)
    shape = SIZES[size]
    tags = ("O", *(f"{kind}-label{i}" for i in range(LABELS) for kind in "BI")) if shape.layer else ("O",)
    model = HeadModel(HIDDEN, INTENTS, len(tags), shape)
    manifest = HeadManifest(
        "tenant", "ring", "v1", "space", HIDDEN, tuple(f"intent{i}" for i in range(INTENTS)), tags, "unwritten",
        attention_heads=shape.heads,
    )
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    if "tag.bias" in weights:
        weights["tag.bias"][0] += OUTSIDE  # random tags would put an entity in every word
    return manifest, weights


def write_heads(
    store: Path, ring: str, tenants: Sequence[str], space: str, size: str = "standard", distinct: int = 1_000
) -> list[HeadManifest]:
    """A head for each tenant in a head store. Returns the manifests.

    The first `distinct` files differ in their bytes; those of later tenants are other names (links) of the same ones,
    because ten thousand of 8.5 MB are more than a small machine's disk holds.
    """
    # Here, not above: Triton's own environment reads this file and makes no heads, whose kernels it does not have.
    from head_worker.float32 import Float32Head
    from head_worker.int8 import tensors_of
    from topology.native.tensors import to_bytes

    made: list[HeadManifest] = []
    manifest, weights = head_manifest_and_weights(0, size)
    tensors = tensors_of(Float32Head(manifest, weights))
    for number, tenant in enumerate(tenants):
        folder = store / ring / tenant / "v1"
        if (folder / "head.json").is_file():
            found = HeadManifest.from_json((folder / "head.json").read_text())
            if found.space == space:
                made.append(found)
                continue
        folder.mkdir(parents=True, exist_ok=True)
        whose = replace(manifest, tenant=tenant, ring=ring, space=space, precision="int8")
        (folder / "head.safetensors").unlink(missing_ok=True)
        if number < distinct:
            own = {**tensors, "intent.bias": tensors["intent.bias"] + np.float32(number) * np.float32(1e-4)}
            body = to_bytes(own)
            made.append(replace(whose, sha256=hashlib.sha256(body).hexdigest()))
            (folder / "head.safetensors").write_bytes(body)
        else:
            twin = number % distinct
            os.link(store / ring / tenants[twin] / "v1" / "head.safetensors", folder / "head.safetensors")
            made.append(replace(whose, sha256=made[twin].sha256))
        (folder / "head.json").write_text(made[-1].to_json())
    return made
