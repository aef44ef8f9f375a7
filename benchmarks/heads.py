"""Heads only: embeddings are put on the cell's topic at given rates, and the head workers score them from there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from benchmarks import bare
from benchmarks.arrivals import Arrival, arrivals
from benchmarks.knee import Knee
from benchmarks.load import Load
from benchmarks.pipeline import Plan
from benchmarks.report import Result
from benchmarks.shapes import HIDDEN
from benchmarks.stand import CORES, RING, Stand, prepare, stand
from benchmarks.vectors import Vectors, embeddings
from producers import Headrace
from producers.outbox import Outbox
from producers.request import now_us, uuid7
from topology import topics, wire
from topology.encoders import space_of
from topology.errors import HeadraceError
from topology.stream.kafka import Producer
from topology.stream.process import new_event_loop
from topology.stream.records import Output

KNEE_P90_MS = 25.0
REFERENCE_PER_S_A_VCPU = 42.0
TOP_PER_S = 1_600.0


def run(plan: Plan) -> Result:
    """The highest rate at which nine of ten embeddings have their reply within 25 ms, by bisection."""
    encoder, _ = prepare(plan.tenants)
    with (
        stand(plan.tenants, encoders=1, head_workers=CORES) as it,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        knee = runner.run(_knee(it, plan, space_of(encoder, 250)))
    cores = bare.PROCESSES
    return {
        "throughput_per_s": knee.per_s, "p50_ms": knee.load.percentile(50), "p90_ms": knee.load.percentile(90),
        "p99_ms": knee.load.percentile(99), "per_vcpu": knee.per_s / cores,
        "times_reference_a_vcpu": knee.per_s / cores / REFERENCE_PER_S_A_VCPU, "curve": knee.tried,
    }


async def _knee(it: Stand, plan: Plan, space: str) -> Knee:
    records = embeddings()
    knee = Knee("heads", TOP_PER_S, plan.probes + 2, KNEE_P90_MS)
    async with Headrace(it.settings) as client:
        producer = Producer(it.settings.broker)
        await producer.start()
        try:
            for rate, seed in knee:
                outbox = Outbox(producer, lambda: client.in_flight)  # as a client shares requests
                given = arrivals(rate, plan.seconds, it.names, "uniform", seed)
                knee.note(rate, await drive_embeddings(it, client, outbox, records, space, given))
        finally:
            await producer.stop()
    return knee


async def drive_embeddings(
    it: Stand, client: Headrace, outbox: Outbox, records: Sequence[Vectors], space: str, plan: Sequence[Arrival],
    answered: list[tuple[str, float]] | None = None,
) -> Load:
    """As `load.drive`, from the embeddings topic on. `answered`: gets (tenant, milliseconds) of each reply."""
    load = Load(len(plan), plan[-1].at_s)
    begin = time.perf_counter()
    topic = topics.embeddings(it.settings.prefix, RING, "a")

    async def one(number: int) -> None:
        arrival, (text, tokens, data, offsets) = plan[number], records[number % len(records)]
        now, request = now_us(), uuid7()
        embedding = wire.Embedding(
            id=request, tenant=arrival.tenant, text=text, lang="en", submitted_us=now, deadline_us=now + 60_000_000,
            reply_to=client.reply_to, ring=RING, space=space, dtype="int8", tokens=tokens, hidden=HIDDEN,
            data=data, scales=np.full(tokens, 0.01, "<f4").tobytes(), offsets=offsets, stages={"submitted": now},
        )
        client.expect(arrival.tenant, request, 60.0)
        try:
            await outbox.post(Output(topic, arrival.tenant.encode(), wire.encode(embedding)))
            await client.result(arrival.tenant, request)
        except HeadraceError as error:
            load.errors[error.code] = load.errors.get(error.code, 0) + 1
            return
        load.done_s.append(time.perf_counter() - begin)
        load.latencies_ms.append((load.done_s[-1] - arrival.at_s) * 1e3)
        if answered is not None:
            answered.append((arrival.tenant, load.latencies_ms[-1]))

    async with asyncio.TaskGroup() as group:
        for number, arrival in enumerate(plan):
            if (wait_s := arrival.at_s - (time.perf_counter() - begin)) > 0:
                await asyncio.sleep(wait_s)
            group.create_task(one(number))
    return load
