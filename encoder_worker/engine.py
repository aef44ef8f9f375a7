"""The encoder itself: rows of token ids in, token vectors out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from topology.errors import Misconfigured, Unavailable

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What runs an encoder. A vector depends on the row alone, not on its batch mates."""

    hidden: int

    def encode(self, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """For each row of token ids its vectors, float32[tokens, hidden]. Raises: Unavailable (full device)."""
        ...


class TorchEngine:
    """torch + transformers, on `cuda` or `cpu`, with SDPA.

    `precision` auto: float16 on cuda, bfloat16 on a CPU that multiplies it natively, else float32. On a CPU
    bfloat16 goes to oneDNN, which the float32 path (MKL) is 2 to 4 times slower than on AMD.
    """

    def __init__(self, directory: Path, device: str = "auto", precision: str = "auto", threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device = _device(device)
        self.precision = _precision(precision, self._device)
        dtype: torch.dtype = getattr(torch, self.precision)
        model = _model(directory, dtype)
        self._model = model.eval().to(self._device)
        self.hidden = int(model.config.hidden_size)
        self._pad = int(model.config.pad_token_id or 0)

    def encode(self, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """As `Engine.encode`. A device that is full gets half the batch at a time."""
        try:
            return self._encode(rows)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise Unavailable(f"the device has no room for one row of {len(rows[0])} tokens: {error}") from error
            log.warning("device memory is full at %d rows; halving the batch", len(rows))
            torch.cuda.empty_cache()
            middle = len(rows) // 2
            return [*self.encode(rows[:middle]), *self.encode(rows[middle:])]

    @torch.inference_mode()
    def _encode(self, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        ids, mask = self._padded(rows)
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = hidden.float().cpu().numpy()
        return [vectors[i, : len(row)] for i, row in enumerate(rows)]

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self._pad, dtype=torch.int64)
        mask = torch.zeros((len(rows), longest), dtype=torch.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        if self._device.type == "cuda":
            # Pinned memory lets the copy run beside the kernels of the batch before.
            ids, mask = ids.pin_memory(), mask.pin_memory()
        return ids.to(self._device, non_blocking=True), mask.to(self._device, non_blocking=True)


def _model(directory: Path, dtype: torch.dtype) -> Any:
    """The encoder with SDPA, or with plain attention where transformers has no SDPA form of it (MPNet)."""
    transformers_logging.disable_progress_bar()
    try:
        try:
            model = AutoModel.from_pretrained(str(directory), dtype=dtype, attn_implementation="sdpa")
        except ValueError:
            model = AutoModel.from_pretrained(str(directory), dtype=dtype, attn_implementation="eager")
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{directory}: transformers cannot load an encoder from it: {error}") from error
    return model


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise Misconfigured('device = "cuda", but torch sees no GPU here; set "cpu" or "auto", or mend the driver')
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def _precision(name: str, device: torch.device) -> str:
    if name != "auto":
        return name
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"
