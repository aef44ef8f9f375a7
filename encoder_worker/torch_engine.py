"""torch on CUDA and CPUs: half precision, and on CUDA fused kernels, graphs, pinned and overlapped copies."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder_worker.engine import Encoded, Rows
from encoder_worker.model import PackedEncoder, PaddedEncoder, load_any
from encoder_worker.packed import Packed, packed
from topology.errors import Misconfigured, Unavailable
from topology.native.int8 import quantize

if TYPE_CHECKING:
    from encoder_worker.fused import FusedEncoder

log = logging.getLogger(__name__)

RECORDED = 16_384  # tokens of the largest graph, and of the largest batch that the cost model asks for
STEPS = 16  # sizes from one power of two to the next, and tokens between the smallest: above 256, 6 % more at most

Wire = tuple[Tensor, Tensor]  # int8[tokens, hidden], float32[tokens]


class TorchEngine:
    """An encoder in torch. On CUDA one call's kernels run after another's, and its copies beside them."""

    def __init__(self, directory: Path, device: str = "auto", precision: str = "auto", threads: int = 1) -> None:
        torch.set_num_threads(threads or 1)
        self._device = _device(device)
        self._cuda = self._device.type == "cuda"
        self.on_gpu = self._cuda
        self.precision = _precision(precision, self._device)
        self._model = self._placed(directory)
        self.hidden = self._model.hidden
        self._fused: FusedEncoder | None = None
        self._graphs: dict[int, _Graph] = {}
        if self._cuda:
            self._turn = threading.Lock()
            self._computing, self._copying = _stream(self._device), _stream(self._device)
            if isinstance(self._model, PackedEncoder):
                self._record(self._model)

    def _placed(self, directory: Path) -> PackedEncoder | PaddedEncoder:
        model = load_any(directory)
        try:
            return model.to(self._device, getattr(torch, self.precision))
        except torch.OutOfMemoryError as error:
            raise Unavailable(f"the device has no room for the encoder {directory}: {error}") from error

    def encode(self, rows: Rows) -> Encoded:
        """As `Engine.encode`. A device that is full gets half the batch at a time."""
        try:
            return self._encode(rows)
        except torch.AcceleratorError as error:  # nothing computes in this process any more, whatever the batch
            raise Unavailable(f"the GPU failed, so this process has to start again: {error}") from error
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise Unavailable(f"the device has no room for one row of {len(rows[0])} tokens: {error}") from error
        # Here, not in the except clause: there the error would keep what the failed call has on the device.
        log.warning("device memory is full at %d rows; halving the batch", len(rows))
        torch.cuda.empty_cache()
        middle = len(rows) // 2
        return _joined(self.encode(rows[:middle]), self.encode(rows[middle:]))

    @torch.inference_mode()
    def _encode(self, rows: Rows) -> Encoded:
        batch = packed(rows, self._model.first_position)
        inputs, count = self._inputs(batch), len(batch.ids)
        if not self._cuda:
            vectors = self._vectors(inputs)[:count].float().numpy()
            data, scales = quantize(vectors)
            return Encoded(data, scales, batch.spans, _places(inputs), lambda: vectors)
        with self._turn, torch.cuda.stream(self._computing):
            outputs = self._wire(inputs)
            computed = self._computing.record_event()
        with torch.cuda.stream(self._copying):
            self._copying.wait_event(computed)
            data, scales = (_pinned(t[:count]) for t in outputs)
            copied = self._copying.record_event(_sleeping())
        copied.synchronize()
        return Encoded(data, scales, batch.spans, _places(inputs), lambda: self._exact(rows))

    @torch.inference_mode()
    def _exact(self, rows: Rows) -> NDArray[np.float32]:
        batch = packed(rows, self._model.first_position)
        with self._turn, torch.cuda.stream(self._computing):
            exact: NDArray[np.float32] = self._vectors(self._inputs(batch))[: len(batch.ids)].float().cpu().numpy()
        return exact

    def _inputs(self, batch: Packed) -> list[Tensor]:
        """What the device computes from: one int32[4, tokens] for fused kernels, `Packed.padded` for torch's own."""
        if self._fused is None:
            return [torch.from_numpy(a) for a in batch.padded()]
        count = len(batch.ids)
        inputs = _alone(bucket(count), pinned=self._cuda)
        inputs.numpy()[:, :count] = batch.ids, batch.positions, batch.starts, batch.ends
        return [inputs]

    def _vectors(self, inputs: list[Tensor]) -> Tensor:
        given = [t.to(self._device, non_blocking=True) for t in inputs]
        vectors: Tensor = self._model(*given) if self._fused is None else self._fused.vectors(given[0])
        return vectors

    def _wire(self, inputs: list[Tensor]) -> Wire:
        if self._fused is None:
            return wire_form(self._vectors(inputs))
        graph = self._graphs.get(inputs[0].shape[1])
        return graph.replay(inputs[0]) if graph else self._fused.wire(inputs[0].to(self._device, non_blocking=True))

    @torch.inference_mode()
    def _record(self, model: PackedEncoder) -> None:
        """Compile the fused kernels and record a graph of each size. Where they cannot run, torch's own go on."""
        try:
            # Here, not above: Triton comes with torch's builds for CUDA only.
            from encoder_worker.fused import FusedEncoder

            fused = FusedEncoder(model)
            with torch.cuda.stream(self._computing):
                fused.wire(_alone(STEPS).to(self._device))
                self._fused = fused
                pool = torch.cuda.graph_pool_handle()  # of all, since no two run at the same time
                for tokens in reversed(sizes()):  # the largest first: the others find room in what it had
                    if (graph := _recorded(fused.wire, _alone(tokens).to(self._device), pool)) is not None:
                        self._graphs[tokens] = graph
        except Exception as error:  # of Triton, a compiler, the driver: each has its own, and all mean the same here
            self._fused = None
            self._graphs.clear()
            log.warning(
                "the fused kernels do not run here, so batches take about twice as long. Triton needs a C compiler, "
                "for one. %s: %s", type(error).__name__, str(error)[:300],
            )


def _recorded(compute: Callable[[Tensor], Wire], inputs: Tensor, pool: Any) -> _Graph | None:
    try:
        return _Graph(compute, inputs, pool)
    except torch.OutOfMemoryError:
        log.warning("no device memory for a graph of %d tokens: such batches take longer", inputs.shape[1])
        return None


class _Graph:
    """The kernels of one size of batch, recorded once and replayed as a whole (CUDA graphs)."""

    def __init__(self, compute: Callable[[Tensor], Wire], inputs: Tensor, pool: Any) -> None:
        self._inputs = inputs
        compute(inputs)  # before it is recorded, libraries choose their kernels
        torch.cuda.current_stream().synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool, torch.cuda.current_stream(), "thread_local"):
            self._outputs = compute(inputs)

    def replay(self, inputs: Tensor) -> Wire:
        """The outputs for pinned `inputs`. Their copies keep them from the next replay."""
        self._inputs.copy_(inputs, non_blocking=True)
        self._graph.replay()
        data, scales = self._outputs
        return data.clone(), scales.clone()


def bucket(tokens: int) -> int:
    """The size that a batch of so many tokens is rounded up to: of a graph, up to RECORDED."""
    step = max(STEPS, (1 << (tokens - 1).bit_length() >> 1) // STEPS)
    return -(-tokens // step) * step


def sizes() -> list[int]:
    """Of all graphs, ascending."""
    return sorted({bucket(tokens) for tokens in range(1, RECORDED + 1)})


def wire_form(vectors: Tensor) -> Wire:
    """`int8.quantize` of float[tokens, hidden] on the GPU: half as much to copy as in half precision."""
    scales = (vectors.abs().amax(1).float() / 127).clamp(min=1e-12)
    return (vectors / scales[:, None]).round().to(torch.int8), scales


def _alone(tokens: int, pinned: bool = False) -> Tensor:
    """Inputs of padding only: rows of one token, which has itself for a key and nobody else's."""
    inputs = torch.zeros((4, tokens), dtype=torch.int32, pin_memory=pinned)
    torch.arange(tokens, out=inputs[2])
    inputs[3] = inputs[2] + 1
    return inputs


def _places(inputs: list[Tensor]) -> int:
    return inputs[0].shape[1] if len(inputs) == 1 else inputs[2].numel()


def _pinned(vectors: Tensor) -> NDArray[Any]:
    host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
    return host.copy_(vectors, non_blocking=True).numpy()


def _joined(first: Encoded, second: Encoded) -> Encoded:
    shift = len(first.data)
    return Encoded(
        np.concatenate([first.data, second.data]), np.concatenate([first.scales, second.scales]),
        [*first.spans, *((start + shift, end + shift) for start, end in second.spans)],
        first.computed + second.computed, lambda: np.concatenate([first.vectors, second.vectors]),
    )


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _sleeping() -> torch.cuda.Event:
    """An event that whoever waits for it sleeps until, and does not keep a core busy."""
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]


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
