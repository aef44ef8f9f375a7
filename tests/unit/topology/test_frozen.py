"""When a consumer takes its cluster for away: not because its own process stood still."""

import time

import pytest

from topology.errors import Unavailable
from topology.pacing import PACING
from topology.settings import Broker
from topology.stream.kafka import Consumer


@pytest.fixture
async def quiet():
    """A consumer whose cluster has been quiet for almost as long as it waits."""
    consumer = Consumer(Broker(kind="external", bootstrap="127.0.0.1:1"), "nothing", None, "earliest")
    consumer._heard_ms = consumer._consumer._client.cluster._last_successful_refresh_ms
    consumer._quiet_s = PACING.away_s - 0.1
    yield consumer
    await consumer.stop()


async def test_a_process_that_was_frozen_does_not_blame_its_cluster(quiet):
    quiet._looked_s = time.monotonic() - PACING.answer_s - 1
    quiet._listen_for_news()
    quiet._looked_s -= PACING.metadata_max_age_s / 10  # its next refresh is that far away
    quiet._listen_for_news()


async def test_a_cluster_that_is_quiet_for_too_long_is_given_up(quiet):
    quiet._looked_s = time.monotonic() - 1
    with pytest.raises(Unavailable, match="no broker"):
        quiet._listen_for_news()
