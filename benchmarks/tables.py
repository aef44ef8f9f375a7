"""The tables of README.md and docs/BENCHMARKS.md: each a function from the results to Markdown."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.goals import (
    KINDS,
    KNEE,
    REFERENCE_A_VCPU,
    REFERENCE_HEADS_A_VCPU,
    SCORES,
    TRITON,
    without_engines_us,
)
from benchmarks.results import Results, percent, ratio, several, show, table

PROCESSES = {
    "encoder": "encoder worker", "head": "head worker", "client": "client", "kafka": "broker", "redis": "Redis",
}


def summary(results: Results) -> str:
    """README's table: what Headrace does beside what it is compared with."""
    number = results.number
    knee, bound = number(KNEE.format("uniform")), show(number("pipeline/uniform/knee_p90_limit_ms"))
    cores, heads_cores = number("pipeline/hardware/cores"), number("heads/hardware/cores")
    light = [several((number(f"pipeline/{peer}light_load/{q}_ms") for q in ("p50", "p99")), 1)
             for peer in ("", "triton/")]
    published = several((number(f"accuracy/published/DistilBERT/{score}") for score in SCORES), 1)
    batch = "engine-h200/by_batch_of_15_tokens/16/p50_ms"
    return table(("figure", "Headrace", "compared with"), (
        ("ATIS: intents / slots F1 / whole sentences, %", several((number(f"accuracy/{s}") for s in SCORES), 1),
         f"DistilBERT, fine-tuned whole: {published}"),
        *((f"at p90 ≤ {bound} ms, {kind}, {show(cores)} cores", f"{show(number(KNEE.format(name)))}/s",
           f"NVIDIA Triton: {show(number(TRITON.format(name)))}/s") for name, kind in KINDS.items()),
        ("of that each core, 15 tokens", f"{show(ratio(knee, cores))}/s",
         f"the published system: {REFERENCE_A_VCPU:.1f}/s"),
        ("saturated, 15 tokens", f"{show(number('pipeline/uniform/saturated_per_s'))}/s",
         f"NVIDIA Triton: {show(number('pipeline/triton/uniform/saturated_per_s'))}/s"),
        ("one utterance at 20/s, p50 / p99", f"{light[0]} ms", f"NVIDIA Triton: {light[1]} ms"),
        (f"heads only, {show(heads_cores)} cores", f"{show(number('heads/throughput_per_s'))}/s",
         f"the published system: {show((heads_cores or 0) * REFERENCE_HEADS_A_VCPU)}/s on as many"),
        ("memory for 1,000 tenants", f"{show(ratio(number('memory/memory_mb/1000/ours'), 1_000), 1)} GB",
         f"a whole model each: {show(ratio(number('memory/memory_mb/1000/whole'), 1_000))} GB"),
        ("GPU (H200): 16 utterances / share of bf16 peak",
         f"{show(number(batch), 2)} ms / {percent(number('engine-h200/share_of_bf16_peak'))}", "–"),
    ))


def runs(results: Results) -> str:
    """Every result file: how to repeat it, when and where it was measured."""
    return table(("file", "command", "measured", "on"), (
        (f"[{name}]({name}.json)", f"`{results.command(name)}`", str(file["at"])[:10], results.machine(name))
        for name, file in results.files.items()
    ))


def engines(results: Results) -> str:
    """The bare int8 engines of one core."""
    cells = [("1 utterance of 15 tokens", "by_batch_of_15_tokens/1"), ("16", "by_batch_of_15_tokens/16"),
             ("1 of 4 tokens", "by_length_alone/4"),
             ("1 of 40 tokens", "by_length_alone/40"), ("1 of 250 tokens", "by_length_alone/250")]
    encoder = table(("encoder, int8, one core", "p50 ms", "utterances/s", "tokens/s"), (
        (what, *(show(results.number(f"engine/{path}/{figure}"), digits)
                 for figure, digits in (("p50_ms", 2), ("utterances_per_s", 0), ("tokens_per_s", 0))))
        for what, path in cells
    ))
    named = {"scores alone": "warm_ms", "with decoding": "warm_with_decoding_ms", "cold": "cold_ms",
             "four of one tenant": "four_at_once_ms", "loading it": "load_from_page_cache_ms"}
    head = ", ".join(f"{what} {show(results.number(f'engine/head/{key}'), 2)}" for what, key in named.items())
    return f"A head of {show(results.number('engine/head/mb'), 1)} MB, int8, one core, ms: {head}.\n\n{encoder}"


def pipeline(results: Results) -> str:
    """The whole pipeline beside Triton: knee, saturation, latencies."""
    columns = [f"pipeline/{peer}{name}" for name in KINDS for peer in ("", "triton/")]
    number = results.number

    def row(what: str, value: Callable[[str], str]) -> list[str]:
        return [what, *(value(column) for column in columns)]

    return table(("", "Headrace, 15 tokens", "Triton", "Headrace, mix", "Triton"), (
        row("knee, utterances/s", lambda at: show(number(f"{at}/throughput_per_s"))),
        row("p50 / p90 / p99 at the knee, ms",
            lambda at: several(number(f"{at}/{q}_ms") for q in ("p50", "p90", "p99"))),
        row("saturated, utterances/s", lambda at: show(number(f"{at}/saturated_per_s"))),
        row("its own bare engines, utterances/s", lambda at: show(number(f"{at}/bare_per_s"))),
        row("knee / saturated, over bare",
            lambda at: several((number(f"{at}/share_of_bare"), number(f"{at}/saturated_share_of_bare")), 2)),
        row("bare over OpenVINO and ONNX Runtime int8", lambda at: show(number(f"{at}/bare_share_of_reference"), 2)),
        ["at 20/s: p50 / p99, ms", *(
            several((number(f"pipeline/{peer}light_load/{q}_ms") for q in ("p50", "p99")), 1)
            for peer in ("", "triton/")), "", ""],
    ))


def costs(results: Results) -> str:
    """Processor time of an utterance at saturation, by process."""
    rows = []
    for name, kind in KINDS.items():
        spent = results.get(f"pipeline/{name}/cpu_us_per_utterance") or {}
        engines_us = ratio((results.number("pipeline/hardware/cores") or 0) * 1e6,
                           results.number(f"pipeline/{name}/bare_per_s"))
        rows.append((kind, *(show(spent.get(process)) for process in PROCESSES),
                     show(sum(spent.values()) if spent else None), show(engines_us),
                     show(without_engines_us(name)(results))))
    return table(("µs an utterance", *PROCESSES.values(), "sum", "of it bare engines", "ours without engines"), rows)
