"""What a process's page answers: whether it lives, whether it is ready, and metrics."""

import asyncio
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from infra.stack.embedded import free_port
from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING
from topology.release import VERSION
from topology.stream.health import Health
from topology.stream.metrics import of_worker
from topology.stream.page import Page

QUICK = replace(PACING, turn_s=0.01, still_s=0.2)


def asked(port, path, host="127.0.0.1"):
    """(status, body)."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(port, path, wanted):
    end = time.monotonic() + 30
    while (found := asked(port, path))[0] != wanted:
        assert time.monotonic() < end, found
    return found[1]


def test_a_process_is_ready_when_all_is_over_that_it_waits_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_READY_FILE", str(tmp_path / "ready"))
    port, health, stop = free_port(), None, asyncio.Event()
    health = Health(stop)
    loaded, assigned = health.awaits("the encoder is being loaded"), health.awaits("no partitions are assigned yet")
    Page("127.0.0.1", port, health)
    assert asked(port, "/readyz") == (503, "the encoder is being loaded; no partitions are assigned yet\n")
    loaded()
    assert asked(port, "/readyz") == (503, "no partitions are assigned yet\n")
    assert not (tmp_path / "ready").exists()
    assigned()
    assert asked(port, "/readyz") == asked(port, "/livez") == (200, "ok\n")
    assert (tmp_path / "ready").exists()
    assigned()  # as at each rebalance
    stop.set()
    assert asked(port, "/readyz") == (503, "stopping: what was begun is being finished\n")
    assert asked(port, "/livez") == (200, "ok\n"), "what is begun may be finished"


async def test_a_loop_that_stands_still_is_told_while_it_stands_still():
    port, health = free_port(), Health(pacing=QUICK)
    health.awaits("nothing")()
    health.follow_loop()
    Page("127.0.0.1", port, health)
    assert (await asyncio.to_thread(asked, port, "/livez"))[0] == 200
    told = until(port, "/livez", 503)  # this is the loop: while it asks, it does not turn
    assert told.startswith("the event loop has stood still for ")
    assert asked(port, "/readyz")[0] == 503
    assert await asyncio.to_thread(until, port, "/livez", 200) == "ok\n", "it turns again"


def test_a_process_that_loads_may_stand_still_for_longer():
    port, health = free_port(), Health(pacing=replace(QUICK, still_s=0.0, load_s=900.0))
    loaded = health.awaits("the encoder is being loaded")
    Page("127.0.0.1", port, health)
    assert asked(port, "/livez") == (200, "ok\n")
    loaded()
    assert asked(port, "/livez")[0] == 503


def test_metrics_come_when_they_are_known_and_other_pages_do_not():
    port, counts = free_port(), {"hits": 1, "busy_us": 2_500_000}
    page = Page("127.0.0.1", port, Health())
    assert asked(port, "/metrics") == (200, "")
    page.tell(of_worker("head", lambda: counts, {"ring": "en", "cell": "a"}))
    counts["hits"] = 7
    body = asked(port, "/metrics")[1].replace('ring="en",cell="a"', 'cell="a",ring="en"')
    assert 'headrace_head_hits_total{cell="a",ring="en"} 7.0' in body
    assert 'headrace_head_busy_seconds_total{cell="a",ring="en"} 2.5' in body
    release = re.search(r'^headrace_build_info{(.*)} 1.0$', body, re.MULTILINE)[1].split(",")
    assert sorted(release) == ['cell="a"', 'ring="en"', f'version="{VERSION}"']
    assert "# TYPE headrace_head_hits_total counter" in body and "# TYPE headrace_head_heads gauge" in body
    assert 'headrace_head_loads_total{cell="a",ring="en"} 0.0' in body, "a counter is there before it counts"
    assert asked(port, "/")[0] == asked(port, "/debug")[0] == 404


def test_it_is_served_on_this_machine_alone_unless_told_otherwise():
    port = free_port()
    Page("127.0.0.1", port, Health())
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), timeout=5)
    everywhere = free_port()
    Page("0.0.0.0", everywhere, Health())
    assert asked(everywhere, "/livez", "127.0.0.2") == (200, "ok\n")


def test_a_client_that_goes_away_or_says_nothing_stops_no_other(capfd):
    port = free_port()
    Page("127.0.0.1", port, Health())
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    with socket.create_connection(("127.0.0.1", port)) as gone:
        gone.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert asked(port, "/livez")[0] == 200
    for one in silent:
        one.close()
    assert asked(port, "/livez")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_page_that_cannot_be_is_a_matter_of_configuration_and_a_port_that_is_taken_of_this_moment():
    with pytest.raises(Misconfigured, match="--metrics-port 99999"):
        Page("127.0.0.1", 99_999, Health())
    with pytest.raises(Misconfigured, match="no address of this machine"):
        Page("192.0.2.1", free_port(), Health())
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"--metrics-port {port}.*a port of its own"):
            Page("127.0.0.1", port, Health())


def test_no_page_and_no_thread_without_a_port():
    before = threading.active_count()
    Page("127.0.0.1", 0, Health()).tell([])
    assert threading.active_count() == before
