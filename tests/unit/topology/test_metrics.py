import re
import socket
import urllib.request

import pytest

from infra.stack.embedded import free_port
from topology.errors import Misconfigured, Unavailable
from topology.release import VERSION
from topology.stream.metrics import serve


def test_a_worker_tells_prometheus_what_it_counts_now():
    counts, port = {"hits": 1, "busy_us": 2_500_000}, free_port()
    serve(port, "head", lambda: counts, {"ring": "en", "cell": "a"})
    counts["hits"] = 7
    body = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    body = body.replace('ring="en",cell="a"', 'cell="a",ring="en"')
    assert 'headrace_head_hits_total{cell="a",ring="en"} 7.0' in body
    assert 'headrace_head_busy_seconds_total{cell="a",ring="en"} 2.5' in body
    release = re.search(r'^headrace_build_info{(.*)} 1.0$', body, re.MULTILINE)[1].split(",")
    assert sorted(release) == ['cell="a"', 'ring="en"', f'version="{VERSION}"']
    assert "# TYPE headrace_head_hits_total counter" in body and "# TYPE headrace_head_heads gauge" in body
    assert 'headrace_head_loads_total{cell="a",ring="en"} 0.0' in body, "a counter is there before it counts"


def test_a_port_that_cannot_be_is_a_matter_of_configuration_and_one_that_is_taken_of_this_moment():
    with pytest.raises(Misconfigured, match="--metrics-port 99999"):
        serve(99_999, "head", dict, {})
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"--metrics-port {port}.*a port of its own"):
            serve(port, "head", dict, {})
