"""The parts of a layer that a GPU does in one go: kernels in Triton over packed rows, and cuBLASLt's GELU.

For rows of 15 tokens torch's attentions compute a tile of 64 or 128 queries for each row; with these kernels a batch
takes half the time (docs/decisions/0014-gpu.md). Triton comes with torch for CUDA; it compiles them at the first call,
for which a C compiler must be there.

A value that is not finite spoils the vectors of all rows that share a tile with its own. Their scales then are not
finite either, and whoever called tries smaller batches (`EncoderWorker`, `Loop`).
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F
from triton import language as tl

from encoder_worker.model import PackedEncoder

QUERIES, KEYS = 64, 32  # of one tile: the best of those tried on an H200 for 15 tokens and for the mix
LOG2_E = tl.constexpr(1.4426950408889634)
NARROWEST = 16  # what a matrix unit takes


class Fused:
    """`Arithmetic` of packed rows on a GPU: no padding, so a batch's shape is its number of tokens.

    starts, ends: int32[tokens], of each token's row; relative: float32[heads, 2 * reach + 1] or None, what is added to
    the score of a key by its place minus its query's, -reach to reach (MPNet).
    """

    def __init__(self, starts: Tensor, ends: Tensor, relative: Tensor | None = None) -> None:
        self._starts, self._ends, self._relative = starts, ends, relative

    def attend(self, qkv: Tensor, heads: int) -> Tensor:
        """As `Arithmetic.attend`. The softmax runs along with the keys (Dao et al. 2022), a tile of queries at a time,
        over the keys of all rows that have a token in it."""
        tokens, hidden = qkv.shape[0], qkv.shape[1] // 3
        width = hidden // heads
        mixed = qkv.new_empty(tokens, hidden)
        has_relative = self._relative is not None
        reach = self._relative.shape[1] // 2 if self._relative is not None else 0
        _attend[(triton.cdiv(tokens, QUERIES), heads)](
            qkv, mixed, self._starts, self._ends, self._relative, tokens, width**-0.5 * LOG2_E.value, reach,
            hidden, width, max(NARROWEST, triton.next_power_of_2(width)), QUERIES, KEYS, has_relative, num_stages=3,
        )
        return mixed

    def add_norm(self, x: Tensor, y: Tensor, norm: nn.LayerNorm) -> Tensor:
        """As `Arithmetic.add_norm`."""
        tokens, hidden = x.shape
        normed = torch.empty_like(x)
        _add_norm[(tokens,)](x, y, norm.weight, norm.bias, normed, hidden, norm.eps, triton.next_power_of_2(hidden))
        return normed

    def gelu(self, x: Tensor, linear: nn.Linear) -> Tensor:
        """As `Arithmetic.gelu`. In half precision on CUDA by its tanh approximation (Hendrycks, Gimpel 2016), at most
        4e-4 off: within that precision's own rounding."""
        if x.dtype == torch.float32:
            return F.gelu(linear(x))
        return torch._addmm_activation(linear.bias, x, linear.weight.t(), use_gelu=True)


class FusedEncoder:
    """A packed encoder by these kernels. Its `inputs` are int32[4, tokens]: ids, positions, and the start and end
    (exclusive) of each token's row."""

    def __init__(self, model: PackedEncoder) -> None:
        self._model, self._relative = model, model.relative_scores()

    def vectors(self, inputs: Tensor) -> Tensor:
        """float[tokens, hidden]."""
        ids, positions, starts, ends = inputs
        return self._model.through(ids, positions, Fused(starts, ends, self._relative))

    def wire(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors in the wire's form: int8[tokens, hidden], float32[tokens]."""
        vectors = self.vectors(inputs)
        tokens, hidden = vectors.shape
        data = vectors.new_empty(vectors.shape, dtype=torch.int8)
        scales = vectors.new_empty(tokens, dtype=torch.float32)
        _wire_form[(tokens,)](vectors, data, scales, hidden, triton.next_power_of_2(hidden))
        return data, scales


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]  # Triton compiles annotations too
    qkv, mixed, starts, ends, relative, tokens, scale, reach, hidden: tl.constexpr, width: tl.constexpr,
    padded: tl.constexpr, queries: tl.constexpr, keys: tl.constexpr, has_relative: tl.constexpr,
):
    first, head = tl.program_id(0) * queries, tl.program_id(1)
    query = first + tl.arange(0, queries)
    real = query < tokens
    begin = tl.load(starts + query, mask=real, other=0)[:, None]
    end = tl.load(ends + query, mask=real, other=0)[:, None]
    lowest = tl.load(starts + first)
    highest = tl.load(ends + tl.minimum(first + queries, tokens) - 1)
    wide = tl.arange(0, padded)
    used = wide < width
    column = head * width + wide[None, :]
    step = tl.arange(0, queries)[:, None] * hidden
    row, stored = first.to(tl.int64), real[:, None] & used[None, :]  # int32 counts no values of a million tokens
    q = tl.load(qkv + row * (3 * hidden) + 3 * step + column, mask=stored, other=0.0)
    others = qkv + lowest.to(tl.int64) * (3 * hidden)
    best, total = tl.full([queries], -1e30, tl.float32), tl.zeros([queries], tl.float32)
    summed = tl.zeros([queries, padded], tl.float32)
    for at in range(lowest, highest, keys):
        key = at + tl.arange(0, keys)
        there = key < highest
        place = others + (key - lowest)[:, None] * (3 * hidden) + column
        k = tl.load(place + hidden, mask=there[:, None] & used[None, :], other=0.0)
        score = tl.dot(q, k.T, input_precision="ieee") * scale
        own = (key[None, :] >= begin) & (key[None, :] < end)
        if has_relative:
            apart = relative + head * (2 * reach + 1) + key[None, :] - query[:, None] + reach
            score += tl.load(apart, mask=own, other=0.0) * LOG2_E
        # What a query adds before its first own key is wiped out there, where fade is 0.
        score = tl.where(own, score, -1e30)
        better = tl.maximum(best, tl.max(score, 1))
        share, fade = tl.exp2(score - better[:, None]), tl.exp2(best - better)
        v = tl.load(place + 2 * hidden, mask=there[:, None] & used[None, :], other=0.0)
        summed = summed * fade[:, None] + tl.dot(share.to(v.dtype), v, input_precision="ieee")
        total = total * fade + tl.sum(share, 1)
        best = better
    place = mixed + row * hidden + step + column
    tl.store(place, (summed / total[:, None]).to(mixed.dtype.element_ty), mask=stored)


@triton.jit  # type: ignore[untyped-decorator]
def _add_norm(x, y, weight, bias, normed, hidden, eps, padded: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64) * hidden
    at = tl.arange(0, padded)
    real = at < hidden
    both = tl.load(x + row + at, mask=real, other=0.0).to(tl.float32)
    both += tl.load(y + row + at, mask=real, other=0.0).to(tl.float32)
    off = tl.where(real, both - tl.sum(both, 0) / hidden, 0.0)
    shrink = tl.rsqrt(tl.sum(off * off, 0) / hidden + eps)
    w = tl.load(weight + at, mask=real, other=0.0).to(tl.float32)
    b = tl.load(bias + at, mask=real, other=0.0).to(tl.float32)
    tl.store(normed + row + at, (off * shrink * w + b).to(normed.dtype.element_ty), mask=real)


@triton.jit  # type: ignore[untyped-decorator]
def _wire_form(vectors, data, scales, hidden, padded: tl.constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(0)
    row = token.to(tl.int64) * hidden
    at = tl.arange(0, padded)
    real = at < hidden
    x = tl.load(vectors + row + at, mask=real, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(x), 0) / 127.0, 1e-12) + tl.sum(x - x, 0)  # not finite where a value is not
    tl.store(scales + token, scale)
    tl.store(data + row + at, tl.floor(x / scale + 0.5).to(tl.int8), mask=real)
