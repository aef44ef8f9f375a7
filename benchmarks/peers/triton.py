"""NVIDIA Triton on the same work: same encoder and heads, same texts, same arrivals, the same cores, the same run.

Rules that keep it fair:
- the `nvidia-pytriton` wheel carries the real tritonserver; nothing of it is changed;
- tuned as its users would: two one-thread instances of one Python model, a maximum batch of 4, no queue delay, response
  cache off, gRPC; the engines are the fastest that its users would take (OpenVINO int8 by NNCF, ONNX Runtime int8);
- its replies are an intent and its confidence: it is spared finding entities, a log, and replies that survive a crash;
- the load comes from one asyncio process, as ours does, and is the same list of arrivals.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import bare
from benchmarks.arrivals import Arrival, arrivals, tenants
from benchmarks.knee import Knee
from benchmarks.load import Load
from benchmarks.pipeline import LIGHT_PER_S, Plan
from benchmarks.report import Result
from benchmarks.stand import RING, store_dir
from infra.stack.embedded import free_port, listens
from infra.stack.supervise import Supervisor
from topology.encoders import cache_dir
from topology.errors import Misconfigured

PACKAGES = (
    "nvidia-pytriton>=0.7,<0.8", "openvino>=2026.0,<2027", "onnxruntime>=1.22,<2", "tokenizers>=0.22", "numpy<2"
)
ROOT = Path(__file__).parents[2]
CONFIG = """\
name: "peer"
backend: "python"
max_batch_size: 4
input [ {{ name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] }}, {{ name: "HEAD" data_type: TYPE_INT32 dims: [ 1 ] }} ]
output [
  {{ name: "INTENT" data_type: TYPE_INT32 dims: [ 1 ] }}, {{ name: "CONFIDENCE" data_type: TYPE_FP32 dims: [ 1 ] }}
]
instance_group [ {{ count: 2 kind: KIND_CPU }} ]
dynamic_batching {{ max_queue_delay_microseconds: 0 }}
response_cache {{ enable: false }}
parameters {{ key: "heads" value {{ string_value: "{heads}" }} }}
"""


def run(plan: Plan) -> Result:
    """Knee, saturation and light load of Triton, by kind of length, with the same seeds as the pipeline's."""
    result: Result = {}
    with server(plan.tenants) as python_and_port:
        python, port = python_and_port
        for kind in plan.lengths:
            bare_per_s = bare.both("openvino-ort", kind, plan.seconds / 2, store_dir(), RING, plan.tenants)
            _driven(python, port, arrivals(bare_per_s / 3, plan.seconds, tenants(plan.tenants), kind, 1))
            knee = Knee(f"triton {kind}", bare_per_s, plan.probes, plan.p90_ms)
            for rate, seed in knee:
                given = arrivals(rate, plan.seconds, tenants(plan.tenants), kind, seed)
                knee.note(rate, _driven(python, port, given))
            flood = _driven(python, port, arrivals(2 * bare_per_s, plan.seconds, tenants(plan.tenants), kind, 2))
            at_knee = {f"p{q}_ms": knee.load.percentile(q) for q in (50, 90, 99)}
            result[kind] = {
                "throughput_per_s": knee.per_s, **at_knee, "saturated_per_s": flood.throughput_per_s(),
                "bare_per_s": bare_per_s, "share_of_bare": knee.per_s / bare_per_s,
                "saturated_share_of_bare": flood.throughput_per_s() / bare_per_s, "curve": knee.tried,
            }
        light = _driven(python, port, arrivals(LIGHT_PER_S, plan.seconds, tenants(plan.tenants), "uniform", 3))
        result["light_load"] = {"p50_ms": light.percentile(50), "p99_ms": light.percentile(99)}
    return result


def _driven(python: Path, port: int, plan: Sequence[Arrival]) -> Load:
    """The load from a process of Triton's own environment, which has its client."""
    with tempfile.TemporaryDirectory(prefix="headrace-triton-") as home:
        given, found = Path(home) / "arrivals.npz", Path(home) / "load.npz"
        heads = [int(one.tenant.removeprefix("tenant")) for one in plan]
        np.savez(given, at=[one.at_s for one in plan], heads=heads, texts=np.array([one.text for one in plan]))
        command = [str(python), "-m", "benchmarks.peers.triton_load", str(port), str(given), str(found)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise RuntimeError(f"the load on Triton ended with {done.returncode}:\n{done.stderr[-2000:]}")
        body = np.load(found)
        load = Load(len(plan), plan[-1].at_s, body["latencies_ms"].tolist(), body["done_s"].tolist())
        if int(body["errors"]):
            load.errors["triton"] = int(body["errors"])
        return load


def environment() -> Path:
    """The Python of Triton's own environment, the same build as ours, made at the first call. Raises: Misconfigured."""
    home = cache_dir() / "bench" / "triton-env"
    python, complete = home / "bin" / "python", home / "complete"
    build = f"{sys.version} {sys.base_prefix}"
    if not complete.exists() or complete.read_text() != build:
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        for command in ([uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)],
                        [uv, "pip", "install", "-q", "--python", str(python), *PACKAGES]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Misconfigured(f"Triton's environment was not made:\n{done.stderr[-2000:]}")
        complete.write_text(build)
    return python


@contextmanager
def server(heads: int) -> Iterator[tuple[Path, int]]:
    """A running tritonserver: (the Python of its environment, its gRPC port). Raises: Misconfigured."""
    python = environment()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = next(python.parents[1].glob("lib/python3.*/site-packages"))
    with tempfile.TemporaryDirectory(prefix="headrace-triton-") as home:
        place = Path(home)
        shutil.copytree(packages / "pytriton" / "tritonserver" / "backends", place / "backends")
        stub = packages / "pytriton" / "tritonserver" / "python_backend_stubs" / version / "triton_python_backend_stub"
        shutil.copy(stub, place / "backends" / "python")
        (place / "models" / "peer" / "1").mkdir(parents=True)
        (place / "models" / "peer" / "config.pbtxt").write_text(CONFIG.format(heads=heads))
        shutil.copy(Path(__file__).with_name("triton_model.py"), place / "models" / "peer" / "1" / "model.py")
        port, http = free_port(), free_port()
        libraries = ":".join(
            [str(packages / "nvidia_pytriton.libs"), str(packages / "pytriton" / "tritonserver" / "external_libs"),
             str(sysconfig.get_config_var("LIBDIR"))]
        )
        command = [
            "/usr/bin/env", f"LD_LIBRARY_PATH={libraries}", f"PYTHONPATH={ROOT}:{packages}", "OMP_NUM_THREADS=1",
            "TOKENIZERS_PARALLELISM=false", str(packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"),
            f"--model-repository={place / 'models'}", f"--backend-directory={place / 'backends'}",
            f"--grpc-port={port}", f"--http-port={http}", "--grpc-address=127.0.0.1", "--http-address=127.0.0.1",
            "--allow-metrics=false", "--log-error=true",
        ]
        supervisor = Supervisor(place)
        try:
            child = supervisor.start("triton", command)
            supervisor.wait_ready(child, 180, lambda: listens(port) and listens(http))
            _wait_until_answering(python, port)
            yield python, port
        finally:
            supervisor.stop()


def _wait_until_answering(python: Path, port: int) -> None:
    end = time.monotonic() + 120
    client = f"tritonclient.grpc.InferenceServerClient('127.0.0.1:{port}')"
    code = f"import sys, tritonclient.grpc; sys.exit(not {client}.is_model_ready('peer'))"
    while subprocess.run([str(python), "-c", code], capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            raise Misconfigured("tritonserver started but its model did not become ready in 120 s")
