"""The head that learns: the twin in torch of `head_worker.engine.Head`, tensor by tensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HeadModel(nn.Module):
    """float32[rows, tokens, hidden] and bool[rows, tokens] in; intent and tag logits out."""

    def __init__(self, hidden: int, intents: int, tags: int, width: int = 256, ffn: int = 512, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(hidden, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, ffn), nn.Linear(ffn, width)
        self.intent, self.tag = nn.Linear(2 * width, intents), nn.Linear(width, tags)
        self.norm0, self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(0.2)

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(float32[rows, intents], float32[rows, tokens, tags]) logits."""
        x = self.drop(self.norm0(self.project(self.drop(vectors))))
        x = self.norm1(x + self.drop(self._attention(x, mask)))
        x = self.norm2(x + self.drop(self.down(F.gelu(self.up(x), approximate="tanh"))))
        held = mask[:, :, None]
        mean = (x * held).sum(1) / held.sum(1)
        peak = x.masked_fill(~held, -1e9).amax(1)
        return self.intent(self.drop(torch.cat([mean, peak], 1))), self.tag(self.drop(x))

    def _attention(self, x: Tensor, mask: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        qkv = self.qkv(x).view(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=mask[:, None, None, :])
        y: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return y
