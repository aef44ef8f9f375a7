"""As it was before: one whole model (encoder and head) for each tenant, against one encoder and small heads.

Both run in this process on one thread, one utterance after another, each of another tenant: nothing is batched, so the
comparison is of memory and of the engines, not of batching. The whole models are stock float32 ones in torch.
"""

from __future__ import annotations

import gc
import os
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from benchmarks import bare
from benchmarks.arrivals import tenants, texts
from benchmarks.engine import repeated
from benchmarks.hardware import resident_bytes
from benchmarks.report import Result
from benchmarks.shapes import encoder_directory, head_manifest_and_weights
from benchmarks.stand import RING, prepare, store_dir
from encoder_worker.tokens import Tokenizer
from infra.training.model import SIZES, HeadModel

WHOLE_MODELS = 6


def run(seconds: float, heads: int = 64) -> Result:
    """Megabytes a tenant and utterances a second of both."""
    prepare(heads)
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    said = list(islice(texts("uniform", 0), 256))
    whole_mb, whole_per_s = _whole(said, seconds)
    gc.collect()
    before = resident_bytes(os.getpid())
    work = bare.ours(store_dir(), RING, heads)
    turn = iter(range(1 << 60))
    for number in range(heads):
        work([said[number]], [number])
    ours_mb = (resident_bytes(os.getpid()) - before) / 1e6

    def call() -> None:
        number = next(turn)
        work([said[number % len(said)]], [number % heads])

    ours_per_s = 1 / float(np.median(repeated(call, seconds)))
    encoder_mb = ours_mb - heads * _head_mb()
    return {
        "whole_models": {"tenants": WHOLE_MODELS, "mb_a_tenant": whole_mb, "utterances_per_s": whole_per_s},
        "encoder_and_heads": {"tenants": heads, "mb_in_all": ours_mb, "mb_of_encoder": encoder_mb,
                              "mb_a_tenant": _head_mb(), "utterances_per_s": ours_per_s},
        "times_as_fast": ours_per_s / whole_per_s,
        "memory_mb": {str(n): {"whole": whole_mb * n, "ours": encoder_mb + _head_mb() * n}
                      for n in (1, 10, 100, 1_000)},
    }


def _whole(said: list[str], seconds: float) -> tuple[float, float]:
    directory = encoder_directory()
    tokenizer = Tokenizer(directory, 250)
    before = resident_bytes(os.getpid())
    models = []
    manifest, weights = head_manifest_and_weights(0)
    for _ in range(WHOLE_MODELS):
        encoder = AutoModel.from_pretrained(str(directory), dtype=torch.float32, add_pooling_layer=False).eval()
        for weight in encoder.parameters():  # a tenant's own fine-tuned weights share no page with another's
            weight.data = weight.data.clone()
        head = HeadModel(768, 64, len(manifest.tags), SIZES["standard"]).eval()
        head.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        models.append((encoder, head))
    turn = iter(range(1 << 60))

    def call() -> None:
        number = next(turn)
        encoder, head = models[number % WHOLE_MODELS]
        ids = torch.tensor([tokenizer.rows([said[number % len(said)]])[0].ids])
        with torch.inference_mode():
            vectors = encoder(input_ids=ids).last_hidden_state
            head(vectors, torch.ones(ids.shape, dtype=torch.bool))

    for _ in range(WHOLE_MODELS):
        call()
    mb = (resident_bytes(os.getpid()) - before) / 1e6 / WHOLE_MODELS
    return mb, 1 / float(np.median(repeated(call, seconds)))


def _head_mb() -> float:
    return (store_dir() / RING / tenants(1)[0] / "v1" / "head.safetensors").stat().st_size / 1e6


def plot(result: Result) -> Any:
    """Memory by number of tenants."""
    def draw(axes: Any) -> None:
        points = result["memory_mb"]
        for name, label in (("whole", "one whole model a tenant"), ("ours", "one encoder, a head a tenant")):
            axes.plot([int(n) for n in points], [one[name] for one in points.values()], marker="o", label=label)
        axes.set(xlabel="tenants", ylabel="MB in memory", xscale="log", yscale="log")
        axes.legend()

    return draw
