"""The registry topic with very many heads: how long a head worker reads it before it is ready, and what it keeps.

Records as `headrace head publish` writes them, on a real Apache Kafka. Each size is read by a fresh process, which does
what a head worker does before it says that it is ready; the same topic is read by a worker of another ring, and by
`headrace head rollback`, which looks for one tenant.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Result
from infra.stack.kafka import start_brokers
from infra.stack.supervise import Supervisor
from topology import topics
from topology.registry import HeadRecord
from topology.settings import Broker, Settings
from topology.stream.admin import apply_topics
from topology.stream.kafka import Producer
from topology.stream.records import Output

HERE = Path(__file__).parents[1]
TOGETHER = 5_000  # records written in one call
RING = "en"
READ_S = 1_800


def run(sizes: list[int], beside: Path | None = None) -> Result:
    """`sizes`: for each count of heads, seconds by the clock, µs of a core, and bytes of the readers.

    `beside`: a checkout of other code, whose readers read the same topics in turn.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-registry-") as home:
        supervisor = Supervisor(Path(home))
        try:
            bootstrap = start_brokers(supervisor, Path(home), 1)
            found: list[dict[str, Any]] = []
            others: list[dict[str, Any]] = []
            for count in sorted(sizes):
                settings = Settings(prefix=f"heads{count}", broker=Broker(kind="external", bootstrap=bootstrap))
                bytes_each = asyncio.run(_write(settings, count))
                found.append({"records": count, "bytes_on_topic": bytes_each, **_readers(settings, count, HERE)})
                if beside is not None:
                    others.append({"records": count, **_readers(settings, count, beside)})
            return {"sizes": found, **({"beside": others} if others else {})}
        finally:
            supervisor.stop()


def _readers(settings: Settings, count: int, code: Path) -> dict[str, float]:
    own, other, lookup = (_read(settings, ring, count, code) for ring in (RING, "fr", "lookup"))
    found = {
        "start_s": own["seconds"],
        "us_a_record": own["cpu_s"] / count * 1e6, "bytes_a_record": own["kept_bytes"] / count,
        "peak_bytes_a_record": own["peak_bytes"] / count, "other_ring_us_a_record": other["cpu_s"] / count * 1e6,
        "lookup_s": lookup["cpu_s"], "lookup_peak_mb": lookup["peak_bytes"] / 1e6,
    }
    print(f"{count:,} heads: {json.dumps(found)}", file=sys.stderr)
    return found


async def _write(settings: Settings, count: int) -> float:
    """Announce `count` heads. Returns the bytes of one, key included."""
    topic = topics.heads(settings.prefix)
    await apply_topics(settings, [spec for spec in topics.wanted(settings) if spec.name == topic])
    producer, written = Producer(settings.broker), 0
    await producer.start()
    try:
        for first in range(0, count, TOGETHER):
            some = [record(number) for number in range(first, min(count, first + TOGETHER))]
            outputs = [Output(topic, one.key, one.to_bytes()) for one in some]
            await producer.send(outputs)
            written += sum(len(one.key or b"") + len(one.value or b"") for one in outputs)
    finally:
        await producer.stop()
    return written / count


def record(number: int) -> HeadRecord:
    """The head of one of very many tenants, with names as long as usual."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return HeadRecord(f"customer-{number:08}", RING, f"20261127T{number % 240000:06}Z-{digest[:6]}", "9f" * 8, digest)


def _read(settings: Settings, ring: str, count: int, code: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.registry_reader", settings.broker.bootstrap, settings.prefix, ring]
    done = subprocess.run(command, capture_output=True, text=True, timeout=READ_S, cwd=code)
    if done.returncode:
        raise RuntimeError(f"the reader of {count} records failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def plot(result: Result) -> Any:
    """Start-up time and memory by number of heads."""
    def draw(axes: Any) -> None:
        counts = [one["records"] for one in result["sizes"]]
        axes.plot(counts, [one["start_s"] for one in result["sizes"]], marker="o", label="until ready, s")
        axes.plot(counts, [one["bytes_a_record"] * one["records"] / 1e6 for one in result["sizes"]], marker="o",
                  label="kept by each head worker, MB")
        axes.set(xlabel="heads in the registry", xscale="log", yscale="log")
        axes.legend()

    return draw
