"""How long a client of Kafka waits for one answer. A frozen broker keeps its connections open and never answers."""

from __future__ import annotations

from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

from topology.pacing import PACING


def answer_within(client: AIOKafkaClient, rebalance_s: float = 0.0, fetch_wait_s: float = 0.0) -> None:
    """Have each request of `client` fail that is not answered within `PACING.answer_s`; aiokafka then asks who leads
    now. Its own bound of 40 s is one for all: a request to join waits for the other members, up to `rebalance_s`.

    With 40 s a member works on while its commits wait for a frozen coordinator, and its group repeats all of that.
    """
    seconds, send = PACING.answer_s + fetch_wait_s, client.send
    client._request_timeout_ms = int(seconds * 1_000)  # also of new connections, asked for versions first

    async def bounded(node: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        if group is ConnectionGroup.COORDINATION and (connection := await client._get_conn(node, group=group)):
            joins = isinstance(request, JoinGroupRequest | SyncGroupRequest)
            connection._request_timeout = seconds + (rebalance_s if joins else 0.0)  # read when the request is written
        return await send(node, request, group=group)

    client.send = bounded
