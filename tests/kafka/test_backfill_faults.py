"""Replays on Apache Kafka whose broker forgets, or tells less than it did: each ends, and says how."""

import asyncio
from dataclasses import replace

import pytest
from aiokafka.protocol.admin import DeleteGroupsRequest

from infra.backfill.job import Job
from infra.backfill.jobs import reading
from infra.backfill.look import looks, wish_for
from infra.backfill.run import Options
from infra.stack import kafka
from tests.built import needs_kernels
from tests.replays import Installation, counts, utterance
from tests.small import small_stack
from topology import topics
from topology.errors import Misconfigured

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
    needs_kernels,
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), kind="kafka", precision="int8") as parts:
        yield parts


async def forget(it, group):
    """As the broker does by itself after `offsets.retention.minutes`."""
    async with asyncio.timeout(60):
        while True:
            node = await it.admin.find_coordinator(group)
            answer = await it.admin._send_request_to_node(node, DeleteGroupsRequest([group]))
            if not answer.results[0][1]:
                return


async def test_a_job_stays_done_where_the_broker_has_forgotten_its_commits(stack):
    async with Installation(stack, "forgotten") as it:
        await it.produce([utterance(i) for i in range(40)])
        first = await it.replay()
        assert counts(first) == ("done", 40, 40, 0)
        await forget(it, topics.backfill_group("forgotten", "job"))
        (told,) = await looks(it.settings)
        assert counts(told) == ("done", 40, 40, 0)
        assert await it.replay() == first


async def test_a_log_that_was_cut_below_the_end_of_a_job_ends_it_incomplete(stack):
    async with Installation(stack, "cut") as it:
        await it.produce([utterance(i) for i in range(40)])
        await it.replay(name="before")
        async with reading(it.settings) as jobs:
            made = jobs.wanted("before")
            spans = tuple(replace(s, end=s.end + 5) if s.end else s for s in made.spans)
            await jobs.create(Job("job", made.asked, spans, made.created_us, made.part_records), jobs.heads(made))
        told = await it.replay()
        assert told["state"] == "incomplete"
        assert "ends at 40 now and was longer" in told["partitions"][0]["why"]


async def test_bounds_that_cross_and_a_directory_of_another_job_are_refused_before_a_job_is_made(stack, tmp_path):
    async with Installation(stack, "wrong") as it:
        await it.produce([utterance(i) for i in range(40)])
        out = str(tmp_path / "out")
        await it.replay(name="first", targets=(out,))
        for asked, why in (
            ({"start": "2h", "end": "3h"}, "the end is not after the start"),
            ({"start": "0:20", "end": "0:10"}, "in partition 0 the end is before the start"),
            ({"start": "0:5", "end": "0:10,1:7"}, "partition 1 has a start or an end only"),
            ({"targets": (out,), "start": "0:5"}, "has the results of backfill 'first'"),
        ):
            with pytest.raises(Misconfigured, match=why):
                await it.replay(name="second", **asked)
        assert [told["id"] for told in await looks(it.settings)] == ["first"]
        assert counts(await it.replay(name="first", targets=(out,))) == ("done", 40, 40, 0)
        assert "done already" in await wish_for(it.settings, "first", "paused")


def test_workers_and_rates_that_are_no_counts_are_refused():
    for wrong in ({"workers": -1}, {"max_per_s": -1.0}, {"max_per_s": float("nan")}):
        with pytest.raises(Misconfigured, match="is wanted"):
            Options(**wrong)
