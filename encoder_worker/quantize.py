"""Makes an encoder's int8 form, measures it against float32 on real text, and refuses a poor one.

Channels that a few outliers dominate are evened out between activations and weights first (SmoothQuant, Xiao et al.
2023, with strength 0.5); the factors come from running texts through the float32 encoder.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoder_worker.engine import Rows
from encoder_worker.int8 import LINEARS, Int8Engine
from encoder_worker.model import PackedEncoder, load_packed
from encoder_worker.packed import packed
from encoder_worker.tokens import Tokenizer
from topology.encoders import read_meta
from topology.errors import Misconfigured
from topology.native import int8
from topology.native.kernels import PackedLinear
from topology.native.tensors import to_bytes

log = logging.getLogger(__name__)

FLOOR = 0.99  # mean cosine to float32 below which an int8 encoder is refused
STRENGTH = 0.5
TIMED_ROWS, TIMED_TOKENS, TIMED_S = 16, 15, 1.0
TEXTS = Path(__file__).with_name("calibration.txt")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """An int8 encoder against its float32 original: cosines of token vectors, tokens a second on one thread."""

    int8_mb: float
    float32_mb: float
    cosine_mean: float
    cosine_p01: float
    cosine_min: float
    int8_tokens_per_s: float
    float32_tokens_per_s: float

    def __str__(self) -> str:
        return (
            f"{self.int8_mb:.1f} MB (float32: {self.float32_mb:.1f}), {self.int8_tokens_per_s:.0f} tokens/s on one "
            f"thread ({self.int8_tokens_per_s / self.float32_tokens_per_s:.2f} x float32), cosine of token vectors "
            f"{self.cosine_mean:.5f} on average, {self.cosine_p01:.5f} at the 1st percentile, {self.cosine_min:.5f} "
            "at least"
        )


def quantize(
    directory: Path, place: Path, say: Say = lambda line: None, texts: Sequence[str] = (), floor: float = FLOOR
) -> Report:
    """Write the int8 form of an encoder directory to `place`, once it is measured and good enough.

    Every other text of `texts` (default: those of calibration.txt) fits the factors, the rest measures.
    Raises: Misconfigured where the mean cosine is below `floor`, or the family has no packed form.
    """
    say(f"quantizing {directory.name} to int8, once on this machine (about 15 s)")
    model = load_packed(directory)
    tokenizer = Tokenizer(directory, min(250, model.max_row_tokens), read_meta(directory).prefix)
    rows = [row.ids for row in tokenizer.rows(texts or TEXTS.read_text(encoding="utf-8").splitlines())]
    tensors = _tensors(model, _reach(model, rows[::2]))
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    partial.write_bytes(to_bytes(tensors, {"encoder": json.dumps(_sizes(model))}))
    try:
        report = measure(model, Int8Engine(partial, fused=sorted(model.fused)), rows[1::2])
        if report.cosine_mean < floor:
            raise Misconfigured(
                f"{directory}: its int8 form has a mean cosine of {report.cosine_mean:.4f} to float32, below the floor "
                f"of {floor}; give texts of your own domain (`headrace encoder quantize --text FILE`), or serve float32"
            )
        partial.rename(place)
    finally:
        partial.unlink(missing_ok=True)
    place.with_suffix(".json").write_text(json.dumps(asdict(report), indent=2))
    say(str(report))
    return report


@torch.inference_mode()
def _reach(model: PackedEncoder, rows: Rows) -> dict[str, Tensor]:
    """The largest magnitude of each input channel of each linear layer, by its name."""
    found: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            most = inputs[0].abs().amax(0)
            found[name] = torch.maximum(found.get(name, most), most)

        return hook

    hooks = [
        module.register_forward_pre_hook(note(name))
        for name, module in model.named_modules() if isinstance(module, nn.Linear)
    ]
    for row in rows:
        _vectors(model, [row])
    for one in hooks:
        one.remove()
    return found


def _vectors(model: PackedEncoder, rows: Rows) -> NDArray[np.float32]:
    batch = packed(rows, model.first_position)
    vectors: NDArray[np.float32] = model(*(torch.from_numpy(a) for a in batch.padded())).numpy()
    return vectors


def _tensors(model: PackedEncoder, reach: dict[str, Tensor]) -> dict[str, NDArray[np.generic]]:
    words = model.word.weight.detach().numpy()
    word, scale = int8.quantize(words)
    found: dict[str, NDArray[np.generic]] = {
        "word": word, "word_scale": scale,
        "place": model.place.weight.detach().numpy(),
        "norm_weight": model.norm.weight.detach().numpy(), "norm_bias": model.norm.bias.detach().numpy(),
    }
    if (relative := model.relative_scores()) is not None:
        found["relative"] = relative.detach().numpy()
    for number, layer in enumerate(model.layers):
        for name in LINEARS:
            stem = f"layers.{number}.{name}"
            found.update(_linear(layer.get_submodule(name), reach[stem]).tensors(stem))
        for norm in ("norm1", "norm2"):
            for kind in ("weight", "bias"):
                found[f"layers.{number}.{norm}_{kind}"] = layer.get_parameter(f"{norm}.{kind}").detach().numpy()
    return found


def _linear(module: nn.Module, reach: Tensor) -> PackedLinear:
    weight, bias = (module.get_parameter(n).detach() for n in ("weight", "bias"))
    evened = reach.clamp(min=1e-3) ** STRENGTH / weight.abs().amax(0).clamp(min=1e-5) ** (1 - STRENGTH)
    # Activations are multiplied by 1 / evened and weights by evened: their product stays what it was.
    return PackedLinear.of(weight.numpy(), bias.numpy(), (1 / evened.clamp(min=1e-3)).numpy())


def _sizes(model: PackedEncoder) -> dict[str, float]:
    first = model.layers[0]
    return {
        "layers": len(model.layers), "hidden": model.hidden, "heads": model.heads,
        "ffn": first.get_submodule("up").out_features, "first_position": model.first_position,  # type: ignore[dict-item]
        "reach": model.max_row_tokens, "eps": model.norm.eps,
    }


@torch.inference_mode()
def measure(model: PackedEncoder, engine: Int8Engine, rows: Rows) -> Report:
    """`engine` against `model` on token rows of real text, both on one thread."""
    found = np.concatenate([cosines(engine.encode([row]).vectors, _vectors(model, [row])) for row in rows])
    random = np.random.default_rng(0)
    batch = random.integers(5, model.word.num_embeddings, (TIMED_ROWS, TIMED_TOKENS)).tolist()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    speeds = [_speed(call) for call in (lambda: engine.encode(batch), lambda: _vectors(model, batch))]
    torch.set_num_threads(threads)
    float32 = sum(p.numel() for p in model.parameters()) * 4
    return Report(
        engine.nbytes / 1e6, float32 / 1e6, float(found.mean()), float(np.quantile(found, 0.01)),
        float(found.min()), *speeds,
    )


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row of `a` with the same row of `b`."""
    found: NDArray[np.float32] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return found


def _speed(call: Callable[[], object]) -> float:
    """Tokens a second of the timed batch, at the best of the calls that fit into a second."""
    call()
    best, end = float("inf"), time.perf_counter() + TIMED_S
    while (begin := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - begin)
    return TIMED_ROWS * TIMED_TOKENS / best
