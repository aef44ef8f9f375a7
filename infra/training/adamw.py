"""AdamW (Loshchilov and Hutter 2019) on all of a model's weights as one tensor, with one cycle of the rate."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.adamw import adamw

WARM_UP = 0.1  # of the steps
LONGEST = 1.0  # a gradient's norm: longer ones are cut to it


class AdamW:
    """Torch's own function, without its class, whose first step imports a compiler for 2 to 4 s."""

    def __init__(self, model: nn.Module, rate: float, steps: int, decay: float = 0.01) -> None:
        """The rate rises over a tenth of `steps` and falls to nothing along a cosine.

        The model's weights become views of one tensor.
        """
        self._rate, self._steps, self._decay = rate, steps, decay
        weights = list(model.parameters())
        self.weights = torch.cat([one.detach().flatten() for one in weights])
        self._gradient, self._mean, self._square = (torch.zeros_like(self.weights) for _ in range(3))
        self._step = torch.tensor(0.0)
        at = 0
        for one in weights:
            here = slice(at, at + one.numel())
            one.data, one.grad = self.weights[here].view_as(one), self._gradient[here].view_as(one)
            at += one.numel()

    def step(self) -> None:
        """Move the weights against the gradient that has gathered since the last step."""
        norm = float(self._gradient.norm())
        if norm > LONGEST:
            self._gradient.mul_(LONGEST / norm)
        adamw([self.weights], [self._gradient], [self._mean], [self._square], [], [self._step], fused=True,
              amsgrad=False, beta1=0.9, beta2=0.999, lr=self._rate * self.cycle(int(self._step)),
              weight_decay=self._decay, eps=1e-8, maximize=False)
        self._gradient.zero_()

    def cycle(self, step: int) -> float:
        """The share of the highest rate at a step, counted from 0 (Smith and Topin 2018)."""
        warm = max(1.0, WARM_UP * self._steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        return (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1.0, self._steps - warm)))) / 2
