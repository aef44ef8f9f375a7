"""torch on CUDA and CPUs: half precision, SDPA, and on CUDA shapes in buckets, graphs, pinned and overlapped copies."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder_worker.engine import CallForHelp, Encoded, Rows
from encoder_worker.model import load_any
from encoder_worker.packed import MASKED, Packed, packed
from topology.errors import Misconfigured, Unavailable

log = logging.getLogger(__name__)

MAX_GRAPHS = 64


class TorchEngine:
    """An encoder in torch. On CUDA a batch's shape is rounded up to a bucket, and each bucket is captured once."""

    def __init__(self, directory: Path, device: str = "auto", precision: str = "auto", threads: int = 1) -> None:
        torch.set_num_threads(threads or 1)
        self._device = _device(device)
        self._cuda = self._device.type == "cuda"
        self.in_loop, self.on_gpu = False, self._cuda
        self.lanes = 2 if self._cuda else 1  # one call's copies overlap the other's computing
        self.precision = _precision(precision, self._device)
        self._model = load_any(directory).to(self._device, getattr(torch, self.precision))
        self.hidden = self._model.hidden
        self._bucketed = self._cuda
        self._lane = _Lane()

    def encode(self, rows: Rows, call_for_help: CallForHelp | None = None) -> Encoded:
        """As `Engine.encode`; it has threads of its own. A device that is full gets half the batch at a time."""
        try:
            return self._encode(rows)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise Unavailable(f"the device has no room for one row of {len(rows[0])} tokens: {error}") from error
            log.warning("device memory is full at %d rows; halving the batch", len(rows))
            torch.cuda.empty_cache()
            middle = len(rows) // 2
            return _joined(self.encode(rows[:middle]), self.encode(rows[middle:]))

    @torch.inference_mode()
    def _encode(self, rows: Rows) -> Encoded:
        batch = packed(rows, self._model.first_position)
        count = len(batch.ids)
        shaped = bucketed(batch) if self._bucketed else batch
        inputs, computed = [torch.from_numpy(a) for a in _arrays(shaped)], max(shaped.gather.size, len(shaped.ids))
        if not self._cuda:
            vectors, data, scales = (t.numpy() for t in wire_form(self._model(*inputs), count))
            return Encoded(vectors, data, scales, batch.spans, computed)
        with torch.cuda.stream(self._lane.stream_on(self._device)):
            outputs = wire_form(self._replayed([t.pin_memory() for t in inputs]), count)
            host = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True) for t in outputs]
            torch.cuda.current_stream().synchronize()
        vectors, data, scales = (t.numpy() for t in host)
        return Encoded(vectors, data, scales, batch.spans, computed)

    def _replayed(self, pinned: list[Tensor]) -> Tensor:
        graphs, shape = self._lane.graphs, tuple(n for t in pinned for n in t.shape)
        if shape not in graphs:
            with _RECORDING:
                graphs[shape] = _Graph(self._model, [t.to(self._device) for t in pinned])
            if len(graphs) > MAX_GRAPHS:
                graphs.popitem(last=False)
        graphs.move_to_end(shape)
        return graphs[shape].replay(pinned)


_RECORDING = threading.Lock()  # one graph is recorded at a time


class _Lane(threading.local):
    """What each thread that encodes on CUDA has of its own: one's copies run beside the other's kernels."""

    def __init__(self) -> None:
        self.graphs: OrderedDict[tuple[int, ...], _Graph] = OrderedDict()
        self._stream: torch.cuda.Stream | None = None

    def stream_on(self, device: torch.device) -> torch.cuda.Stream:
        """This thread's stream."""
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        return self._stream


class _Graph:
    """One shape's kernels, recorded once and replayed as a whole (CUDA graphs)."""

    def __init__(self, model: torch.nn.Module, inputs: list[Tensor]) -> None:
        self._inputs = inputs
        for _ in range(3):  # before it is recorded, libraries choose their kernels
            model(*inputs)
        torch.cuda.current_stream().synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            self._output: Tensor = model(*inputs)

    def replay(self, pinned: list[Tensor]) -> Tensor:
        """The output for new inputs. The copy keeps it from the next replay."""
        for ours, given in zip(self._inputs, pinned, strict=True):
            ours.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._output.clone()


def bucketed(batch: Packed) -> Packed:
    """`batch` with tokens, rows and row length rounded up, so that few shapes occur.

    Added tokens are copies of the first; added rows and places are masked; the caller drops the added tokens.
    """
    rows, longest = batch.gather.shape
    tokens, more_rows, wider = _up(len(batch.ids), 64), _up(rows, 8), _up(longest, 8)
    extra = tokens - len(batch.ids)
    gather = np.zeros((more_rows, wider), np.int64)
    gather[:rows, :longest] = batch.gather
    mask = np.full((more_rows, 1, 1, wider), MASKED, np.float32)
    mask[:rows, :, :, :longest] = batch.mask
    scatter = batch.scatter // longest * wider + batch.scatter % longest
    return Packed(
        np.pad(batch.ids, (0, extra), mode="edge"), np.pad(batch.positions, (0, extra), mode="edge"), gather,
        np.pad(scatter, (0, extra)), mask, batch.spans,
    )


def _up(n: int, to: int) -> int:
    return -(-n // to) * to


def wire_form(vectors: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(float32, int8, scales) of the first `count` vectors, computed where they are: int8 is a quarter of the copy."""
    x = vectors[:count].float()
    scales = (x.abs().amax(1) / 127).clamp(min=1e-12)
    return x, (x / scales[:, None]).round().to(torch.int8), scales


def _arrays(batch: Packed) -> tuple[NDArray[np.int64] | NDArray[np.float32], ...]:
    return batch.ids, batch.positions, batch.gather, batch.scatter, batch.mask


def _joined(first: Encoded, second: Encoded) -> Encoded:
    shift = len(first.vectors)
    return Encoded(
        np.concatenate([first.vectors, second.vectors]), np.concatenate([first.data, second.data]),
        np.concatenate([first.scales, second.scales]),
        [*first.spans, *((start + shift, end + shift) for start, end in second.spans)],
        first.computed + second.computed,
    )


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
