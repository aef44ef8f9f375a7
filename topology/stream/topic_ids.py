"""A topic's id (KIP-516): it changes where a topic is deleted and made anew under its name."""

from __future__ import annotations

import uuid
from io import BytesIO
from typing import Any

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)


class _Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class _Response(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 3, 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(
            ("node_id", Int32), ("host", CompactString("utf-8")), ("port", Int32), ("rack", CompactString("utf-8")),
            ("tags", TaggedFields),
        )),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        ("topics", CompactArray(
            ("error_code", Int16), ("name", CompactString("utf-8")), ("topic_id", _Uuid), ("is_internal", Boolean),
            ("partitions", CompactArray(
                ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32),
                ("replicas", CompactArray(Int32)), ("isr", CompactArray(Int32)), ("offline", CompactArray(Int32)),
                ("tags", TaggedFields),
            )),
            ("authorized_operations", Int32), ("tags", TaggedFields),
        )),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _RequestV10(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, FLEXIBLE_VERSION, RESPONSE_TYPE = 3, 10, True, _Response
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIds(Request[_RequestV10]):  # type: ignore[misc]
    """aiokafka's own request of metadata ends at version 5, which tells no ids."""

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([(uuid.UUID(int=0), self._topic, {})], False, False, False, {})


async def topic_id(client: Any, topic: str) -> str:
    """The id of a topic, by an aiokafka client; empty where the broker tells none (before 2.8, or the embedded one)
    or knows no such topic.

    Raises: KafkaError, where the broker does not answer, or does not say: a right that is missing is no missing topic.
    """
    try:
        answer = await client.send(client.get_random_node(), _TopicIds(topic))
    except (NotImplementedError, KafkaError) as error:  # the broker speaks no version 10
        if isinstance(error, KafkaError) and "IncompatibleBrokerVersion" not in type(error).__name__:
            raise
        return ""
    found = {name: (code, told) for code, name, told, *_ in answer.topics}
    code, told = found.get(topic, (UnknownTopicOrPartitionError.errno, None))
    if code == UnknownTopicOrPartitionError.errno:
        return ""
    if code:
        raise for_code(code)(topic)
    return str(told) if told is not None and told.int else ""
