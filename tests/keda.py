"""A client as KEDA is one: made from the proto alone, in a pool of its own, without any code of the scaler."""

import tempfile
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

PROTO = Path(__file__).parents[1] / "infra" / "autoscale" / "keda" / "externalscaler.proto"


class Keda:
    """Calls the scaler at an address for the ScaledObject of a tier. `credentials`: it speaks TLS."""

    def __init__(self, address, credentials=None):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "set"
            assert protoc.main(["", f"-I{PROTO.parent}", f"--descriptor_set_out={out}", str(PROTO)]) == 0
            found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for one in found.file:
            pool.Add(one)
        self._pool = pool
        self._channel = grpc.aio.secure_channel(address, credentials) if credentials else \
            grpc.aio.insecure_channel(address)
        self._service = pool.FindServiceByName("externalscaler.ExternalScaler")

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        await self._channel.close()

    def _message(self, name):
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"externalscaler.{name}"))

    def _call(self, name, request):
        method = self._service.methods_by_name[name]
        kind = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        answer = message_factory.GetMessageClass(method.output_type)
        call = kind(f"/{self._service.full_name}/{name}", type(request).SerializeToString, answer.FromString)
        return call(request, timeout=10)

    def _ref(self, tier):
        return self._message("ScaledObjectRef")(
            name="encoder-en", namespace="headrace",
            scalerMetadata={"scalerAddress": "headrace-scaler:6000", **({"tier": tier} if tier else {})},
        )

    def is_active(self, tier):
        return self._call("IsActive", self._ref(tier))

    def stream_is_active(self, tier):
        return self._call("StreamIsActive", self._ref(tier))

    def metric_spec(self, tier):
        return self._call("GetMetricSpec", self._ref(tier))

    def metrics(self, tier, name="replicas"):
        return self._call("GetMetrics", self._message("GetMetricsRequest")(
            scaledObjectRef=self._ref(tier), metricName=name))

    def health(self):
        return self._channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
