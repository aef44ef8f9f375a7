"""KEDA's external scaler: `headrace scaler` answers its calls from the decisions of one loop.

A ScaledObject names its tier in the trigger's metadata (`tier: encoder/en`). The metric is the count itself, its target
1: with `metricType: AverageValue` the autoscaler of Kubernetes makes it the number of replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from infra.autoscale.decider import Decider, Said, deciding, news, together
from infra.autoscale.keda import externalscaler_pb2 as keda
from infra.autoscale.scaler_metrics import ScalerMetrics
from infra.autoscale.scaler_tls import Tls
from infra.autoscale.tiers import Advice
from infra.stack.up import tiers
from topology.errors import Unavailable
from topology.pacing import PACING
from topology.settings import Settings
from topology.stream.metrics import Build
from topology.stream.page import Page

log = logging.getLogger(__name__)

METRIC = "replicas"
CALLS = ("IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics")
HEALTHY = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse: status = SERVING


class Scaler:
    """The four calls. A tier that is not there is INVALID_ARGUMENT; one that was never read, UNAVAILABLE: on an error
    Kubernetes changes no count."""

    def __init__(self, decider: Decider, tiers: frozenset[str]) -> None:
        self._decider, self._tiers = decider, tiers

    async def is_active(self, request: keda.ScaledObjectRef, context: Any) -> keda.IsActiveResponse:
        """Whether the tier wants any replica."""
        return keda.IsActiveResponse(result=await self._replicas(request, context) > 0)

    async def stream_is_active(
        self, request: keda.ScaledObjectRef, context: Any
    ) -> AsyncIterator[keda.IsActiveResponse]:
        """The same at once and after each change."""
        said = None
        while True:
            active = await self._replicas(request, context) > 0
            if active is not said:
                said = active
                yield keda.IsActiveResponse(result=active)
            await self._decider.change()

    async def metric_spec(self, request: keda.ScaledObjectRef, context: Any) -> keda.GetMetricSpecResponse:
        """One metric with the target 1; known before anything was read."""
        await self._tier(request, context)
        return keda.GetMetricSpecResponse(
            metricSpecs=[keda.MetricSpec(metricName=METRIC, targetSize=1, targetSizeFloat=1.0)]
        )

    async def metrics(self, request: keda.GetMetricsRequest, context: Any) -> keda.GetMetricsResponse:
        """How many replicas the tier wants."""
        count = await self._replicas(request.scaledObjectRef, context)
        value = keda.MetricValue(
            metricName=request.metricName or METRIC, metricValue=count, metricValueFloat=float(count)
        )
        return keda.GetMetricsResponse(metricValues=[value])

    async def _tier(self, ref: keda.ScaledObjectRef, context: Any) -> str:
        name = ref.scalerMetadata.get("tier", "")
        if name not in self._tiers:
            known = ", ".join(sorted(self._tiers))
            told = f"ScaledObject {ref.namespace}/{ref.name}: metadata.tier {name!r} is none of: {known}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, told)
        return str(name)

    async def _replicas(self, ref: keda.ScaledObjectRef, context: Any) -> int:
        name = await self._tier(ref, context)
        if name not in self._decider.counts:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{name}: {self._decider.why}")
        return self._decider.counts[name]


async def run(
    settings: Settings, address: str, stop: asyncio.Event, page: Page, listening: Callable[[], None],
    tls: Tls | None = None,
) -> None:
    """Decide, and answer KEDA at `address`, until `stop`. `listening`: is called when it is answered."""
    names = frozenset(tier for tier, _, _ in tiers(settings))
    said: Said = {}
    counts = ScalerMetrics(CALLS)
    page.tell([Build({}), counts])

    def apply(advices: Sequence[Advice]) -> None:
        counts.decided(advices)
        _tell(advices, said)

    def ready(port: int) -> None:
        log.info("KEDA is answered at port %d for %s", port, ", ".join(sorted(names)))
        listening()

    async with deciding(settings) as decider:
        await together(
            decider.run(stop, apply),
            serve(Scaler(decider, names), address, stop, ready, counts, tls),
        )


def _tell(advices: Sequence[Advice], said: Said) -> None:
    """A log line for what changed, and for what goes on to be held."""
    for advice in news(advices, said):
        log.log(logging.WARNING if advice.held else logging.INFO, "%s: %s", advice.tier, advice.why)
        for report in advice.reports:
            log.warning("%s: %s", advice.tier, report)


async def serve(scaler: Scaler, address: str, stop: asyncio.Event, ready: Callable[[int], None],
                counts: ScalerMetrics, tls: Tls | None = None) -> None:
    """Answer KEDA at `address` (host:port; port 0 takes a free one) until `stop`. `ready` is told the port.

    Raises: Unavailable where the address cannot be had: another process may have it, such as the one before this.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_calls(scaler, counts), _health()))
    try:
        port = server.add_secure_port(address, tls.credentials()) if tls else server.add_insecure_port(address)
    except RuntimeError as error:
        raise Unavailable(f"{address} cannot be listened at: {error}") from error
    await server.start()
    try:
        ready(port)
        await stop.wait()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await server.stop(grace=PACING.close_s)


def _calls(scaler: Scaler, counts: ScalerMetrics) -> Any:
    def unary(name: str, call: Any, request: Any, response: Any) -> Any:
        return _handler(grpc.unary_unary_rpc_method_handler, _counted(name, call, counts), request, response)

    ref, stream = keda.ScaledObjectRef, _counted_stream("StreamIsActive", scaler.stream_is_active, counts)
    return grpc.method_handlers_generic_handler("externalscaler.ExternalScaler", {
        "IsActive": unary("IsActive", scaler.is_active, ref, keda.IsActiveResponse),
        "StreamIsActive": _handler(grpc.unary_stream_rpc_method_handler, stream, ref, keda.IsActiveResponse),
        "GetMetricSpec": unary("GetMetricSpec", scaler.metric_spec, ref, keda.GetMetricSpecResponse),
        "GetMetrics": unary("GetMetrics", scaler.metrics, keda.GetMetricsRequest, keda.GetMetricsResponse),
    })


def _handler(kind: Any, call: Any, request: Any, response: Any) -> Any:
    return kind(call, request_deserializer=request.FromString, response_serializer=response.SerializeToString)


def _counted(name: str, call: Any, counts: ScalerMetrics) -> Any:
    async def counted(request: Any, context: Any) -> Any:
        answered = False
        try:
            answer = await call(request, context)
            answered = True
            return answer
        finally:
            counts.called(name, answered)

    return counted


def _counted_stream(name: str, call: Any, counts: ScalerMetrics) -> Any:
    """It lasts as long as KEDA's operator: it is counted with its first answer."""
    async def counted(request: Any, context: Any) -> AsyncIterator[Any]:
        answered = False
        try:
            async for answer in call(request, context):
                if not answered:
                    counts.called(name, answered := True)
                yield answer
        finally:
            if not answered:
                counts.called(name, False)

    return counted


def _health() -> Any:
    """grpc.health.v1, which Kubernetes' gRPC probes call. The process ends where its loop does, so it is well."""
    async def check(request: bytes, context: Any) -> bytes:
        return HEALTHY

    return grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
    )
