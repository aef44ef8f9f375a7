"""Takes a member for good out of its consumer group. A member with an instance name does not leave by itself: its
partitions wait for its return as long as a session lasts (KIP-345)."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownMemberIdError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from topology.settings import Broker
from topology.stream.connection import ended
from topology.stream.groups import asking
from topology.stream.security import kafka_security


class _Left(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 13, 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32), ("error_code", Int16),
        ("members", Array(
            ("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16),
        )),
    )


class _Leave(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, RESPONSE_TYPE = 13, 3, _Left
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class _LeaveRequest(Request[_Leave]):  # type: ignore[misc]
    """aiokafka's own has versions 0 and 1, which know no instance names."""

    API_KEY = 13

    def __init__(self, group: str, instance: str) -> None:
        self._group, self._instance = group, instance

    def build(self, request_struct_class: type[_Leave]) -> _Leave:
        return request_struct_class(self._group, [("", self._instance)])


async def leave_group(broker: Broker, group: str, instance: str) -> None:
    """Give the partitions of a member that has ended to the others at once; nothing where it is no member.

    Raises: Unavailable where the broker does not answer; then the others have them when its session ends.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap, **kafka_security(broker))
    async with asking(broker):
        try:
            await admin.start()
            answer = await admin._send_request(_LeaveRequest(group, instance), await admin.find_coordinator(group))
            for code in (answer.error_code, *(member[2] for member in answer.members)):
                if code and for_code(code) is not UnknownMemberIdError:
                    raise for_code(code)(f"{instance} did not leave {group}")
        finally:
            await ended(admin.close, "admin client")
