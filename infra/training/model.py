"""The head that learns: the twin in torch of `head_worker.float32.Float32Head`, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Size:
    """What a head is made of. `width` 0: the encoder's own. `pool`: the pooled vector's own layer, 0 for none.

    Without `layer` a head has no transformer layer and no entities.
    """

    width: int = 256
    ffn: int = 512
    heads: int = 4
    pool: int = 0
    layer: bool = True
    dropout: float = 0.2


SIZES = {
    "small": Size(width=0, pool=256, layer=False),
    "compact": Size(),
    "standard": Size(width=0, ffn=3072, heads=12, pool=768),
}


class Dropout(nn.Module):
    """Drops a share of numbers, those of a row's every token alike (Srivastava et al. 2014; Gal and Ghahramani 2016).

    Torch's own draws a float for every token's, which is a fifth of a training step, and from a source that all threads
    share.
    """

    def __init__(self, share: float, chance: np.random.Generator) -> None:
        super().__init__()
        self._below, self._chance = round(256 * share), chance

    def forward(self, x: Tensor) -> Tensor:
        """Of `x`'s shape and dtype; `x` itself where the model does not learn."""
        if not self.training or not self._below:
            return x
        drawn = self._chance.integers(0, 256, (len(x), *[1] * (x.dim() - 2), x.shape[-1]), np.uint8)
        kept = torch.from_numpy(drawn) >= self._below
        return x * (kept * (256 / (256 - self._below))).to(x.dtype)


class HeadModel(nn.Module):
    """float32[rows, tokens, hidden] and bool[rows, tokens] in; intent and tag logits out."""

    def __init__(self, hidden: int, intents: int, tags: int, size: Size = SIZES["compact"], seed: int = 0) -> None:
        super().__init__()
        width = size.width or hidden
        pool = min(size.pool, width)
        self.heads, self.has_layer, self.hidden = size.heads, size.layer, hidden
        self.project = nn.Linear(hidden, width) if width != hidden else None
        self.norm0 = nn.LayerNorm(width) if width != hidden else None
        if size.layer:
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, size.ffn), nn.Linear(size.ffn, width)
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.pool = nn.Linear(2 * width, pool) if pool else None
        self.intent = nn.Linear(pool or 2 * width, intents)
        self.tag = nn.Linear(width, tags) if size.layer and tags > 1 else None
        self.drop = Dropout(size.dropout, np.random.Generator(np.random.SFC64(seed)))

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """(float32[rows, intents], float32[rows, tokens, tags] or None) logits."""
        x = self.drop(vectors)
        if self.project is not None and self.norm0 is not None:
            x = self.drop(self.norm0(self.project(x)))
        if self.has_layer:
            x = self.norm1(x + self.drop(self._attention(x, mask)))
            x = self.norm2(x + self.drop(self.down(F.gelu(self.up(x), approximate="tanh"))))
        return self._intents(pooled(x, mask)), None if self.tag is None else self.tag(self.drop(x))

    @property
    def is_flat(self) -> bool:
        """Whether nothing is learned before pooling: then `flat` is `forward`, of vectors that were pooled once."""
        return not self.has_layer and self.project is None

    def flat(self, pooled: Tensor) -> Tensor:
        """float32[rows, intents] logits of float32[rows, 2 * hidden] that `pooled` gave."""
        halves = pooled.view(len(pooled), 2, -1)
        return self._intents(self.drop(halves).view_as(pooled))  # what is dropped is so of both, as of every token

    def _intents(self, pooled: Tensor) -> Tensor:
        if self.pool is not None:
            pooled = torch.tanh(self.pool(self.drop(pooled)))
        found: Tensor = self.intent(self.drop(pooled))
        return found

    def _attention(self, x: Tensor, mask: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        qkv = self.qkv(x).view(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        # Written out: rows are short, and of torch's fused form the way back is a fifth of a training step on a CPU.
        scores = qkv[0] @ qkv[1].transpose(-1, -2) * (width // self.heads) ** -0.5
        chances = scores.masked_fill(~mask[:, None, None, :], -1e4).softmax(-1).to(qkv.dtype)
        y: Tensor = self.out((chances @ qkv[2]).transpose(1, 2).reshape(rows, tokens, width))
        return y


def pooled(x: Tensor, mask: Tensor) -> Tensor:
    """float32[rows, 2 * width]: the mean and the largest of every number over a row's tokens."""
    held = mask[:, :, None]
    mean = (x * held).sum(1) / held.sum(1)
    return torch.cat([mean, x.masked_fill(~held, -1e9).max(1).values], 1)
