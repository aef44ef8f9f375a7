"""The stack that benchmarks run on: a real Apache Kafka and Redis, the reference encoder and heads, real workers."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arrivals import tenants
from benchmarks.hardware import cpu_s
from benchmarks.shapes import encoder_directory, write_heads
from encoder_worker.load import quantized
from infra.stack.supervise import Supervisor
from infra.stack.up import stack
from producers import Headrace
from topology import topics
from topology.encoders import cache_dir, space_of
from topology.errors import UnknownTenant
from topology.heads import HeadManifest
from topology.registry import HeadRecord
from topology.settings import Settings
from topology.stream.kafka import GroupConsumer, Producer, Rebalances
from topology.stream.records import Output

RING = "bench"
CORES = os.cpu_count() or 1
ENCODERS = CORES  # each computes on one
WARM_S = 40.0
CONFIG = """\
prefix = "bench"
state_dir = "{state}"
[broker]
kind = "{broker}"
brokers = {brokers}
[heads]
store = "{store}"
memory_mb = {memory_mb}
[cache]
enabled = {cached}
embeddings_mb = 1024
[rings.bench]
languages = ["en"]
encoder = "{encoder}"
device = "{device}"
precision = "{precision}"
latency_ms = 35
partitions = {partitions}
workers = {encoders}
[rings.bench.cells.a]
partitions = {head_workers}
workers = {head_workers}
"""


@dataclass(frozen=True)
class Stand:
    """A running stack under measurement."""

    config: Path
    settings: Settings
    supervisor: Supervisor
    names: list[str]

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds by kind of process so far; the load generator is `client`."""
        pids = {child.name: child.process.pid for child in self.supervisor.children} | {"client": os.getpid()}
        found: dict[str, float] = {}
        for name, seconds in cpu_s(pids).items():
            kind = name.split("-")[0]
            found[kind] = found.get(kind, 0.0) + seconds
        return found

    def stopped_stats(self, kind: str) -> dict[str, float]:
        """End the workers of a kind (`encoder`, `head`) and add up what they say they did."""
        found: dict[str, float] = {}
        for child in [c for c in self.supervisor.children if c.name.startswith(f"{kind}-")]:
            child.process.terminate()
            child.process.wait(30)
            for line in child.log.read_text().splitlines():
                _, there, body = line.partition("stats {")
                for name, value in json.loads("{" + body).items() if there else ():
                    found[name] = found.get(name, 0) + value
        return found


def store_dir(size: str = "standard") -> Path:
    """Where the heads of benchmarks are kept."""
    return cache_dir() / "bench" / ("heads-2" if size == "standard" else f"heads-2-{size}")


def prepare(count: int, size: str = "standard", int8: bool = True) -> tuple[Path, list[HeadManifest]]:
    """(encoder directory, manifests): everything a stand needs on disk, made where it is missing; `int8`:
    the encoder in that form too."""
    encoder = encoder_directory()
    if int8:
        quantized(encoder, say=print)
    manifests = write_heads(store_dir(size), RING, tenants(count), space_of(encoder, 250), size)
    return encoder, manifests


@contextmanager
def stand(
    count: int = 64, broker: str = "kafka", encoders: int = ENCODERS, head_workers: int = 1, cached: bool = False,
    device: str = "cpu", precision: str = "int8", memory_mb: int = 16_384, answer_first: int = 1 << 30, extra: str = "",
    size: str = "standard", partitions: int = 0, zones: Sequence[str] = (),
) -> Iterator[Stand]:
    """The stack with `count` tenants announced, whose heads are of one `size`; everything it started is stopped on the
    way out.

    `answer_first`: so many tenants are asked before the measurement. `partitions`: of utterances, 0 for as many as
    encoders. `extra`: more of headrace.toml. `zones`: of three brokers, and of the workers in turn.
    """
    encoder, manifests = prepare(count, size, int8=precision == "int8")
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as home:
        config = Path(home) / "headrace.toml"
        config.write_text(CONFIG.format(
            state=home, broker=broker, brokers=3 if zones else 1, store=store_dir(size), encoder=encoder,
            device=device, precision=precision, encoders=encoders, partitions=partitions or encoders,
            head_workers=head_workers, cached=json.dumps(cached), memory_mb=memory_mb,
        ) + extra)
        with stack(config, say=lambda line: None, zones=zones) as (settings, supervisor):
            asyncio.run(_announced(settings, manifests, answer_first))
            if broker == "kafka":
                asyncio.run(warm_broker(settings))
            yield Stand(config, settings, supervisor, tenants(count))


async def warm_broker(settings: Settings, seconds: float = WARM_S) -> None:
    """Give a fresh broker single-record requests until its JVM has compiled them: cold it costs several times more."""
    topic = topics.utterances(settings.prefix, RING, "backfill")
    producer, consumer = Producer(settings.broker), GroupConsumer(settings.broker, topic, "bench-warm-up")
    end = asyncio.get_running_loop().time() + seconds

    async def write() -> None:
        while asyncio.get_running_loop().time() < end:
            await producer.send([Output(topic, None, b"x" * 2_000)])

    await producer.start()
    await consumer.start(Rebalances())
    try:
        writing = asyncio.gather(*(write() for _ in range(4)))
        while not writing.done():
            read = await consumer.take(64, wait_ms=100)
            if read:
                await consumer.commit({(r.topic, r.partition): r.offset + 1 for r in read})
        await writing
    finally:
        await consumer.stop()
        await producer.stop()


async def _announced(settings: Settings, manifests: Sequence[HeadManifest], answer_first: int) -> None:
    producer = Producer(settings.broker)
    await producer.start()
    try:
        records = [HeadRecord(m.tenant, m.ring, m.version, m.space, m.sha256) for m in manifests]
        await producer.send([Output(topics.heads(settings.prefix), r.key, r.to_bytes()) for r in records])
    finally:
        await producer.stop()
    end = asyncio.get_running_loop().time() + 60
    async with Headrace(settings) as client:
        for manifest in [*manifests[: answer_first - 1], manifests[-1]]:  # the last is announced last
            while True:
                try:
                    await client.predict(manifest.tenant, "are you there", lang="en", deadline=60)
                    break
                except UnknownTenant:
                    if asyncio.get_running_loop().time() > end:
                        raise
