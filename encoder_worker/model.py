"""The encoder as one torch module over packed rows: BERT, DistilBERT, MPNet and XLM-R families.

The same module runs on a CPU and on CUDA, and gives the weights that the int8 kernels are made from, so that all
engines compute one function. Post-LN transformer encoder: Vaswani et al. 2017; relative attention buckets (MPNet):
Raffel et al. 2020.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from topology.encoders import fused_layers, read_meta
from topology.errors import Misconfigured

FAMILIES = ("bert", "distilbert", "mpnet", "xlm-roberta", "roberta")


class Arithmetic(Protocol):
    """The parts of a layer that a device may do in its own way. `Plain` has torch's, `fused.py` a GPU's."""

    def attend(self, qkv: Tensor, heads: int) -> Tensor:
        """Self-attention within each row: float[tokens, 3 * hidden] (queries, keys, values) → float[tokens, hidden]."""
        ...

    def add_norm(self, x: Tensor, y: Tensor, norm: nn.LayerNorm) -> Tensor:
        """The norm of x + y."""
        ...

    def gelu(self, x: Tensor, linear: nn.Linear) -> Tensor:
        """GELU of what the linear layer gives."""
        ...


class Plain:
    """`Arithmetic` of any device: attention over a rectangle, see `Packed.padded`; bias: float[rows or 1, heads or
    1, longest or 1, longest] is added to the scores."""

    def __init__(self, gather: Tensor, scatter: Tensor, bias: Tensor) -> None:
        self._gather, self._scatter, self._bias = gather, scatter, bias

    def attend(self, qkv: Tensor, heads: int) -> Tensor:
        """As `Arithmetic.attend`, by torch's scaled_dot_product_attention."""
        (rows, longest), hidden = self._gather.shape, qkv.shape[1] // 3
        rectangle = F.embedding(self._gather.reshape(-1), qkv)
        parts = rectangle.reshape(rows, longest, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=self._bias)
        return F.embedding(self._scatter, mixed.transpose(1, 2).reshape(rows * longest, hidden))

    def add_norm(self, x: Tensor, y: Tensor, norm: nn.LayerNorm) -> Tensor:
        """As `Arithmetic.add_norm`."""
        normed: Tensor = norm(x + y)
        return normed

    def gelu(self, x: Tensor, linear: nn.Linear) -> Tensor:
        """As `Arithmetic.gelu`, exact."""
        return F.gelu(linear(x))


class Layer(nn.Module):
    """One post-LN transformer layer over packed tokens."""

    def __init__(self, hidden: int, ffn: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, ffn), nn.Linear(ffn, hidden)
        self.norm1, self.norm2 = nn.LayerNorm(hidden, eps), nn.LayerNorm(hidden, eps)

    def forward(self, x: Tensor, by: Arithmetic) -> Tensor:
        """float[tokens, hidden] → the same."""
        x = by.add_norm(x, self.out(by.attend(self.qkv(x), self.heads)), self.norm1)
        return by.add_norm(x, self.down(by.gelu(x, self.up)), self.norm2)


class PackedEncoder(nn.Module):
    """ids to token vectors, float[tokens, hidden]."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.family = family_of(config)
        hidden, layers, heads, ffn = _sizes(config)
        eps = 1e-12 if self.family == "distilbert" else float(config.layer_norm_eps)
        self.hidden, self.heads = hidden, heads
        self.first_position = int(config.pad_token_id) + 1 if self.family in ("mpnet", "xlm-roberta", "roberta") else 0
        self.word = nn.Embedding(int(config.vocab_size), hidden)
        self.place = nn.Embedding(int(config.max_position_embeddings), hidden)
        self.norm = nn.LayerNorm(hidden, eps)
        self.layers = nn.ModuleList(Layer(hidden, ffn, heads, eps) for _ in range(layers))
        buckets = int(getattr(config, "relative_attention_num_buckets", 0)) if self.family == "mpnet" else 0
        self.relative = nn.Embedding(buckets, heads) if buckets else None
        self.fused: frozenset[int] = frozenset({layers})

    @property
    def max_row_tokens(self) -> int:
        """The longest row the position table holds."""
        return self.place.num_embeddings - self.first_position

    def forward(self, ids: Tensor, positions: Tensor, gather: Tensor, scatter: Tensor, mask: Tensor) -> Tensor:
        """float[tokens, hidden]; the arguments are what `Packed.padded` gives."""
        bias = mask.to(self.norm.weight.dtype)
        if self.relative is not None:
            at = torch.arange(gather.shape[1], device=ids.device)
            bias = bias + self._relative_to(at[None, :] - at[:, None]).permute(2, 0, 1)[None]
        return self.through(ids, positions, Plain(gather, scatter, bias))

    def through(self, ids: Tensor, positions: Tensor, by: Arithmetic) -> Tensor:
        """float[tokens, hidden] of int[tokens]."""
        x = by.add_norm(self.word(ids), self.place(positions), self.norm)
        given: list[Tensor] = []
        for number, layer in enumerate(self.layers, 1):
            x = layer(x, by)
            if number in self.fused:
                given.append(x)
        return given[0] if len(given) == 1 else torch.stack(given).mean(0)

    def relative_scores(self) -> Tensor | None:
        """float32[heads, 2 * max_row_tokens - 1]: what is added to the score of a key by its distance from the query,
        the farthest before it first. None where the encoder has no such table."""
        if self.relative is None:
            return None
        limit, device = self.max_row_tokens, self.relative.weight.device
        return self._relative_to(torch.arange(1 - limit, limit, device=device)).float().T.contiguous()

    def _relative_to(self, distance: Tensor) -> Tensor:
        assert self.relative is not None
        scores: Tensor = self.relative(bucket_of(distance, self.relative.num_embeddings))
        return scores


def bucket_of(distance: Tensor, buckets: int) -> Tensor:
    """The relative-attention bucket of key position minus query position, int64, as MPNet and T5 have them."""
    half = buckets // 2
    exact = half // 2
    size = distance.abs()
    far = exact + (torch.log(size.clamp(min=1).float() / exact) / math.log(128 / exact) * (half - exact)).long()
    return torch.where(size < exact, size, far.clamp(max=half - 1)) + (distance > 0).long() * half


def family_of(config: Any) -> str:
    """The model family, of FAMILIES. Raises: Misconfigured for what this module does not compute."""
    family = str(config.model_type)
    act = str(getattr(config, "hidden_act", getattr(config, "activation", "gelu")))
    kind = str(getattr(config, "position_embedding_type", None) or "absolute")
    if family not in FAMILIES or act != "gelu" or kind != "absolute":
        raise Misconfigured(
            f"an encoder of type {family!r} (activation {act}, positions {kind}); known: {', '.join(FAMILIES)} with "
            "gelu and absolute positions"
        )
    return family


def _sizes(config: Any) -> tuple[int, int, int, int]:
    """(hidden, layers, attention heads, feed-forward width)."""
    if config.model_type == "distilbert":
        return int(config.dim), int(config.n_layers), int(config.n_heads), int(config.hidden_dim)
    return (
        int(config.hidden_size), int(config.num_hidden_layers), int(config.num_attention_heads),
        int(config.intermediate_size),
    )


_NAMES = {  # family: our part of a layer → the names in a checkpoint
    "bert": {
        "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
        "out": ("attention.output.dense",), "norm1": ("attention.output.LayerNorm",),
        "up": ("intermediate.dense",), "down": ("output.dense",), "norm2": ("output.LayerNorm",),
    },
    "mpnet": {
        "qkv": ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        "out": ("attention.attn.o",), "norm1": ("attention.LayerNorm",),
        "up": ("intermediate.dense",), "down": ("output.dense",), "norm2": ("output.LayerNorm",),
    },
    "distilbert": {
        "qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "out": ("attention.out_lin",), "norm1": ("sa_layer_norm",),
        "up": ("ffn.lin1",), "down": ("ffn.lin2",), "norm2": ("output_layer_norm",),
    },
}


def load_packed(directory: Path) -> PackedEncoder:
    """The float32 encoder of a Hugging Face directory, in evaluation mode.

    Raises: Misconfigured where transformers cannot read it or the family is not one of FAMILIES.
    """
    config, model = _loaded(directory)
    found = from_state(config, model.state_dict())
    found.fused = fused_layers(read_meta(directory).layers, len(found.layers))
    return found


def load_any(directory: Path) -> PackedEncoder | PaddedEncoder:
    """As `load_packed`, and any other encoder that transformers knows, in its own padded form."""
    config, model = _loaded(directory)
    known = str(config.model_type) in FAMILIES
    found = from_state(config, model.state_dict()) if known else PaddedEncoder(config, model).eval()
    count = _sizes(config)[1] if known else int(config.num_hidden_layers)
    found.fused = fused_layers(read_meta(directory).layers, count)
    return found


def _loaded(directory: Path) -> tuple[Any, Any]:
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # its report of missing weights: what counts of it is raised here
    try:
        config = AutoConfig.from_pretrained(str(directory))
        model, report = AutoModel.from_pretrained(str(directory), dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{directory}: transformers cannot load an encoder from it: {error}") from error
    # A pooler is no part of token vectors, and many checkpoints have none.
    if missing := sorted(name for name in report["missing_keys"] if "pooler" not in name):
        raise Misconfigured(
            f"{directory}: its checkpoint lacks {len(missing)} of the encoder's weights ({', '.join(missing[:3])}, "
            "...): is it of another model than config.json says, or of a part of it?"
        )
    return config, model


class PaddedEncoder(nn.Module):
    """An encoder of another family behind the packed form: its rows are padded, which costs what padding costs."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__()
        self.model, self.hidden = model, int(config.hidden_size)
        self.first_position, self.fused = 0, frozenset({int(config.num_hidden_layers)})

    def forward(self, ids: Tensor, positions: Tensor, gather: Tensor, scatter: Tensor, mask: Tensor) -> Tensor:
        """As `PackedEncoder.forward`."""
        attended = (mask[:, 0, 0] == 0).long()
        given = self.model(input_ids=ids[gather], attention_mask=attended, output_hidden_states=True).hidden_states
        y: Tensor = torch.stack([given[number] for number in sorted(self.fused)]).mean(0).flatten(0, 1)[scatter]
        return y


def from_state(config: Any, source: dict[str, Tensor]) -> PackedEncoder:
    """The packed form of a transformers model's weights."""
    family = family_of(config)
    encoder = PackedEncoder(config)
    names = _NAMES.get(family, _NAMES["bert"])
    stem = "transformer.layer" if family == "distilbert" else "encoder.layer"
    wanted: dict[str, Tensor] = {
        "norm.weight": source["embeddings.LayerNorm.weight"], "norm.bias": source["embeddings.LayerNorm.bias"],
        "word.weight": source["embeddings.word_embeddings.weight"],
        "place.weight": source["embeddings.position_embeddings.weight"],
    }
    if (types := source.get("embeddings.token_type_embeddings.weight")) is not None:
        wanted["place.weight"] = wanted["place.weight"] + types[0]  # a single text: every token has type 0
    if encoder.relative is not None:
        wanted["relative.weight"] = source["encoder.relative_attention_bias.weight"]
    for number in range(len(encoder.layers)):
        for ours, theirs in names.items():
            for kind in ("weight", "bias"):
                wanted[f"layers.{number}.{ours}.{kind}"] = torch.cat(
                    [source[f"{stem}.{number}.{name}.{kind}"] for name in theirs]
                )
    encoder.load_state_dict(wanted)
    return encoder.eval()
