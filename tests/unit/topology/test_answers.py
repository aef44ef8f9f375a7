"""A broker that takes requests and never answers is left behind in time."""

import asyncio
import time
from dataclasses import replace

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from topology.pacing import PACING
from topology.stream import answers


async def test_a_frozen_broker_is_left_behind_within_the_time_for_an_answer(monkeypatch):
    monkeypatch.setattr(answers, "PACING", replace(PACING, answer_s=0.2))
    server = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}")
    answers.answer_within(client)
    began_s = time.monotonic()
    try:
        with pytest.raises(KafkaConnectionError):
            await client.bootstrap()
        assert time.monotonic() - began_s < 30  # aiokafka's own bound is 40
    finally:
        await client.close()
        server.close()


def test_a_hanging_look_at_the_cluster_is_over_before_a_consumer_gives_up():
    assert PACING.metadata_max_age_s + PACING.answer_s < PACING.away_s
