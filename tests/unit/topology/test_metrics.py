import urllib.request

from infra.stack.embedded import free_port
from topology.stream.metrics import serve


def test_a_worker_tells_prometheus_what_it_counts_now():
    counts, port = {"hits": 1}, free_port()
    serve(port, "head", lambda: counts, {"ring": "en", "cell": "a"})
    counts["hits"] = 7
    body = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    assert 'headrace_head_hits{cell="a",ring="en"} 7.0' in body.replace('ring="en",cell="a"', 'cell="a",ring="en"')
