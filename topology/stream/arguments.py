"""What long-running processes take on their command lines alike."""

from __future__ import annotations

import argparse
import os

PORT_HELP = "serve /livez, /readyz and Prometheus' /metrics there (default: $HEADRACE_METRICS_PORT, else not)"
HOST_HELP = "the address to serve them at: 0.0.0.0 or :: for all (default: $HEADRACE_METRICS_HOST, else 127.0.0.1)"
MOST_PORT = 65_535
LOCAL = "127.0.0.1"  # a page has no password: it leaves the machine only where somebody says so


def port(text: str) -> int:
    """A TCP port; 0 where that means none, or a free one."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= MOST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r}: a port, 0 to {MOST_PORT}, is wanted")
    return int(text)


def add_page(parser: argparse.ArgumentParser) -> None:
    """Put `--metrics-port` and `--metrics-host` among a process's arguments."""
    told = os.environ.get("HEADRACE_METRICS_PORT", "")
    parser.add_argument("--metrics-port", type=port, default=int(told) if told.isdecimal() else 0, metavar="PORT",
                        help=PORT_HELP)
    add_page_host(parser)


def add_page_host(parser: argparse.ArgumentParser) -> None:
    """Put `--metrics-host` alone."""
    parser.add_argument("--metrics-host", default=os.environ.get("HEADRACE_METRICS_HOST") or LOCAL, metavar="ADDRESS",
                        help=HOST_HELP)
