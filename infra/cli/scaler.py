"""`headrace scaler`: tells KEDA how many workers each tier wants."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from infra.cli.command import add_command
from topology.errors import Misconfigured
from topology.stream import arguments

ABOUT = """\
tell KEDA how many workers to run: a gRPC external scaler. A ScaledObject names its tier in metadata.tier, such as
encoder/en or head/en/a. While Kafka cannot be read, counts stay as they are, and the log and `headrace scale history`
say why. docs/OPERATIONS.md has an example."""


def add_commands(commands: Any) -> None:
    """Put `scaler` among `commands`."""
    scaler = add_command(commands, "scaler", _scaler, ABOUT, "headrace scaler --port 6000")
    scaler.add_argument("--port", type=arguments.port, default=6000,
                        help="where KEDA asks (default: 6000; 0: a free one)")
    scaler.add_argument("--host", default="[::]", help="the address to listen at (default: all)")
    arguments.add_page(scaler)
    scaler.add_argument("--tls-cert", type=Path, metavar="PEM", help="listen with TLS: the certificate, and its chain")
    scaler.add_argument("--tls-key", type=Path, metavar="PEM", help="its private key")
    scaler.add_argument("--tls-client-ca", type=Path, metavar="PEM",
                        help="answer only callers with a certificate of this authority")


def _scaler(args: argparse.Namespace) -> int:
    from topology.addresses import load_running
    from topology.stream.health import Health
    from topology.stream.page import Page
    from topology.stream.process import run_process

    try:
        from infra.autoscale.scaler import run
        from infra.autoscale.scaler_tls import Tls
    except ModuleNotFoundError as error:
        raise Misconfigured(f"{error.name} is not installed; pip install 'headrace[scaler]' brings it") from error

    settings = load_running(args.config)
    tls = Tls.of(args.tls_cert, args.tls_key, args.tls_client_ca)

    async def serve(stop: asyncio.Event) -> None:
        health = Health(stop)
        health.follow_loop()
        listening = health.awaits("KEDA's port is not open yet")
        page = Page(args.metrics_host, args.metrics_port, health)
        await run(settings, f"{args.host}:{args.port}", stop, page, listening, tls)

    return run_process(serve)
