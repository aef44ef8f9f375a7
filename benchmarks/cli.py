"""`headrace bench ...`: measures on this machine, in one run, and says on what."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import cli_fleet
from infra.cli.command import Run, add_command, add_group

PIPELINE = """\
Starts a real Apache Kafka and Redis and the workers, and sends utterances by Poisson arrivals over 64 tenants (Zipf).
Finds the knee (the highest rate with p90 within 35 ms and 98 % answered in time) by bisection (a rate missed by less
than a third is tried once more), the saturated rate, the latency at 20/s, and the bare engines' rate on the same cores
before and after. About 7 minutes; --short takes 2."""

ENGINE = """\
The bare encoder by batch and length, and a head where it is a CPU, on random weights of the reference shape that it
makes itself: no broker, no hub, no download. On a GPU also from two threads, as a worker calls for
long batches, and the share of the card's bf16 peak. Each figure takes a fifth of --seconds, on a GPU twice that."""

BACKFILL = """\
Replays on one stack with a real Apache Kafka: alone against the bare engines, from embeddings against the bare heads,
and beside live traffic at half its knee in alternating rounds (about 9 minutes)."""

AUTOSCALE = """\
A step from 20 to 80 % of the knee and back, while encoder workers are started and stopped by lag as `headrace up
--autoscale` does: time to scale, the oldest record's age over time, whether any utterance was lost or computed twice.
About 10 minutes, 7 with --short."""

ZONES = """\
Three brokers and workers in three zones, here on one machine: a zone is killed under load and comes back (what was
lost, what came twice, how long callers waited), then fetches from a worker's own zone against fetches from leaders, in
alternating rounds. About 9 minutes, 4 with --short."""

RATES = """\
The whole pipeline at given rates, asked by several processes: for machines of many cores, and for GPUs. On a GPU of a
machine of 16 cores: headrace bench rates --device cuda --head-workers 8 --callers 4 500 1000 2000 4000"""


def add_commands(commands: Any) -> None:
    """Put `bench` among the commands of `headrace`, which finds this function by its entry point."""
    bench = add_group(
        commands, "bench", "measure speed on this machine", "headrace bench pipeline --short --json pipeline.json"
    )
    engine = _add(bench, "engine", _engine, ENGINE)
    engine.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    engine.add_argument("--precision", help="int8, bfloat16, float32, float16 (default: int8 on cpu, float16 on cuda)")
    pipeline = _add(bench, "pipeline", _pipeline, PIPELINE)
    pipeline.add_argument("--lengths", choices=("uniform", "mix"), help="only one of the two")
    pipeline.add_argument("--repeated", type=float, default=0.0, help="share of texts said before, with the cache on")
    pipeline.add_argument("--encoders", type=int, help="encoder workers (default: one a core)")
    pipeline.add_argument("--head-workers", type=int, default=1, help="head workers (default: 1)")
    pipeline.add_argument("--p90-ms", type=float, default=35.0, help="the knee's latency limit (default: 35)")
    pipeline.add_argument("--no-reference", action="store_true", help="leave out OpenVINO and ONNX Runtime")
    pipeline.add_argument("--engine-bound", action="store_true", help="only saturation, as a share of the bare engines")
    pipeline.add_argument("--triton", action="store_true", help="NVIDIA Triton on the same work, in the same run")
    _add_rates(bench)
    _add(bench, "heads", _heads, "heads only, from embeddings already on the topic")
    _add_heads(bench)
    _add(bench, "backfill", _backfill, BACKFILL)
    many = _add(bench, "backfill-workers", _backfill_workers, "replays by several processes, on a GPU to one card")
    many.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="default: cuda")
    many.add_argument("--utterances", type=int, default=400_000, help="default: 400000")
    many.add_argument("workers", type=int, nargs="*", default=[1, 2, 4, 8], help="default: 1 2 4 8")
    month = _add(bench, "backfill-month", _backfill_month, "memory while a month of one tenant is replayed (8 minutes)")
    month.add_argument("--utterances", type=int, default=1_000_000, help="default: 1000000")
    scaled = _add(bench, "autoscale", _autoscale, AUTOSCALE)
    scaled.add_argument("--part", type=float, default=120.0, help="seconds of each of the three parts (default: 120)")
    scaled.add_argument("--knee", type=float, default=0.0, help="utterances a second, if known (default: found first)")
    zones = _add(bench, "zones", _zones, ZONES)
    zones.add_argument("--rate", type=float, default=15.0, help="utterances a second (default: 15)")
    _add(bench, "wakes", _wakes, "what a waking of Python costs on a core that encodes (20 s, two cores)")
    cli_fleet.add(bench, _add)
    _add(bench, "monolith", _monolith, "one whole model for each tenant, as it was before, side by side")


def _add_rates(bench: Any) -> None:
    rates = _add(bench, "rates", _rates, RATES)
    rates.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    rates.add_argument("--precision", help="the encoder's (default: int8 on cpu, float16 on cuda)")
    rates.add_argument("--encoders", type=int, default=1, help="encoder workers (default: 1)")
    rates.add_argument("--head-workers", type=int, default=1, help="head workers (default: 1)")
    rates.add_argument("--callers", type=int, default=2, help="processes that ask (default: 2)")
    rates.add_argument("--lengths", choices=("uniform", "mix"), default="uniform", help="default: uniform")
    rates.add_argument("rates", type=float, nargs="+", metavar="RATE", help="utterances a second, one after another")


def _add_heads(bench: Any) -> None:
    """What measures many heads, and how good they are."""
    memory = _add(bench, "memory", _memory, "what heads take in one cell, read from the process")
    memory.add_argument("--heads", type=int, default=1_000, help="how many (default: 1000, 8.5 GB of files)")
    cliff = _add(bench, "cliff", _cliff, "ten times as many tenants as there is room for (6 minutes)")
    cliff.add_argument("--room", type=int, default=1_000, help="heads that there is room for (default: 1000)")
    cliff.add_argument("--tenants", type=int, default=10_000, help="tenants that ask (default: 10000, in 1000 files)")
    cliff.add_argument("--rate", type=float, default=60.0, help="warm utterances a second (default: 60)")
    cliff.add_argument("--cold-rate", type=float, default=10.0, help="cold utterances a second (default: 10)")
    fairness = _add(bench, "fairness", _fairness, "one tenant floods its cell at ten times its share")
    fairness.add_argument("--rate", type=float, default=30.0, help="of ten tenants together, before (default: 30)")
    lifecycle = _add(bench, "lifecycle", _lifecycle, "a head's whole life on several workers, under traffic")
    lifecycle.add_argument("--workers", type=int, default=3, help="head workers (default: 3)")
    lifecycle.add_argument("--rate", type=float, default=60.0, help="utterances a second (default: 60)")
    hour = _add(bench, "first-hour", _first_hour, "what training prints, against unseen lines (10 minutes)")
    hour.add_argument("data", type=Path, help="the folder of clinc150, snips and xsid, as their authors published them")
    hour.add_argument("--tenants", type=int, default=20, help="how many (default: 20)")
    accuracy = _add(bench, "accuracy", _accuracy, "ATIS through the pipeline, three seeds (about 10 minutes)")
    accuracy.add_argument("--seeds", type=int, default=3, help="how many seeds (default: 3)")
    accuracy.add_argument("--size", choices=("compact", "standard"), default="standard")
    accuracy.add_argument("--encoder", default="mpnet-6", help="the frozen encoder (default: mpnet-6)")
    accuracy.add_argument("--precision", choices=("int8", "float32"), default="int8", help="the encoder's")
    accuracy.add_argument("--epochs", type=int, default=16)
    accuracy.add_argument("--dropout", type=float, default=0.35, help="of the head, while it learns (default: 0.35)")
    accuracy.add_argument("--float32-wire", action="store_true", help="beside it heads and vectors in float32")
    accuracy.add_argument("--rate", type=float, default=5e-4)


def _add(bench: Any, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    parser = add_command(bench, name, run, text)
    parser.add_argument("--json", type=Path, help="write the result here, and a PNG beside it")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each measurement (default: 10)")
    parser.add_argument("--short", action="store_true", help="a coarser result, sooner")
    return parser


def _engine(args: argparse.Namespace) -> None:
    from benchmarks import engine, report

    precision = args.precision or ("float16" if args.device == "cuda" else "int8")
    seconds = 0.5 if args.short else args.seconds / 5
    result = engine.run(args.device, precision, seconds)
    report.finish("engine", result, _given(args), args.json, engine.plot(result))


def _pipeline(args: argparse.Namespace) -> None:
    from benchmarks import pipeline, report
    from benchmarks.arrivals import LENGTHS

    lengths = (args.lengths,) if args.lengths else LENGTHS
    plan = pipeline.Plan(
        seconds=5.0 if args.short else args.seconds, probes=0 if args.engine_bound else 4 if args.short else 6,
        encoders=args.encoders or pipeline.Plan.encoders, head_workers=args.head_workers, repeated=args.repeated,
        reference=not args.no_reference, lengths=lengths, p90_ms=args.p90_ms,
    )
    result = pipeline.run(plan)
    if args.triton:
        from benchmarks.peers import triton

        result["triton"] = triton.run(plan)
    report.finish("pipeline", result, _given(args), args.json, pipeline.plot(result, args.p90_ms))


def _rates(args: argparse.Namespace) -> None:
    from benchmarks import rates, report

    result = rates.run(rates.Plan(
        tuple(args.rates), args.device, args.precision or ("float16" if args.device == "cuda" else "int8"),
        args.encoders, args.head_workers, args.callers, seconds=2.0 if args.short else args.seconds,
        lengths=args.lengths,
    ))
    report.finish("rates", result, _given(args), args.json, rates.plot(result))


def _heads(args: argparse.Namespace) -> None:
    from benchmarks import heads, pipeline, report

    result = heads.run(pipeline.Plan(seconds=4.0 if args.short else args.seconds, probes=4 if args.short else 6))
    report.finish(
        "heads", result, _given(args), args.json,
        pipeline.plot({"uniform": {**result, "bare_per_s": 0}}, heads.KNEE_P90_MS),
    )


def _backfill(args: argparse.Namespace) -> None:
    from benchmarks import backfill, report

    plan = backfill.Plan(seconds=8.0 if args.short else 2 * args.seconds, rounds=2 if args.short else 4,
                         probes=3 if args.short else 4)
    result = backfill.run(plan)
    report.finish("backfill", result, _given(args), args.json, backfill.plot(result))


def _backfill_workers(args: argparse.Namespace) -> None:
    from benchmarks import backfill_workers, report

    precision = "float16" if args.device == "cuda" else "int8"
    plan = backfill_workers.Plan(args.workers, args.device, precision, args.utterances // (10 if args.short else 1))
    result = backfill_workers.run(plan)
    report.finish("backfill-workers", result, _given(args), args.json, backfill_workers.plot(result))


def _backfill_month(args: argparse.Namespace) -> None:
    from benchmarks import backfill_month, report

    result = backfill_month.run(min(args.utterances, 100_000) if args.short else args.utterances)
    report.finish("backfill-month", result, _given(args), args.json, backfill_month.plot(result))


def _autoscale(args: argparse.Namespace) -> None:
    from benchmarks import autoscale, report

    plan = autoscale.Plan(args.part, knee_per_s=args.knee)
    if args.short:
        plan = autoscale.Plan(min(args.part, 60.0), probes=3, quiet_s=30.0, knee_per_s=args.knee)
    result = autoscale.run(plan)
    report.finish("autoscale", result, _given(args), args.json, autoscale.plot(result))


def _zones(args: argparse.Namespace) -> None:
    from benchmarks import report, zones

    plan = zones.Plan(args.rate, 20.0, 1, 10.0) if args.short else zones.Plan(args.rate)
    result = zones.run(plan)
    report.finish("zones", result, _given(args), args.json, zones.plot(result))


def _monolith(args: argparse.Namespace) -> None:
    from benchmarks import monolith, report

    result = monolith.run(1.0 if args.short else args.seconds / 2)
    report.finish("monolith", result, _given(args), args.json, monolith.plot(result))


def _wakes(args: argparse.Namespace) -> None:
    from benchmarks import report, wakes

    result = wakes.run(min(1.5 if args.short else args.seconds / 2, wakes.AT_MOST_S / 2))
    report.finish("wakes", result, _given(args), args.json, wakes.plot(result))


def _memory(args: argparse.Namespace) -> None:
    from benchmarks import memory, report

    result = memory.run(args.heads)
    report.finish("memory", result, _given(args), args.json, memory.plot(result))


def _cliff(args: argparse.Namespace) -> None:
    from benchmarks import cliff, report

    seconds = 4.0 if args.short else args.seconds * 3  # a p99 of 60/s needs minutes: ten seconds told +4 and +57 %
    result = cliff.run(args.room, args.tenants, args.rate, args.cold_rate, seconds)
    report.finish("cliff", result, _given(args), args.json, cliff.plot(result))


def _fairness(args: argparse.Namespace) -> None:
    from benchmarks import fairness, report

    result = fairness.run(args.rate, 6.0 if args.short else args.seconds * 4)
    report.finish("fairness", result, _given(args), args.json, fairness.plot(result))


def _lifecycle(args: argparse.Namespace) -> None:
    from benchmarks import lifecycle, report

    result = lifecycle.run(args.workers, args.rate, 3.0 if args.short else args.seconds / 2)
    report.finish("lifecycle", result, _given(args), args.json, lifecycle.plot(result))


def _accuracy(args: argparse.Namespace) -> None:
    from benchmarks import accuracy, report

    plan = accuracy.Plan(
        seeds=tuple(range(args.seeds)), encoder=args.encoder, precision=args.precision, size=args.size,
        epochs=2 if args.short else args.epochs, rate=args.rate, limit=600 if args.short else 1 << 30,
        dropout=args.dropout, float32_wire=args.float32_wire,
    )
    result = accuracy.run(plan)
    report.finish("accuracy", result, _given(args), args.json, accuracy.plot(result))


def _first_hour(args: argparse.Namespace) -> None:
    from benchmarks import first_hour, report

    plan = first_hour.Plan(args.data, 6 if args.short else args.tenants)
    result = first_hour.run(plan)
    given = {name: value for name, value in _given(args).items() if name != "data"}
    report.finish("first-hour", result, given, args.json, first_hour.plot(result))


def _given(args: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(args).items() if name not in ("run", "config", "json")}
