"""`headrace up`: a whole stack from one headrace.toml, and nothing left behind when it goes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from encoder_worker.load import quantized
from infra.stack import embedded, kafka
from infra.stack.supervise import Child, Supervisor
from topology import addresses, topics
from topology.encoders import find_encoder
from topology.settings import Ring, Settings, settings_path
from topology.stream import sign_on
from topology.stream.admin import apply_topics

WORKER_START_S = 120.0


@contextmanager
def stack(config: str | Path | None, say: Callable[[str], None] = print) -> Iterator[tuple[Settings, Supervisor]]:
    """The running stack of a headrace.toml, with every worker ready; stopped on the way out."""
    settings = addresses.load_present(config)
    asyncio.run(sign_on.check(settings))
    state = Path(settings.state_dir)
    state.mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(state)
    try:
        bootstrap, url = _broker(settings, supervisor, state), _redis(settings, supervisor, state)
        settings = addresses.at(settings, bootstrap, url)
        addresses.write(settings, settings.broker.bootstrap, settings.redis.url)
        say(f"broker {settings.broker.bootstrap}, redis {settings.redis.url}")
        reports = asyncio.run(apply_topics(settings, topics.wanted(settings)))
        say(f"topics: {sum(r.created for r in reports)} created, {sum(not r.created for r in reports)} there")
        for ring in settings.rings.values():
            _prepare(ring, say)
        workers = _workers(settings, supervisor, str(settings_path(config).resolve()))
        for worker in workers:
            supervisor.wait_ready(worker, WORKER_START_S)
            say(f"ready: {worker.name}")
        yield settings, supervisor
    finally:
        addresses.forget(settings)
        supervisor.stop()


def _broker(settings: Settings, supervisor: Supervisor, state: Path) -> str:
    if settings.broker.kind == "external":
        return settings.broker.bootstrap
    if settings.broker.kind == "embedded":
        return embedded.start_broker(supervisor)
    return kafka.start_brokers(supervisor, state, settings.broker.brokers)


def _redis(settings: Settings, supervisor: Supervisor, state: Path) -> str:
    if settings.redis.kind == "external":
        return settings.redis.url
    return embedded.start_redis(supervisor, state, settings.redis.kind)


def _prepare(ring: Ring, say: Callable[[str], None]) -> None:
    """An int8 encoder is made before its workers start, not by each of them."""
    if ring.precision == "int8" and (directory := find_encoder(ring.encoder)) is not None:
        quantized(directory, say=say)


def _workers(settings: Settings, supervisor: Supervisor, config: str) -> list[Child]:
    run = [sys.executable, "-m"]
    started = []
    for ring in settings.rings.values():
        for number in range(ring.workers):
            command = [*run, "encoder_worker", "--config", config, "--ring", ring.name]
            started.append(supervisor.start(f"encoder-{ring.name}-{number}", command))
        for cell in ring.cells.values():
            for number in range(cell.workers):
                command = [*run, "head_worker", "--config", config, "--ring", ring.name, "--cell", cell.name]
                started.append(supervisor.start(f"head-{ring.name}-{cell.name}-{number}", command))
        if settings.insights.enabled:
            command = [*run, "infra.insights", "--config", config, "--ring", ring.name]
            started.append(supervisor.start(f"insights-{ring.name}", command))
    return started
