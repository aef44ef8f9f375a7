"""`headrace up`: a whole stack from one headrace.toml, and nothing left behind when it goes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from encoder_worker.load import quantized
from infra import kept
from infra.counted import counted
from infra.fleet import changes
from infra.stack import embedded, kafka
from infra.stack.alone import alone
from infra.stack.supervise import Child, Supervisor
from topology import addresses, topics
from topology.addresses import RACK
from topology.encoders import find_encoder
from topology.errors import Misconfigured, Unavailable
from topology.settings import Ring, Settings, settings_path
from topology.stream import sign_on
from topology.stream.admin import apply_topics

WORKER_START_S = 120.0
BEGUN = "topics.begun"  # a file of the state directory: topics are there, what belongs into them may not be


@contextmanager
def stack(
    config: str | Path | None, say: Callable[[str], None] = print, worker_metrics: bool = False,
    zones: Sequence[str] = (),
) -> Iterator[tuple[Settings, Supervisor]]:
    """The running stack of a headrace.toml, with every worker ready; stopped on the way out. `worker_metrics`: each
    worker serves its metrics, at `Supervisor.metrics_ports`. `zones`: of the brokers and of each tier's workers, in
    turn."""
    settings = addresses.load_present(config)
    asyncio.run(sign_on.check(settings))
    state = Path(settings.state_dir)
    state.mkdir(parents=True, exist_ok=True)
    with alone(state):
        yield from _stack(settings, state, str(settings_path(config).resolve()), say, worker_metrics, zones)


def _stack(
    settings: Settings, state: Path, config: str, say: Callable[[str], None], worker_metrics: bool,
    zones: Sequence[str],
) -> Iterator[tuple[Settings, Supervisor]]:
    supervisor = Supervisor(state, worker_metrics)
    try:
        kept.compact(settings)
        bootstrap, url = _broker(settings, supervisor, state, zones), _redis(settings, supervisor, state)
        settings = addresses.at(settings, bootstrap, url)
        addresses.write(settings, settings.broker.bootstrap, settings.redis.url)
        say(f"broker {settings.broker.bootstrap}, redis {settings.redis.url}")
        lay_out(settings, say)
        for ring in settings.rings.values():
            _prepare(ring, say)
        workers = _workers(settings, supervisor, config, zones)
        for worker in workers:
            supervisor.wait_ready(worker, WORKER_START_S)
            say(f"ready: {worker.name}")
        yield settings, supervisor
    finally:
        addresses.forget(settings)
        supervisor.stop()


def lay_out(settings: Settings, say: Callable[[str], None]) -> None:
    """The topics, with the heads and placements of before in them where they had to be made anew, now or by a process
    that was killed before it had sent them."""
    begun = Path(settings.state_dir) / BEGUN
    was_killed = begun.exists()
    begun.touch()
    reports = asyncio.run(apply_topics(settings, topics.wanted(settings)))
    say(f"topics: {sum(r.created for r in reports)} created, {sum(not r.created for r in reports)} there")
    anew = {report.name for report in reports if report.created}
    lost = settings.broker.kind != "external" and (was_killed or topics.heads(settings.prefix) in anew)
    if lost and (count := asyncio.run(kept.restore(settings))):
        say(f"announced again: {counted(count, 'head or placement', 'heads and placements')} of before")
    begun.unlink(missing_ok=True)
    for ring_name, cells in asyncio.run(changes.begin(settings)).items():
        for cell in cells:
            say(f"cell {cell} takes no tenants yet: `headrace cell add {cell} --ring {ring_name}`")


def restored(settings: Settings, supervisor: Supervisor, restarted: Sequence[str], say: Callable[[str], None]) -> None:
    """After the embedded broker was restarted, which keeps nothing: what it held is laid out again, and the workers,
    whose positions were the old one's, end to be started again. Raises: Unavailable where it does not come."""
    if settings.broker.kind != "embedded" or embedded.BROKER not in restarted:
        return
    port = int(settings.broker.bootstrap.rpartition(":")[2])
    broker = next(one for one in supervisor.children if one.name == embedded.BROKER)
    supervisor.wait_ready(broker, embedded.START_S, lambda: embedded.listens(port))
    lay_out(settings, say)
    for child in supervisor.children:
        if child.name not in (embedded.BROKER, embedded.REDIS):
            child.process.kill()
            child.process.wait()
    say("the broker ended and its records are lost: what was in flight is not answered; workers start again")


def _broker(settings: Settings, supervisor: Supervisor, state: Path, zones: Sequence[str]) -> str:
    if settings.broker.kind == "external":
        return settings.broker.bootstrap
    if settings.broker.kind == "embedded":
        return embedded.start_broker(supervisor)
    return kafka.start_brokers(supervisor, state, settings.broker.brokers, racks=zones)


def _redis(settings: Settings, supervisor: Supervisor, state: Path) -> str:
    if settings.redis.kind == "external":
        return settings.redis.url
    return embedded.start_redis(supervisor, state, settings.redis.kind)


def _prepare(ring: Ring, say: Callable[[str], None]) -> None:
    """An int8 encoder is made before its workers start, not by each of them."""
    if ring.precision == "int8" and (directory := find_encoder(ring.encoder)) is not None:
        quantized(directory, say=say)


def tiers(settings: Settings) -> Iterator[tuple[str, list[str], int]]:
    """(tier, what `python -m` starts a worker of it with, how many `headrace.toml` wants) of every tier: the encoder
    workers of a ring ("encoder/en") and the head workers of a cell ("head/en/a")."""
    for ring in settings.rings.values():
        yield f"encoder/{ring.name}", ["encoder_worker", f"--ring={ring.name}"], ring.workers
        for cell in ring.cells.values():
            yield (f"head/{ring.name}/{cell.name}", ["head_worker", f"--ring={ring.name}", f"--cell={cell.name}"],
                   cell.workers)


def start_worker(
    supervisor: Supervisor, config: str, tier: str, what: list[str], number: int, zone: str = ""
) -> Child:
    """Start one worker of a tier; `number` is in its name, which its consumer group knows it by."""
    command = [sys.executable, "-m", what[0], "--config", config, *what[1:]]
    if zone:
        command = ["env", f"{RACK}={zone}", *command]  # not a line of headrace.toml, which all zones share
    return supervisor.start(f"{tier.replace('/', '-')}-{number}", command)


class NewTiers:
    """Rings and cells that come into headrace.toml while its stack runs: they get their workers."""

    def __init__(self, settings: Settings, config: str) -> None:
        self._known, self._config = {tier for tier, _, _ in tiers(settings)}, config
        self._changed_ns = Path(config).stat().st_mtime_ns

    def start(self, supervisor: Supervisor) -> list[str]:
        """Create the topics of rings and cells that came since the last call, and start their workers. Returns what
        happened, in words."""
        try:
            changed_ns = Path(self._config).stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return []
            self._changed_ns = changed_ns
            settings = addresses.load_running(self._config)
            found = list(tiers(settings))
        except (OSError, Misconfigured) as error:  # it is being written, or a person made a mistake
            return [f"headrace.toml has changed and is not followed: {error}"]
        new = [one for one in found if one[0] not in self._known]
        try:
            if new:  # a broker that creates topics at the first question would do so with partitions of its own
                asyncio.run(apply_topics(settings, topics.wanted(settings)))
                asyncio.run(changes.begin(settings))  # the cells of a new ring take tenants
        except Unavailable as error:
            self._changed_ns = 0  # looked at again
            return [f"new rings or cells wait for their topics: {error}"]
        self._known |= {tier for tier, _, _ in new}
        started = [start_worker(supervisor, self._config, tier, what, number)
                   for tier, what, count in new for number in range(count)]
        rings = [tier.partition("/")[2] for tier, _, _ in new if tier.startswith("encoder/")]
        started += _insights(settings, supervisor, self._config, rings)
        return [f"started: {child.name}" for child in started]


def _workers(settings: Settings, supervisor: Supervisor, config: str, zones: Sequence[str]) -> list[Child]:
    started = [start_worker(supervisor, config, tier, what, number, zones[number % len(zones)] if zones else "")
               for tier, what, count in tiers(settings) for number in range(count)]
    return [*started, *_insights(settings, supervisor, config, settings.rings)]


def _insights(settings: Settings, supervisor: Supervisor, config: str, rings: Iterable[str]) -> list[Child]:
    command = [sys.executable, "-m", "infra.insights", "--config", config]
    return [supervisor.start(f"insights-{ring}", [*command, f"--ring={ring}"])
            for ring in rings if settings.insights.enabled]
