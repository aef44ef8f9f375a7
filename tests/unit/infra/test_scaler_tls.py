"""The scaler with TLS, asked by KEDA's client; and its metrics page."""

import asyncio
import contextlib
import shutil

import pytest

pytest.importorskip("grpc")

import grpc
from prometheus_client.parser import text_string_to_metric_families

from infra.autoscale.decider import Decider
from infra.autoscale.scaler import CALLS, Scaler, serve
from infra.autoscale.scaler_metrics import ScalerMetrics
from infra.autoscale.scaler_tls import Tls
from infra.autoscale.tiers import Advice
from tests import certificates
from tests.keda import Keda
from tests.unit.infra.test_scaler import POLICY, World
from topology.errors import Misconfigured

made = pytest.mark.skipif(not certificates.AVAILABLE, reason="left out: there is no openssl to make certificates")


@contextlib.asynccontextmanager
async def scaler(tls=None):
    """(address, counts) of a scaler that has decided once."""
    stop, counts = asyncio.Event(), ScalerMetrics(CALLS)
    decider = Decider(World().read, POLICY, counts.decided)
    await decider.turn()
    port = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(Scaler(decider, frozenset({"encoder/en"})), "127.0.0.1:0", stop, port.set_result, counts, tls)
    )
    try:
        yield f"127.0.0.1:{await port}", counts
    finally:
        stop.set()
        await serving


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A folder with an authority, a server's and a client's certificate, and those of another authority."""
    home = tmp_path_factory.mktemp("pem")
    for name in ("ca", "other"):
        ca = certificates.authority(home, name)
        certificates.signed(ca, f"{name}-server")
        certificates.signed(ca, f"{name}-client")
    return home


def client(pem, ca="ca", name=None):
    """What KEDA makes of caCert, tlsClientCert and tlsClientKey."""
    pair = [(pem / f"{name}.{end}").read_bytes() for end in ("key", "pem")] if name else (None, None)
    return grpc.ssl_channel_credentials((pem / f"{ca}.pem").read_bytes(), *pair)


async def told(address, credentials):
    async with Keda(address, credentials) as keda:
        assert await keda.health() == b"\x08\x01"
        (value,) = (await keda.metrics("encoder/en")).metricValues
        assert (await keda.stream_is_active("encoder/en").read()).result
        return value.metricValueFloat


@made
async def test_keda_is_answered_over_tls_and_whoever_speaks_none_or_trusts_another_is_not(pem):
    async with scaler(Tls.of(pem / "ca-server.pem", pem / "ca-server.key", None)) as (address, _):
        assert await told(address, client(pem)) == 8
        for wrong in (None, client(pem, "other")):
            with pytest.raises(grpc.aio.AioRpcError):
                await told(address, wrong)


@made
async def test_only_callers_with_a_certificate_of_the_named_authority_are_answered(pem):
    async with scaler(Tls.of(pem / "ca-server.pem", pem / "ca-server.key", pem / "ca.pem")) as (address, _):
        assert await told(address, client(pem, name="ca-client")) == 8
        for name in (None, "other-client"):
            with pytest.raises(grpc.aio.AioRpcError):
                await told(address, client(pem, name=name))


@made
async def test_a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_is_not(pem, tmp_path):
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def put(name):
        for source, place in ((f"{name}.pem", cert), (f"{name}.key", key)):
            shutil.copy(pem / source, tmp_path / "new")
            (tmp_path / "new").replace(place)

    put("ca-server")
    async with scaler(Tls.of(cert, key, None)) as (address, _):
        assert await told(address, client(pem)) == 8
        key.write_text("half of a")
        assert await told(address, client(pem)) == 8
        put("other-server")
        assert await told(address, client(pem, "other")) == 8


@made
@pytest.mark.parametrize("files, words", [
    (("ca-server.pem", None, None), "--tls-key"), ((None, "ca-server.key", None), "--tls-cert"),
    ((None, None, "ca.pem"), "needs both"), (("ca-server.pem", "other-server.key", None), "other-server.key"),
    (("ca-server.pem", "none.key", None), "none.key"), (("ca-server.key", "ca-server.key", None), "TLS files"),
    (("ca-server.pem", "ca-server.key", "ca.key"), "ca.key"),
])
def test_what_is_wrong_with_tls_files_is_said_before_anything_starts(pem, files, words):
    with pytest.raises(Misconfigured, match=words):
        Tls.of(*(name and pem / name for name in files))


async def test_the_page_counts_decisions_holds_and_calls():
    async with scaler() as (address, counts):
        async with Keda(address) as keda:
            await keda.metrics("encoder/en")
            await keda.is_active("encoder/en")
            stream = keda.stream_is_active("encoder/en")
            await stream.read()
            with pytest.raises(grpc.aio.AioRpcError):
                await keda.metrics("encoder/fr")
        for to, held in ((3, False), (2, False), (2, True)):
            counts.decided([Advice("head/en/a", 0.0, to, 3 if to == 2 else 2, "as the test says", held)])
    found = {(s.name, *s.labels.values()): s.value for one in page(counts) for s in one.samples}
    assert found["headrace_scaler_calls_total", "GetMetrics", "ok"] == 1
    assert found["headrace_scaler_calls_total", "GetMetrics", "error"] == 1
    assert found["headrace_scaler_calls_total", "StreamIsActive", "ok"] == 1
    assert found["headrace_scaler_calls_total", "GetMetricSpec", "ok"] == 0
    assert found["headrace_scale_decisions_total", "up", "encoder/en"] == 1
    assert [found["headrace_scale_decisions_total", one, "head/en/a"] for one in ("up", "down", "hold")] == [1, 1, 1]
    assert found["headrace_scale_held", "head/en/a"] == 1 and found["headrace_scale_replicas", "head/en/a"] == 2


def page(collector):
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(collector)
    return list(text_string_to_metric_families(generate_latest(registry).decode()))
