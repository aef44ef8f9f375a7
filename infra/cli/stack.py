"""`headrace up` and `headrace demo`: a whole stack on this machine."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from infra.cli.command import add_command
from topology.settings import Settings, settings_path
from topology.stream import arguments

if TYPE_CHECKING:
    from infra.stack.supervise import Supervisor


def add_commands(commands: Any) -> None:
    """Put `up` and `demo` among `commands`."""
    up = add_command(commands, "up", _up, "start the whole stack of headrace.toml; Ctrl-C stops it",
                     'headrace up\nheadrace predict acme "turn on the light"   (in another terminal)')
    up.add_argument("--autoscale", action="store_true", help="start and stop workers by lag: docs/SCALING.md")
    up.add_argument("--metrics-port", type=arguments.port, default=0, metavar="PORT",
                    help="serve Prometheus there: lag, and the metrics of every process (default: not)")
    arguments.add_page_host(up)
    demo = add_command(commands, "demo", _demo, "six tenants in five languages, end to end, on this machine")
    demo.add_argument("--serve", action="store_true", help="leave it running and say how to send to it")


def _up(args: argparse.Namespace) -> None:
    from infra.stack.up import NewTiers, stack

    _end_at_sigterm()
    with stack(args.config, worker_metrics=bool(args.metrics_port)) as (settings, supervisor):
        if args.metrics_port:
            from infra.autoscale.signals_page import serve_beside

            serve_beside(args.metrics_host, args.metrics_port, settings, supervisor.metrics_ports)
        print('up. Ask it with: headrace predict TENANT "text". Ctrl-C stops it.', flush=True)
        if args.autoscale:
            asyncio.run(_autoscale(settings, supervisor, str(settings_path(args.config).resolve())))
            raise KeyboardInterrupt
        _wait_for_signal(settings, supervisor, NewTiers(settings, str(settings_path(args.config).resolve())).start)


async def _autoscale(settings: Settings, supervisor: Supervisor, config: str) -> None:
    from infra.autoscale.decider import deciding
    from infra.autoscale.local import Fleet, autoscale

    stop, fleet = asyncio.Event(), Fleet(settings, supervisor, config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with deciding(settings, fleet.counts) as decider:
        await autoscale(fleet, decider, stop, lambda line: print(line, flush=True))


def _demo(args: argparse.Namespace) -> None:
    from infra import demo

    _end_at_sigterm()
    with demo.running() as (config, settings, supervisor):
        asyncio.run(demo.show(settings))
        if args.serve:
            print(f'\nTry: headrace --config {config} predict airline "flights from boston to denver"   (Ctrl-C stops)')
            _wait_for_signal(settings, supervisor)


def _end_at_sigterm() -> None:
    """As Ctrl-C, from the start on: what was started is stopped, also where the kernel does not see to it."""
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _wait_for_signal(
    settings: Settings, supervisor: Supervisor, look: Callable[[Supervisor], list[str]] = lambda of: []
) -> None:
    from infra.stack.up import restored

    while True:
        time.sleep(0.5)
        names = supervisor.restart_ended()
        for line in supervisor.told(names):
            print(line, flush=True)
        restored(settings, supervisor, names, lambda line: print(line, flush=True))
        for line in look(supervisor):
            print(line, flush=True)
