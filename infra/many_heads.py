"""Training many tenants' heads: texts of many are encoded together, and each head learns in a process of its own."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from head_worker.load import load_head
from infra.counted import counted
from infra.heads import Embedder
from infra.training.evaluate import Labelled, evaluate
from infra.training.examples import Example
from infra.training.fit import Hooks, Target, fit
from infra.training.recipe import Recipe
from infra.training.report import write_report
from infra.training.told import lines_of_test, summary
from topology.errors import HeadraceError
from topology.settings import Ring, Settings

TOGETHER = 32  # tenants whose texts are encoded together
TRAINED_FROM = "trained_from"  # among a head's metrics: the digest of its data and options


@dataclass(frozen=True)
class Order:
    """A head to train. `findings`: how many the data gave."""

    tenant: str
    train: Sequence[Example]
    dev: Sequence[Example] | None
    test: Sequence[Example] | None
    out: Path
    about: Target
    findings: int = 0
    made: bool = False  # its head is there already, to be tested only


@dataclass(frozen=True)
class Lines:
    """An order's lines with their vectors."""

    train: Sequence[Labelled]
    dev: Sequence[Labelled]
    test: Sequence[Labelled]


@dataclass
class Several:
    """How far it is."""

    count: int
    trained: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Trained, left as they were, or failed."""
        return self.trained + self.kept + len(self.failed)

    def told(self) -> str:
        """In words."""
        return (f"{self.trained:,} of {counted(self.count, 'tenant')} trained, {self.kept:,} had such a head, "
                f"{len(self.failed):,} failed")

    def failure(self, tenant: str, error: BaseException) -> str:
        """Count it; a line for it."""
        self.failed.append(tenant)
        reason = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
        return f"headrace: {tenant} was not trained: {reason}"


def train_many(
    settings: Settings, ring: Ring, orders: Iterable[tuple[str, Callable[[], Order]]], recipe: Recipe, several: Several,
    again: bool = False,
) -> Iterator[str]:
    """A line for each tenant as its head is written, or as it fails; `several` counts them.

    A head is left as it is where its data and options are the same, unless `again`; it is tested where there is a test.
    """
    embedder, rest = Embedder(settings, ring), iter(orders)
    workers = _Workers(ring.name, embedder.space, recipe)
    try:
        while some := list(islice(rest, TOGETHER)):
            wanted = list[Order]()
            for tenant, read in some:
                try:
                    wanted.append(read())
                except Exception as error:  # one tenant's bad data costs only its own head
                    yield several.failure(tenant, error)
            wanted = [replace(one, made=not again and workers.has_made(one)) for one in wanted]
            asked = [one for one in wanted if one.test or not one.made]
            several.kept += len(wanted) - len(asked)
            for order, lines in _embedded(embedder, asked):
                yield from workers.finished(several, workers.most)
                workers.give(order, lines)
        yield from workers.finished(several)
    finally:
        workers.close()


def _embedded(embedder: Embedder, orders: Sequence[Order]) -> Iterator[tuple[Order, Lines]]:
    rows = iter(embedder.rows([one for order in orders for part in _parts(order) for one in part]))
    for order in orders:
        yield order, Lines(*(list(islice(rows, len(part))) for part in _parts(order)))


def _parts(order: Order) -> tuple[Sequence[Example], ...]:
    return () if order.made else order.train, () if order.made else order.dev or (), order.test or ()


class _Workers:
    """A process for each processor, each with one thread."""

    def __init__(self, ring: str, space: str, recipe: Recipe) -> None:
        self._ring, self._space, self._recipe = ring, space, recipe
        count = os.cpu_count() or 1
        self.most = 2 * count - 1  # that wait, so that no process has to
        self._pool = _pool(count)
        self._given: dict[Future[str], tuple[Order, Lines]] = {}

    def has_made(self, order: Order) -> bool:
        """Whether the order's head is there already, of the same data and options."""
        try:
            return bool(load_head(order.out).manifest.metrics.get(TRAINED_FROM) == self._digest(order))
        except (HeadraceError, OSError, ValueError):
            return False

    def give(self, order: Order, lines: Lines) -> None:
        """Let a process train it."""
        self._given[self._begin(self._pool, order, lines)] = (order, lines)

    def _begin(self, pool: ProcessPoolExecutor, order: Order, lines: Lines) -> Future[str]:
        target = replace(order.about, tenant=order.tenant, ring=self._ring, space=self._space)
        alone = replace(order, train=(), dev=None, test=None)  # its lines go there once
        return pool.submit(_job, alone, target, lines, self._recipe, self._digest(order))

    def finished(self, several: Several, most: int = 0) -> Iterator[str]:
        """Wait until at most so many are given and not finished."""
        while len(self._given) > most:
            for one in wait(self._given, return_when=FIRST_COMPLETED).done:
                order, lines = self._given.pop(one)
                error = one.exception()
                if isinstance(error, BrokenProcessPool):
                    yield from self._apart(several, [(order, lines), *self._given.values()])
                    break
                yield _counted(several, order, one)

    def _apart(self, several: Several, given: Sequence[tuple[Order, Lines]]) -> Iterator[str]:
        """A process died (memory): whose fault it was shows where each order has a process of its own."""
        self._given.clear()
        self._pool.shutdown()
        for order, lines in given:
            with _pool(1) as pool:
                one = self._begin(pool, order, lines)
                one.exception()
                yield _counted(several, order, one)
        self._pool = _pool(os.cpu_count() or 1)

    def close(self) -> None:
        """End the processes; what they are at is finished first."""
        self._pool.shutdown(cancel_futures=True)

    def _digest(self, order: Order) -> str:
        about = (self._ring, self._space, self._recipe, order.about)
        return hashlib.sha256(repr((about, order.train, order.dev or ())).encode()).hexdigest()[:32]


def _pool(count: int) -> ProcessPoolExecutor:
    # Not forked: torch's threads do not live on in a fork. Ctrl-C is for the parent to handle.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))


def _counted(several: Several, order: Order, one: Future[str]) -> str:
    error = one.exception()
    if isinstance(error, BrokenProcessPool):
        error = HeadraceError("the process that trained it was killed: there may be too little memory")
    if error is not None:
        return several.failure(order.tenant, error)
    if order.made:
        several.kept += 1
    else:
        several.trained += 1
    return one.result()


def _job(order: Order, target: Target, lines: Lines, recipe: Recipe, digest: str) -> str:
    """In a process of its own: train, score and write a head; a line that says so."""
    told = "its head is of the same data"
    if not order.made:
        facts = {TRAINED_FROM: digest}
        manifest = fit(target, lines.train, lines.dev or None, order.out, recipe, Hooks(threads=1), facts)
        write_report(manifest, order.out / "report.html")
        told = f"{counted(len(lines.train), 'line')} taught" if lines.test else summary(manifest)
    if lines.test:
        scores = evaluate(load_head(order.out), lines.test).as_dict()
        told += f"; of others, {', '.join(lines_of_test(scores))}"
    found = f"; {counted(order.findings, 'finding')} in its data, see `headrace data check`" if order.findings else ""
    return f"{order.tenant}: {told}{found}"
