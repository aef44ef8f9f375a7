"""What was measured and the plan reckons with: each figure with the file, date and hardware that it comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topology.errors import Misconfigured

BUILT_IN = Path(__file__).with_name("measured.json")

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Rate:
    """A measured figure. `source`: the file, the day and what it was measured on."""

    value: float
    about: str
    source: str


@dataclass(frozen=True)
class Rates:
    """Figures by name, and how p90 grows with the load: (utterances a second, p90 in ms), lowest first."""

    figures: Mapping[str, Rate]
    curve: Sequence[tuple[float, float]]

    def busy(self, objective_ms: float) -> float:
        """The busy share at which p90 is within the objective: the highest such rate over the saturated one.

        Raises: Misconfigured where nothing was measured to be as fast.
        """
        held = [rate for rate, p90_ms in self.curve if p90_ms <= objective_ms]
        if not held:
            fastest = min(p90_ms for _, p90_ms in self.curve)
            raise Misconfigured(f"--objective-ms {objective_ms:g}: the least p90 measured is {fastest:.1f} ms")
        return min(1.0, max(held) / self.figures["saturated_per_s"].value)

    def values(self) -> dict[str, float]:
        """Name → value."""
        return {name: one.value for name, one in self.figures.items()}


def _at(path: str, times: float = 1.0) -> Callable[[Result], float]:
    def read(result: Result) -> float:
        found: Any = result
        for key in path.split("/"):
            found = found[key]
        return float(found) * times
    return read


def _worker_mb(result: Result) -> float:
    return (float(result["worker_mb"]) * 1e6 - float(result["heads"]) * float(result["bytes_per_head"])) / 1e6


def _most(result: Result) -> float:
    return max(float(one["throughput_per_s"]) for one in result["uniform"])


def _largest(name: str) -> Callable[[Result], float]:
    """Of the most records that were read."""
    return lambda result: float(max(result["sizes"], key=lambda one: one["records"])[name])


# Figure → (benchmark, on a GPU, how it is read there, what it is). 15 tokens an utterance.
WANTED: dict[str, tuple[str, bool, Callable[[Result], float], str]] = {
    "encoder_us": ("pipeline", False, _at("uniform/cpu_us_per_utterance/encoder"), "µs of a core, encoder worker"),
    "head_us": ("pipeline", False, _at("uniform/cpu_us_per_utterance/head"), "µs of a core, head worker"),
    "client_us": ("pipeline", False, _at("uniform/cpu_us_per_utterance/client"), "µs of a core, who asks"),
    "broker_us": ("pipeline", False, _at("uniform/cpu_us_per_utterance/kafka"), "µs of a core, one replica"),
    "redis_us": ("pipeline", False, _at("uniform/cpu_us_per_utterance/redis"), "µs of Redis' only thread"),
    "saturated_per_s": ("pipeline", False, _at("uniform/saturated_per_s"), "utterances/s, more always waiting"),
    "gpu_per_s": ("rates", True, _most, "utterances/s of one card, processes included"),
    "gpu_tokens_per_s": ("engine", True, _at("by_batch_of_15_tokens/64/tokens_per_s"), "tokens/s of the bare card"),
    "gpu_alone_ms": ("engine", True, _at("by_batch_of_15_tokens/1/p50_ms"), "ms of one utterance alone"),
    "head_mb": ("memory", False, _at("bytes_per_head", 1e-6), "MB of a head in memory, and of its file"),
    "head_worker_mb": ("memory", False, _worker_mb, "MB of a head worker without heads"),
    "encoder_worker_mb": ("memory", False, _at("encoder_worker_mb"), "MB of an encoder worker"),
    "whole_model_mb": ("monolith", False, _at("whole_models/mb_a_tenant"), "MB of a whole model in float32"),
    "whole_per_s": ("monolith", False, _at("whole_models/utterances_per_s"), "utterances/s of a core, whole models"),
    "replay_per_s": ("backfill", False, lambda r: float(r["alone_per_s"]) / float(r["hardware"]["cores"]),
                     "utterances/s of a core, replays alone"),
    "registry_us": ("registry", False, _largest("us_a_record"), "µs to read a head's record at a start"),
    "registry_other_us": ("registry", False, _largest("other_ring_us_a_record"), "µs to skip one of another ring"),
    "registry_bytes": ("registry", False, _largest("bytes_a_record"), "bytes of memory of a head's record"),
    "registry_record_bytes": ("registry", False, _largest("bytes_on_topic"), "bytes of a head's record on its topic"),
    "cell_us": ("cells", False, lambda r: float(r["sizes"][-1]["first_us"]) / float(r["sizes"][-1]["cells"]),
                "µs for each cell to find a tenant's, the first time"),
    "stream_mb": ("replies", False, _at("stream_mb"), "MB of Redis' memory for one caller's reply stream"),
    "reply_bytes": ("replies", False, _at("bytes_a_reply"), "bytes of Redis' memory for a reply"),
}


def gather(results: Mapping[str, Result]) -> Rates:
    """What result files say: file name → content. Of several with one figure the newest counts, of GPUs the fastest.
    What no file has is left out, and so are pipelines with texts that were said before."""
    results = {file: one for file, one in results.items() if not (one.get("settings") or {}).get("repeated")}
    figures: dict[str, Rate] = {}
    for name, (kind, on_gpu, read, about) in WANTED.items():
        found = [
            (read(one), str(one.get("at", "")), file) for file, one in results.items()
            if one.get("benchmark") == kind and (one.get("device", "cpu") not in (None, "cpu")) == on_gpu
            and _is_readable(read, one)
        ]
        if found:
            newest = max(found, key=lambda one: one[1])
            value, _, file = (min if name.endswith("_ms") else max)(found) if on_gpu else newest
            figures[name] = Rate(value, about, _source(file, results[file]))
    return Rates(figures, _curve(results))


def _is_readable(read: Callable[[Result], float], result: Result) -> bool:
    try:
        return read(result) > 0
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return False


def _source(file: str, result: Result) -> str:
    hardware = result.get("hardware") or {}
    device = result.get("device")
    processor = " ".join(str(hardware.get(key, "?")) for key in ("processor", "family"))
    on = device if device not in (None, "cpu") else f"{processor}, {hardware.get('cores', '?')} cores"
    return f"{file}, {on}, {str(result.get('at', '?'))[:10]}"


def _curve(results: Mapping[str, Result]) -> tuple[tuple[float, float], ...]:
    """Of the newest pipeline, the lowest p90 at each rate; the light load is its first point."""
    pipelines = [one for one in results.values() if one.get("benchmark") == "pipeline" and "light_load" in one]
    if not pipelines:
        return ()
    newest = max(pipelines, key=lambda one: str(one.get("at", "")))
    points: dict[float, float] = {}
    try:
        for one in [newest["light_load"], *newest["uniform"]["curve"]]:
            rate, p90_ms = float(one["rate_per_s"]), one.get("p90_ms")
            if p90_ms is not None:
                points[rate] = min(float(p90_ms), points.get(rate, float("inf")))
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()
    return tuple(sorted(points.items()))


def built_in() -> Rates:
    """The rates that come with Headrace: `make figures` writes them from docs/benchmarks."""
    body = json.loads(BUILT_IN.read_text(encoding="utf-8"))
    figures = {name: Rate(**one) for name, one in body["figures"].items()}
    return Rates(figures, tuple((rate, p90_ms) for rate, p90_ms in body["curve"]))


def written(rates: Rates) -> str:
    """As `built_in` reads it."""
    figures = {name: vars(one) for name, one in rates.figures.items()}
    return json.dumps({"figures": figures, "curve": rates.curve}, indent=1, ensure_ascii=False) + "\n"


def read_rates(places: Iterable[Path]) -> Rates:
    """The built-in rates, and in their place what `headrace bench ... --json` wrote to these files and directories.

    Raises: Misconfigured, naming the file.
    """
    there, results = built_in(), {}
    for place in places:
        for file in sorted(place.glob("*.json")) if place.is_dir() else [place]:
            results[file.name] = _read(file)
    own = gather(results)
    if results and not own.figures:
        raise Misconfigured(f"{', '.join(results)}: no figures for a plan; headrace bench pipeline --json writes some")
    return Rates({**there.figures, **own.figures}, own.curve or there.curve)


def _read(file: Path) -> Result:
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{file}: no result of `headrace bench` ({str(error)[:120]})") from error
    if not isinstance(body, dict) or "benchmark" not in body:
        raise Misconfigured(f"{file}: no result of `headrace bench`: it names no benchmark")
    return body
