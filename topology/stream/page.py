"""A process's page: `/livez`, `/readyz` and `/metrics`, from threads that do not wait for the event loop."""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler
from prometheus_client.registry import Collector

from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.stream.health import Health

log = logging.getLogger(__name__)


class Page:
    """Serves the health of this process from its first moment on, and metrics as soon as there are some.

    A probe's answer is 200 and `ok`, or 503 and the reason, in plain text.
    """

    def __init__(self, host: str, port: int, health: Health) -> None:
        """`port` 0 serves nothing.

        Raises: Misconfigured; Unavailable where another process has the port: it may be the one before this.
        """
        self._collectors = CollectorRegistry()
        if port:
            probes = {"/livez": health.not_live, "/readyz": health.not_ready}
            server = _bound(host, port, probes, self._collectors)
            threading.Thread(target=server.serve_forever, name="page", daemon=True).start()

    def tell(self, collectors: Iterable[Collector]) -> None:
        """Show their metrics too, from now on."""
        for collector in collectors:
            self._collectors.register(collector)


def _bound(
    host: str, port: int, probes: dict[str, Callable[[], str]], collectors: CollectorRegistry
) -> ThreadingHTTPServer:
    class Handler(_Handler):
        registry = collectors
        reasons = probes

    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        return Server((host, port), Handler)
    except (OverflowError, PermissionError) as error:
        raise Misconfigured(f"--metrics-port {port}: {error}") from error
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise Misconfigured(f"--metrics-host {host}: no address of this machine: {error}") from error
        raise Unavailable(f"--metrics-port {port}: {error}; each process needs a port of its own") from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a client that reads slowly does not keep the process

    def server_bind(self) -> None:
        """Without what http.server does beside: it asks DNS for this machine's name."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours."""
        if not isinstance(sys.exception(), OSError):
            log.exception("the page could not be told")


class _Handler(MetricsHandler):
    timeout = PACING.page_s
    reasons: dict[str, Callable[[], str]]

    def do_GET(self) -> None:
        """The three pages; 404 for anything else."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            super().do_GET()
        elif path in self.reasons:
            reason = self.reasons[path]()
            self._say(503 if reason else 200, reason or "ok")
        else:
            self._say(404, "there are /livez, /readyz and /metrics")

    def _say(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
