"""A head's whole life on several head workers, under traffic: how soon do all follow, and does a reply go wrong?

Tenants spread over all workers are asked all the time. Every tenant's head is published, tried as a canary, promoted,
put in the shadow, rolled back, retracted and published again, by records on the registry topic. The two versions name
their intents and labels differently, so that a reply made of both would be seen. A canary's share is decided by the id
of each utterance, so every single reply is checked against the version that had to give it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.arrivals import texts
from benchmarks.report import Result
from benchmarks.stand import RING, Stand, prepare, stand, store_dir
from infra import announce
from producers import Headrace
from topology import topics
from topology.errors import HeadraceError, UnknownTenant
from topology.heads import HeadManifest
from topology.registry import Candidate
from topology.settings import Settings
from topology.stream.kafka import TopicReader
from topology.stream.process import new_event_loop
from topology.stream.producer import partition_of

TENANTS, SHARE, SECOND = 9, 0.5, "v2"
SHADOW, MISLABELLED = "shadow", "labels of another version"
Expected = Callable[[str], str | None]  # id → the version that must score it, None where the tenant must be unknown


@dataclass(frozen=True)
class Answer:
    """One utterance's end: `version` None where the tenant was unknown, `wrong` says what else went wrong."""

    id: str
    tenant: str
    at_s: float
    version: str | None
    wrong: str = ""


@dataclass
class Step:
    """One change of every tenant's head: when each was announced, and what must score before and after."""

    name: str
    before: Expected
    after: Expected
    announced_s: dict[str, float] = field(default_factory=dict)


def run(workers: int, rate_per_s: float, seconds: float, broker: str = "kafka") -> Result:
    """By step, ms from announcing to the last reply of the version before: `applied_max_ms`, `applied_p50_ms`.

    `dropped`, `mislabelled` and `wrong_version` count replies of the whole run. `seconds`: of each step.
    """
    _, firsts = prepare(TENANTS)
    seconds_ = [_second(one) for one in firsts]
    with (
        stand(TENANTS, broker=broker, head_workers=workers) as it,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_measure(it, firsts, seconds_, workers, rate_per_s, seconds))


def _second(first: HeadManifest) -> HeadManifest:
    """The same weights as another version, with other names for all it may say. Written beside the first."""
    found = replace(
        first, version=SECOND, intents=tuple(f"{SECOND}-{one}" for one in first.intents),
        tags=("O", *(f"{tag[:2]}{SECOND}-{tag[2:]}" for tag in first.tags[1:])),
    )
    place = store_dir() / first.ring / first.tenant
    (place / SECOND).mkdir(exist_ok=True)
    (place / SECOND / "head.safetensors").unlink(missing_ok=True)
    os.link(place / first.version / "head.safetensors", place / SECOND / "head.safetensors")
    (place / SECOND / "head.json").write_text(found.to_json())
    return found


async def _measure(
    it: Stand, firsts: Sequence[HeadManifest], seconds_: Sequence[HeadManifest], workers: int, rate_per_s: float,
    seconds: float,
) -> Result:
    answers, stop, loop = list[Answer](), asyncio.Event(), asyncio.get_running_loop()
    plan = _plan(it.settings, firsts, seconds_)
    async with Headrace(it.settings) as client:
        asking = asyncio.create_task(_ask(client, it.names, rate_per_s, answers, stop))
        for step, heads, act in plan:
            for head in heads:
                step.announced_s[head.tenant] = loop.time()
                await act(head)
            await asyncio.sleep(seconds)  # the step's own measuring time, under traffic
        stop.set()
        sent = await asking
    compared, steps = await _compared(it.settings), [step for step, _, _ in plan]
    by_step: dict[str, dict[str, Any]] = {}
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        by_step[step.name] = _applied(step, following, answers)
        if step.name == SHADOW and following is not None:
            by_step[step.name] |= _shadowed(step, following, answers, compared)
    return {
        "workers": workers, "workers_asked": len(_partitions(it.names, workers)), "tenants": len(it.names),
        "rate_per_s": rate_per_s, "sent": sent, "answered": len(answers),
        "dropped": sent - len(answers) + sum(one.wrong.startswith("error") for one in answers),
        "mislabelled": sum(one.wrong == MISLABELLED for one in answers),
        "wrong_version": sum(step["wrong_version"] for step in by_step.values()),
        "wrong": dict(Counter(one.wrong for one in answers if one.wrong)),
        "applied_max_ms": max(step["applied_max_ms"] for step in by_step.values()), "by_step": by_step,
    }


def _plan(
    settings: Settings, firsts: Sequence[HeadManifest], seconds_: Sequence[HeadManifest]
) -> list[tuple[Step, Sequence[HeadManifest], Callable[[HeadManifest], Awaitable[Any]]]]:
    """Each step, the heads it announces, and how."""
    canary = Candidate("v1", firsts[0].space, firsts[0].sha256, "canary", SHARE)

    def mixed(own: str) -> str:
        return "v1" if canary.takes(own) else SECOND

    def announced(head: HeadManifest) -> Awaitable[Any]:
        return announce.announce(settings, head)

    def tried(mode: str, share: float) -> Callable[[HeadManifest], Awaitable[Any]]:
        return lambda head: announce.announce_candidate(settings, head, mode, share)

    first, second, nobody = (lambda _: "v1"), (lambda _: SECOND), (lambda _: None)
    return [
        (Step("publish", first, second), seconds_, announced),
        (Step("canary", second, mixed), firsts, tried("canary", SHARE)),
        (Step("promote", mixed, first), firsts, announced),
        (Step(SHADOW, first, first), seconds_, tried("shadow", 1.0)),
        (Step("end the trial", first, first), firsts, announced),
        (Step("publish again", first, second), seconds_, announced),
        (Step("roll back", second, first), firsts, announced),
        (Step("delete", first, nobody), firsts, lambda head: announce.retract(settings, RING, head.tenant)),
        (Step("publish after delete", nobody, first), firsts, announced),
    ]


async def _ask(
    client: Headrace, names: Sequence[str], rate_per_s: float, answers: list[Answer], stop: asyncio.Event
) -> int:
    """Poisson arrivals over the tenants until `stop`; returns how many were sent, once every one has ended."""
    draw, said, loop = np.random.default_rng(0), texts("uniform", 0), asyncio.get_running_loop()
    sent = 0

    async def one(tenant: str, text: str, own: str) -> None:
        try:
            reply = await client.predict(tenant, text, lang="en", deadline=30, id=own)
        except UnknownTenant:
            answers.append(Answer(own, tenant, loop.time(), None))
        except HeadraceError as error:
            answers.append(Answer(own, tenant, loop.time(), None, f"error: {error.code}"))
        else:
            labels = [reply.intent, *(entity.label for entity in reply.entities)]
            fits = all(label.startswith(f"{SECOND}-") == (reply.head_version == SECOND) for label in labels)
            wrong = "" if fits else MISLABELLED
            answers.append(Answer(own, tenant, loop.time(), reply.head_version, wrong))

    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            group.create_task(one(names[int(draw.integers(len(names)))], next(said), f"life-{sent}"))
            sent += 1
            await asyncio.sleep(float(draw.exponential(1 / rate_per_s)))
    return sent


def _applied(step: Step, following: Step | None, answers: Sequence[Answer]) -> dict[str, Any]:
    """How long each tenant's replies came from the version before; a reply that fits neither side is wrong."""
    last = dict.fromkeys(step.announced_s, 0.0)
    wrong, seen = 0, Counter[str]()
    for one in answers:
        since = one.at_s - step.announced_s[one.tenant]
        if since < 0 or (following is not None and one.at_s >= following.announced_s[one.tenant]) or one.wrong:
            continue
        seen[one.version or "unknown tenant"] += 1
        if one.version != step.after(one.id):
            wrong += one.version != step.before(one.id)
            last[one.tenant] = max(last[one.tenant], since * 1e3)
    late = list(last.values())
    return {"applied_max_ms": max(late), "applied_p50_ms": float(np.median(late)), "wrong_version": wrong,
            "answers": dict(seen)}


def _shadowed(step: Step, following: Step, answers: Sequence[Answer], compared: set[str]) -> dict[str, Any]:
    """How long replies were not compared with the shadow's."""
    late = [0.0]
    for one in answers:
        since = one.at_s - step.announced_s[one.tenant]
        if since >= 0 and one.at_s < following.announced_s[one.tenant] and one.id not in compared:
            late.append(since * 1e3)
    return {"applied_max_ms": max(late), "applied_p50_ms": float(np.median(late)), "compared": len(compared)}


async def _compared(settings: Settings) -> set[str]:
    """The ids on the topic of comparisons."""
    reader = TopicReader(settings.broker, topics.shadows(settings.prefix))
    await reader.start()
    try:
        return {json.loads(record.value)["id"] for record in await reader.read_to_end() if record.value}
    finally:
        await reader.stop()


def _partitions(names: Sequence[str], count: int) -> set[int]:
    """The partitions that the tenants' embeddings lie in: there is one for each head worker."""
    return {partition_of(name.encode(), count) for name in names}


def plot(result: Result) -> Any:
    """How soon the slowest tenant followed, by step."""
    def draw(axes: Any) -> None:
        bars = {name: step["applied_max_ms"] for name, step in result["by_step"].items()}
        axes.barh(list(bars)[::-1], list(bars.values())[::-1])
        axes.axvline(2_000, color="grey", linestyle="--", label="2 s")
        axes.set(xlabel=f"ms to the last answer of before, slowest of {result['tenants']} tenants")
        axes.legend()

    return draw
