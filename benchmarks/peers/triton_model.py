"""The Python model that Triton serves: tokenizer, OpenVINO int8 encoder, ONNX Runtime int8 heads, one thread each."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)  # Triton's Python stub starts isolated and ignores it

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402

from benchmarks.peers.openvino_ort import OpenVinoOrt  # noqa: E402


class TritonPythonModel:
    """TEXT string[1] and HEAD int32[1] in; INTENT int32[1] and CONFIDENCE float32[1] out."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the engines; the number of heads stands in the model's configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._engines = OpenVinoOrt(int(parameters["heads"]["string_value"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Encode all texts of the batch together, then each one's head."""
        texts, heads, counts = [], [], []
        for request in requests:
            said = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().ravel()
            texts += [text.decode() for text in said]
            heads += pb_utils.get_input_tensor_by_name(request, "HEAD").as_numpy().ravel().tolist()
            counts.append(len(said))
        scored = self._engines.predict(texts, heads)
        responses, at = [], 0
        for count in counts:
            part = scored[at : at + count]
            at += count
            responses.append(pb_utils.InferenceResponse(output_tensors=[
                pb_utils.Tensor("INTENT", np.array([[one[0]] for one in part], np.int32)),
                pb_utils.Tensor("CONFIDENCE", np.array([[one[1]] for one in part], np.float32)),
            ]))
        return responses
