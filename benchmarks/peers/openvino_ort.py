"""The reference for bare engines: OpenVINO int8 (NNCF post-training quantization) and ONNX Runtime int8 heads.

Rules: the same encoder weights and heads; the same texts in the same batches; one thread a process; the encoder takes
the same packed rows as ours, which is the faster of the two forms it could take; heads are quantized dynamically, as
ONNX Runtime's own tool does it, for one head after another. Needs `pip install 'headrace[bench]'`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arrivals import texts
from benchmarks.shapes import HIDDEN, encoder_directory, head_manifest_and_weights
from benchmarks.work import Work
from encoder_worker.packed import Packed, packed
from encoder_worker.tokens import Tokenizer
from topology.encoders import cache_dir, weights_sha256

NAMES = ("ids", "positions", "gather", "scatter", "mask")
CALIBRATED_ON = 128


class OpenVinoOrt:
    """The reference's engines with `count` heads."""

    def __init__(self, count: int) -> None:
        directory = encoder_directory()
        self._tokenizer, self._encoder = Tokenizer(directory, 250), _compiled(_encoder(directory))
        self._heads = _heads(count)

    def predict(self, said: Sequence[str], chosen: Sequence[int]) -> list[tuple[int, float]]:
        """(intent, its logit) of each text by its head."""
        batch = packed([row.ids for row in self._tokenizer.rows(said)], 0)
        vectors = self._encoder(_feed(batch))[0]
        scored = []
        for head, (start, end) in zip(chosen, batch.spans, strict=True):
            intents = self._heads[head].run(None, {"vectors": vectors[None, start:end]})[0][0]
            best = int(intents.argmax())
            scored.append((best, float(intents[best])))
        return scored


def openvino_ort(count: int) -> Work:
    """As `benchmarks.bare.ours`, on the reference's engines."""
    return OpenVinoOrt(count).predict


def _feed(batch: Packed) -> dict[str, Any]:
    return dict(zip(NAMES, batch.padded(), strict=True))


def _compiled(place: Path) -> Any:
    import openvino  # here: extra `bench`

    return openvino.Core().compile_model(str(place), "CPU", {
        "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False, "PERFORMANCE_HINT": "LATENCY",
    })


def _encoder(directory: Path) -> Path:
    place = cache_dir() / "bench" / f"openvino-{weights_sha256(directory)[:16]}.xml"
    if place.is_file():
        return place
    import nncf  # all of these here: once it is made, serving it needs none of them
    import openvino
    import torch

    from encoder_worker.model import load_packed  # here: it imports torch

    logging.getLogger("nncf").setLevel(logging.ERROR)
    model, tokenizer = load_packed(directory), Tokenizer(directory, 250)
    rows = [row.ids for row in tokenizer.rows(list(islice(texts("mix", 7), CALIBRATED_ON)))]
    batches = [_feed(packed(rows[i : i + 4], 0)) for i in range(0, len(rows), 4)]
    example = tuple(torch.from_numpy(a) for a in batches[0].values())
    converted = openvino.convert_model(model, example_input=example)
    for port, name, shape in zip(
        converted.inputs, NAMES, ([-1], [-1], [-1, -1], [-1], [-1, 1, 1, -1]), strict=True
    ):
        port.get_node().set_partial_shape(openvino.PartialShape(shape))
        port.get_tensor().set_names({name})
    converted.validate_nodes_and_infer_types()
    quantized = nncf.quantize(
        converted, nncf.Dataset(batches), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(batches)
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(quantized, str(place), compress_to_fp16=False)
    return place


def _heads(count: int) -> list[Any]:
    """`count` sessions of one int8 head: its weights are loaded anew for each, as different tenants' would be."""
    import onnxruntime  # here: extra `bench`

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    body = _head().read_bytes()
    return [onnxruntime.InferenceSession(body, options) for _ in range(count)]


def _head() -> Path:
    place = cache_dir() / "bench" / "ort-head.onnx"
    if place.is_file():
        return place
    import torch  # all of these here: once it is made, serving it needs none of them
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from infra.training.model import SIZES, HeadModel  # here: it imports torch

    manifest, weights = head_manifest_and_weights(0)
    model = HeadModel(HIDDEN, 64, len(manifest.tags), SIZES["standard"]).eval()
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})

    class Alone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, vectors: torch.Tensor) -> Any:
            return self.model(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool))

    plain = place.with_suffix(".float32.onnx")
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Alone(), (torch.zeros(1, 15, HIDDEN),), str(plain), input_names=["vectors"], opset_version=17, dynamo=False,
        dynamic_axes={"vectors": {0: "rows", 1: "tokens"}},
    )
    quantize_dynamic(plain, place, weight_type=QuantType.QInt8, per_channel=True)
    plain.unlink()
    return place
