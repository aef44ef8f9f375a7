"""Sends a list of arrivals to a tritonserver at their times: the twin of `benchmarks.load` with Triton's own client.

    python -m benchmarks.peers.triton_load PORT ARRIVALS.npz RESULT.npz
"""

from __future__ import annotations

import asyncio
import sys
import time

import numpy as np
import tritonclient.grpc.aio as grpc
from tritonclient.utils import InferenceServerException

TIMEOUT_S = 120.0


async def drive(port: int, given: str, found: str) -> None:
    """Every arrival at its time; latencies are from then to the reply."""
    body = np.load(given)
    at, heads, texts = body["at"].tolist(), body["heads"].tolist(), body["texts"].tolist()
    latencies_ms: list[float] = []
    done_s: list[float] = []
    errors = 0
    async with grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        begin = time.perf_counter()

        async def one(number: int) -> None:
            nonlocal errors
            text, head = grpc.InferInput("TEXT", [1, 1], "BYTES"), grpc.InferInput("HEAD", [1, 1], "INT32")
            text.set_data_from_numpy(np.array([[texts[number].encode()]], dtype=object))
            head.set_data_from_numpy(np.array([[heads[number]]], np.int32))
            try:
                answer = await client.infer("peer", [text, head], client_timeout=TIMEOUT_S)
                answer.as_numpy("INTENT")
            except InferenceServerException:
                errors += 1
                return
            done_s.append(time.perf_counter() - begin)
            latencies_ms.append((done_s[-1] - at[number]) * 1e3)

        async with asyncio.TaskGroup() as group:
            for number, at_s in enumerate(at):
                if (wait_s := at_s - (time.perf_counter() - begin)) > 0:
                    await asyncio.sleep(wait_s)
                group.create_task(one(number))
    np.savez(found, latencies_ms=latencies_ms, done_s=done_s, errors=errors)


if __name__ == "__main__":
    asyncio.run(drive(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
