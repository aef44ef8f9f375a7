"""The whole pipeline at given rates, asked by several processes: for machines of many cores and for GPUs, where one
process that asks is not enough.

    python -m benchmarks.rates HEADRACE_TOML SEED

is one of those that ask. It takes loads from standard input, a JSON object a line, and prints what became of each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arrivals import arrivals, tenants
from benchmarks.load import STAGES, Load, drive
from benchmarks.report import Result
from benchmarks.stand import Stand, stand
from producers import Headrace
from topology.addresses import load_running
from topology.stream.process import new_event_loop

WARM_S = 10.0
DEADLINE_S = 30.0


@dataclass(frozen=True)
class Plan:
    """What runs, and what is asked of it. `rates`: utterances a second of all callers together, one after another."""

    rates: tuple[float, ...]
    device: str = "cpu"
    precision: str = "int8"
    encoders: int = 1
    head_workers: int = 1
    callers: int = 2
    tenants: int = 64
    seconds: float = 5.0
    lengths: str = "uniform"


def run(plan: Plan) -> Result:
    """For each rate: throughput, latencies, stages, processor time by kind of process."""
    with (
        stand(plan.tenants, encoders=plan.encoders, head_workers=plan.head_workers, device=plan.device,
              precision=plan.precision) as it,
        _callers(it, plan.callers) as callers,
    ):
        _asked(it, callers, plan.lengths, plan.rates[0], WARM_S, 0)  # a JVM compiles what it has seen run
        asked = [_asked(it, callers, plan.lengths, rate, plan.seconds, n) for n, rate in enumerate(plan.rates, 1)]
        return {plan.lengths: asked, "encoder": it.stopped_stats("encoder")}


Caller = subprocess.Popen[str]


@contextlib.contextmanager
def _callers(it: Stand, count: int) -> Iterator[list[Caller]]:
    running: list[Caller] = []
    try:
        for number in range(count):
            command = [sys.executable, "-m", "benchmarks.rates", str(it.config), str(number)]
            running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for one in running:
            _answer(one)
        yield running
    finally:
        for one in running:
            one.kill()
            one.wait()


def _answer(caller: Caller) -> Any:
    assert caller.stdout is not None
    if not (line := caller.stdout.readline()):
        raise RuntimeError("a process that asks ended: what it wrote stands above")
    return json.loads(line)


def _asked(it: Stand, callers: Sequence[Caller], kind: str, rate: float, seconds: float, number: int) -> Result:
    before, begin = it.cpu_s(), time.perf_counter()
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write(json.dumps({"rate": rate / len(callers), "seconds": seconds, "kind": kind, "seed": number,
                                       "tenants": len(it.names)}) + "\n")
        caller.stdin.flush()
    answers = [_answer(caller) for caller in callers]
    passed_s = time.perf_counter() - begin
    spent = {name: after - before[name] for name, after in it.cpu_s().items()}
    spent["client"] = sum(answer["cpu_s"] for answer in answers)
    load = _together([Load(**answer["load"]) for answer in answers])
    result: Result = {
        "rate_per_s": rate, "throughput_per_s": load.throughput_per_s(), **load.summary(),
        "cpu_us_per_utterance": {name: s / max(1, len(load.done_s)) * 1e6 for name, s in spent.items()},
        "cores": {name: s / passed_s for name, s in spent.items()},
    }
    print(f"{kind} {rate:g}/s: {result['throughput_per_s']:.0f}/s, p50 {load.percentile(50):.1f}, "
          f"p90 {load.percentile(90):.1f}, p99 {load.percentile(99):.1f} ms", flush=True)
    return result


def _together(loads: Sequence[Load]) -> Load:
    """One load of several that began at the same time."""
    errors: dict[str, int] = {}
    for load in loads:
        for code, count in load.errors.items():
            errors[code] = errors.get(code, 0) + count
    return Load(
        sum(load.offered for load in loads), max(load.seconds for load in loads),
        [ms for load in loads for ms in load.latencies_ms], [s for load in loads for s in load.done_s],
        {name: [ms for load in loads for ms in load.stages_ms.get(name, ())] for name in STAGES.values()}, errors,
    )


async def _ask(config: Path, seed: int) -> None:
    async with Headrace(load_running(config)) as client:
        print("{}", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            given, cpu_s = json.loads(line), time.process_time()
            names = tenants(given["tenants"])
            coming = arrivals(given["rate"], given["seconds"], names, given["kind"], seed * 1_000 + given["seed"])
            load = await drive(client, coming, DEADLINE_S)
            print(json.dumps({"load": asdict(load), "cpu_s": time.process_time() - cpu_s}), flush=True)


def main() -> None:
    """One of the processes that ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("seed", type=int)
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_ask(args.config, args.seed))


def plot(result: Result) -> Any:
    """Latency over load."""
    def draw(axes: Any) -> None:
        for kind in (kind for kind in ("uniform", "mix") if kind in result):
            for q in (50, 90, 99):
                points = [(one["rate_per_s"], one[f"p{q}_ms"]) for one in result[kind]]
                axes.plot(*np.array(points).T, marker="o", label=f"{kind}: p{q}")
        axes.set(xlabel="offered, utterances/s", ylabel="ms", yscale="log")
        axes.legend()

    return draw


if __name__ == "__main__":
    main()
