"""What KEDA hears, asked by a client that is made from KEDA's proto alone."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("grpc")

import grpc

from infra.autoscale.decider import Decider
from infra.autoscale.scaler import CALLS, Scaler, serve
from infra.autoscale.scaler_metrics import ScalerMetrics
from infra.autoscale.tiers import PartitionLoad, Policy, Tier
from tests.keda import Keda

ROOT = Path(__file__).parents[3]
KEDA = "infra/autoscale/keda/externalscaler"
POLICY = Policy(every_s=0.05, start_s=1.0, rebalance_s=0.0, quiet_s=5.0)


class World:
    """An encoder tier as it is read; `away`: why it is not."""

    def __init__(self, arrivals_per_s=500.0):
        self.arrivals_per_s, self.away = arrivals_per_s, ""

    async def read(self):
        if self.away:
            return [Tier("encoder/en", "encoder", "en", at_s=time.time(), missing=self.away)]
        each = tuple(PartitionLoad(n, arrivals_per_s=self.arrivals_per_s / 8) for n in range(8))
        return [Tier("encoder/en", "encoder", "en", at_s=time.time(), replicas=1, partitions=each,
                     arrivals_per_s=self.arrivals_per_s, rate_per_s=1_500.0, work_per_record=15.0)]


@pytest.fixture
async def asked():
    """(world, client, advices) of a running scaler."""
    world, notes, stop = World(), [], asyncio.Event()
    decider = Decider(world.read, POLICY, notes.extend)
    port = asyncio.get_running_loop().create_future()
    scaler = Scaler(decider, frozenset({"encoder/en"}))
    counts = ScalerMetrics(CALLS)
    serving = asyncio.create_task(serve(scaler, "127.0.0.1:0", stop, port.set_result, counts))
    async with Keda(f"127.0.0.1:{await port}") as client:
        yield world, client, decider, notes
    stop.set()
    await serving


async def test_the_metric_is_the_count_and_its_target_is_1(asked):
    _, keda, decider, _ = asked
    await decider.turn()
    await decider.turn()
    (spec,) = (await keda.metric_spec("encoder/en")).metricSpecs
    assert (spec.targetSize, spec.targetSizeFloat) == (1, 1.0)
    (value,) = (await keda.metrics("encoder/en", spec.metricName)).metricValues
    assert value.metricName == spec.metricName
    assert value.metricValueFloat == value.metricValue == decider.counts["encoder/en"] == 8  # 7.1, evenly
    assert (await keda.is_active("encoder/en")).result


async def test_while_nothing_can_be_read_the_count_stays_and_the_reason_is_kept(asked):
    world, keda, decider, notes = asked
    await decider.turn()
    await decider.turn()
    world.away = "the broker at kafka:9092 did not answer in 6 s"
    for _ in range(3):
        await decider.turn()
    (value,) = (await keda.metrics("encoder/en")).metricValues
    assert value.metricValueFloat == 8
    assert notes[-1].held and world.away in notes[-1].why and notes[-1].replicas == 8


async def test_before_anything_was_read_kubernetes_is_told_an_error_that_names_the_cause(asked):
    world, keda, decider, _ = asked
    world.away = "no broker at kafka:9092"
    await decider.turn()
    for call in (keda.metrics, keda.is_active):
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await call("encoder/en")
        assert told.value.code() is grpc.StatusCode.UNAVAILABLE and world.away in told.value.details()
    assert (await keda.metric_spec("encoder/en")).metricSpecs  # Kubernetes makes its autoscaler from it all the same


@pytest.mark.parametrize("tier", ["", "encoder/xx", "encoder"])
async def test_a_tier_that_is_not_there_is_named_with_those_that_are(asked, tier):
    _, keda, decider, _ = asked
    await decider.turn()
    for call in (keda.metrics, keda.is_active, keda.metric_spec):
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await call(tier)
        assert told.value.code() is grpc.StatusCode.INVALID_ARGUMENT and "encoder/en" in told.value.details()


async def test_a_stream_tells_at_once_and_again_only_when_it_changes(asked):
    _, keda, decider, _ = asked
    await decider.turn()
    stream = keda.stream_is_active("encoder/en")
    assert (await stream.read()).result
    decider.counts["encoder/en"] = 0  # as with a tier that may go to zero
    again = asyncio.create_task(stream.read())
    for _ in range(200):
        async with decider._changed:
            decider._changed.notify_all()
        if again.done():
            break
        await asyncio.sleep(0.01)
    assert not (await again).result
    stream.cancel()


async def test_a_probe_of_kubernetes_is_answered(asked):
    assert await asked[1].health() == b"\x08\x01"


def test_the_code_in_the_repository_is_what_the_proto_gives(tmp_path):
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, f"{KEDA}.proto"], cwd=ROOT, check=True, timeout=60)
    for kind in ("py", "pyi"):
        assert (tmp_path / f"{KEDA}_pb2.{kind}").read_text() == (ROOT / f"{KEDA}_pb2.{kind}").read_text()
