"""`python -m infra.insights --ring en`: one process that counts a ring's live predictions, as a container starts it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import threading
from collections.abc import Callable

from infra.announce import store_of
from infra.insights import export, metrics
from infra.insights.app import Insights
from infra.insights.baselines import Baselines
from infra.insights.counting import Counting
from infra.insights.gauges import Gauges, gauges
from infra.insights.windows import Key, Window
from topology import topics
from topology.addresses import load_running
from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.settings import Ring, Settings
from topology.stream import arguments, sign_on
from topology.stream.admin import apply_topics
from topology.stream.health import Health
from topology.stream.metrics import Build
from topology.stream.page import Page
from topology.stream.process import run_process

log = logging.getLogger("infra.insights")


def main() -> int:
    """Parse the command line and run until SIGTERM. Exit codes: 0 stopped, 2 misconfigured, 75 start me again."""
    parser = argparse.ArgumentParser(prog="infra.insights", description=__doc__)
    parser.add_argument("--config", help="headrace.toml (default: $HEADRACE_CONFIG, then ./headrace.toml)")
    add_arguments(parser)
    return run(parser.parse_args())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes too."""
    parser.add_argument("--ring", default="", help="whose predictions to count (default: the only ring)")
    arguments.add_page(parser)


def run(args: argparse.Namespace) -> int:
    """Count until SIGTERM. Returns the exit code."""
    return run_process(lambda stop: count(args, stop))


async def count(args: argparse.Namespace, stop: asyncio.Event) -> None:
    """Count and export until `stop`. Raises: Misconfigured, Unavailable."""
    health = Health(stop)
    health.follow_loop()
    restored = health.awaits("what was counted before is being read")
    page = Page(args.metrics_host, args.metrics_port, health)
    for chatty in ("faust", "mode", "infra.insights.table", "infra.insights.driver"):  # a line for each of its services
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("faust.transport.producer").setLevel(logging.ERROR)  # a full buffer makes the writing wait
    settings = load_running(args.config)
    ring = ring_of(settings, args.ring)
    await sign_on.sign_on_or_wait(settings.broker)
    await check_topics(settings, ring)
    if settings.insights.export:
        export.schema()
    insights = Insights(settings, ring)
    side = Side(settings, ring, insights.cells, restored)
    counted = metrics.InsightsCollector(ring.name, insights.cells, lambda: side.gauges)
    page.tell([Build({"ring": ring.name}), counted])
    await insights.start()
    beside = asyncio.create_task(side.follow())
    try:
        await insights.run(stop)
        await insights.write()
    finally:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
        with contextlib.suppress(Unavailable):  # the next start exports them
            await side.export_changed()
        await insights.stop()
        for cell, one in insights.cells.items():
            log.info("stats %s %s", cell, json.dumps(one.tally))


def ring_of(settings: Settings, name: str) -> Ring:
    """The ring that is meant. Raises: Misconfigured."""
    known = ", ".join(settings.rings)
    if not name and len(settings.rings) == 1:
        return next(iter(settings.rings.values()))
    if name not in settings.rings:
        raise Misconfigured(f"--ring {name!r}: one of {known} is wanted" if name else f"which ring? --ring {known}")
    return settings.rings[name]


async def check_topics(settings: Settings, ring: Ring) -> None:
    """A table needs exactly the partitions of what it counts. Raises: Misconfigured, naming what to do; Unavailable."""
    wanted = [
        spec for spec in topics.wanted(settings) for cell in ring.cells
        if spec.name in (topics.predictions(settings.prefix, ring.name, cell),
                         topics.insights(settings.prefix, ring.name, cell))
    ]
    for report in await apply_topics(settings, wanted, create=False):
        if wrong := [one for one in report.differences if one == "missing" or one.startswith("partitions")]:
            raise Misconfigured(f"topic {report.name}: {'; '.join(wrong)}: headrace topics apply; a topic that differs "
                                "is to be deleted first")
        for one in report.differences:
            log.warning("topic %s: %s", report.name, one)


class Side:
    """What happens beside counting, once a minute: gauges, exports, and windows that are over."""

    def __init__(
        self, settings: Settings, ring: Ring, cells: dict[str, Counting], restored: Callable[[], None]
    ) -> None:
        """`restored`: is called when what was counted before is known."""
        self._url, self._ring, self._cells = settings.insights.export, ring.name, cells
        self._baselines = Baselines(store_of(settings), ring.name)
        self.gauges: dict[tuple[str, str], Gauges] = {}
        self._one, self._restored = threading.Lock(), restored

    async def follow(self) -> None:
        """Look, wait, and look again, until it is cancelled."""
        for one in self._cells.values():
            await one.restored.wait()
        self._restored()
        while True:
            try:
                await self._look()
            except Unavailable as error:  # the store or the target is away: windows stay until it is back
                log.warning("it is tried again in %.0f s: %s", PACING.insights_export_s, error)
            await asyncio.sleep(PACING.insights_export_s)

    async def _look(self) -> None:
        found: dict[tuple[str, str], Gauges] = {}
        for cell, one in self._cells.items():
            told = await gauges(one.windows(), self._baselines)
            found |= {(cell, tenant): figures for tenant, figures in told.items()}
        self.gauges = found
        await self.export_changed()
        for one in self._cells.values():
            await one.drop_over()

    async def export_changed(self) -> None:
        """Write the files that changed. Raises: Misconfigured, Unavailable."""
        for cell, one in self._cells.items():
            changed, one.changed = one.changed, set()
            try:
                for place, windows in list(export.files_of(one.windows(), changed)) if self._url else ():
                    await asyncio.to_thread(self._write, cell, place, windows)
            except BaseException:
                one.changed |= changed
                raise

    def _write(self, cell: str, place: export.Place, windows: list[tuple[Key, Window]]) -> None:
        """One at a time: a write whose waiting was cancelled goes on, and a newer one of its file comes after it."""
        with self._one:
            export.write(self._url, self._ring, cell, place, windows)


if __name__ == "__main__":
    sys.exit(main())
