"""Replays on Apache Kafka: killed, paused, over holes and losses, from topics and files. Each ends, and says how."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys

import polars
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete

from headrace import Headrace
from infra.backfill.job import Asked
from infra.backfill.live import LiveWatch
from infra.backfill.look import looks, wish_for
from infra.backfill.report import summary
from infra.backfill.run import Options
from infra.stack import kafka
from tests.built import needs_kernels
from tests.replays import RING, Installation, counts, replay, results_of, send, set_aside, until, utterance
from tests.small import example, small_stack
from topology import topics, wire
from topology.errors import Misconfigured

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
    needs_kernels,
]
COUNT = 6_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), kind="kafka", precision="int8") as parts:
        asyncio.run(send(parts[0], [utterance(i) for i in range(COUNT)]))
        yield parts


@pytest.fixture
def settings(stack):
    return stack[0]


@pytest.fixture
def config(stack):
    return str(stack[2].parent / "headrace.toml")


async def test_a_replay_killed_again_and_again_gives_what_an_uninterrupted_one_gives(settings, config):
    whole = await replay(settings, config, Asked(RING), "whole")
    assert counts(whole) == ("done", COUNT, COUNT, 0)
    wanted = await results_of(settings, "whole")
    assert len(wanted) == COUNT and all(len(values) == 1 for values in wanted.values())

    command = [sys.executable, "-m", "infra.cli", "--config", config, "backfill", "run", "--id", "killed",
               "--workers", "2", "--max-per-s", "2500", "--ignore-live"]
    draw, kills = random.Random(4), 0
    while True:
        process = subprocess.Popen(  # noqa: ASYNC220
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
        )
        try:
            process.wait(draw.uniform(2.5, 5.0) if kills < 4 else 120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        break
    assert process.returncode == 0 and kills >= 2
    (told,) = await looks(settings, "killed")
    assert counts(told) == ("done", COUNT, COUNT, 0)
    assert await results_of(settings, "killed") == wanted


async def test_the_same_id_with_other_bounds_is_refused_and_with_the_same_ones_is_done(settings, config):
    asked = Asked(RING, start="0:100,1:200", end="0:150,1:230")
    first = await replay(settings, config, asked, "named")
    assert counts(first) == ("done", 80, 80, 0)
    again = await replay(settings, config, asked, "named")
    assert again == first
    with pytest.raises(Misconfigured, match="start: '0:100,1:201', it was '0:100,1:200'"):
        await replay(settings, config, Asked(RING, start="0:100,1:201", end="0:150,1:230"), "named")


async def test_a_start_later_than_the_newest_record_and_latest_to_latest_are_done_at_once(settings, config):
    for name, start in (("later", "2099-01-01"), ("latest", "latest")):
        told = await replay(settings, config, Asked(RING, start=start), name)
        assert counts(told) == ("done", 0, 0, 0)


async def test_empty_compacted_and_marker_ended_partitions_end(stack):
    async with Installation(stack, "holes") as it:
        await it.produce([utterance(i) for i in range(20)], 1)
        await it.produce([utterance(i) for i in range(20, 30)], 1, transactional=True)  # ends in a marker
        await it.configure(cleanup_policy="compact", segment_ms="50", min_cleanable_dirty_ratio="0.001",
                           max_compaction_lag_ms="50", min_compaction_lag_ms="0")
        await it.produce([utterance(i) for i in range(60)], 2, keys=[b"same"] * 60)
        await until(lambda: compacted(it, 2))
        await it.produce([utterance(60)], 3, keys=[b"one"], transactional=True)
        first = await it.replay(name="from-the-beginning")
        assert first["state"] == "done" and first["lost"] == 0
        by_partition = {one["partition"]: one for one in first["partitions"]}
        assert by_partition[0]["end"] == 0
        assert (by_partition[1]["read"], by_partition[1]["end"]) == (30, 31)
        assert by_partition[2]["read"] < 60 <= by_partition[2]["end"]
        assert (by_partition[3]["read"], by_partition[3]["position"]) == (1, 2)
        # The end falls upon a marker, and upon nothing but a marker.
        for start in ("1:30", "1:31"):
            told = await it.replay(name=f"from-{start[2:]}", start=start)
            assert counts(told) == ("done", 0, 0, 0)


async def compacted(it, partition):
    """Whether the log has holes: a new segment comes with a record, and the cleaner every 15 s at the latest."""
    await it.produce([utterance(0)], partition, keys=[b"other"])
    consumer = AIOKafkaConsumer(bootstrap_servers=it.settings.broker.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition(it.topic, partition)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        read = 0
        while await consumer.position(place) < end:
            read += len((await consumer.getmany(place, timeout_ms=200)).get(place, ()))
        return read < end - 10
    finally:
        await consumer.stop()


async def test_what_retention_took_before_and_during_a_job_is_named_by_range(stack):
    async with Installation(stack, "gone") as it:
        for partition in (0, 1):
            await it.produce([utterance(i) for i in range(2_500)], partition)
        await it.admin.delete_records({TopicPartition(it.topic, 0): RecordsToDelete(100)})
        running = asyncio.create_task(
            it.replay(start="0:40,1:0", options=Options(workers=1, max_per_s=500, ignore_live=True))
        )
        await until(lambda: past_first_part(it))
        # The second partition is not begun yet; of the first, the reader stands below 1,700.
        await it.admin.delete_records({
            TopicPartition(it.topic, 0): RecordsToDelete(2_400), TopicPartition(it.topic, 1): RecordsToDelete(500)
        })
        told = await running
        assert told["state"] == "incomplete"
        first, second = told["partitions"][:2]
        assert first["lost"][0] == (40, 100)
        assert second["lost"] == [(0, 500)] and second["read"] == 2_000
        # Every offset was read, or is named as lost.
        assert first["read"] + sum(end - start for start, end in first["lost"]) == 2_500 - 40
        assert f"{it.topic}[1] records 0 to 499" in summary(told)


async def past_first_part(it):
    return any(told["partitions"][0]["read"] for told in await looks(it.settings))


async def test_a_topic_made_anew_under_a_job_ends_it_incomplete(stack):
    async with Installation(stack, "anew") as it:
        await it.produce([utterance(i) for i in range(3_000)])
        running = asyncio.create_task(it.replay(options=Options(workers=1, max_per_s=600, ignore_live=True)))
        await until(lambda: past_first_part(it))
        await it.admin.delete_topics([it.topic])
        await until(lambda: made_anew(it))
        await it.produce([utterance(i) for i in range(5_000, 9_000)])  # more than there were
        told = await running
        assert told["state"] == "incomplete"
        assert "made anew" in told["partitions"][0]["why"]
        assert told["read"] + told["lost"] == 3_000
        texts = await results_of(it.settings, "job")
        assert told["predicted"] <= len(texts) < 3_000  # nothing of the new topic


async def made_anew(it):
    answer = await it.admin.create_topics([NewTopic(it.topic, 4, 1)])
    return answer.topic_errors[0][1] == 0


async def test_two_jobs_over_one_topic_do_not_disturb_each_other(settings, config):
    one = Options(workers=1, ignore_live=True)
    both = await asyncio.gather(
        replay(settings, config, Asked(RING, end="0:1000,1:1000"), "first", one),
        replay(settings, config, Asked(RING, start="1:500,2:0"), "second", one),
    )
    assert counts(both[0]) == ("done", 2_000, 2_000, 0)
    assert both[1]["state"] == "done" and both[1]["read"] > 1_000
    assert len(await results_of(settings, "first")) == 2_000


async def test_pause_resume_and_cancel_are_heard_by_a_job_that_runs(settings, config):
    running = asyncio.create_task(
        replay(settings, config, Asked(RING), "wishes", Options(workers=1, max_per_s=400, ignore_live=True))
    )

    async def state(*wanted):
        (told,) = await looks(settings, "wishes")
        return told["state"] in wanted

    async def there():
        return any(told["id"] == "wishes" for told in await looks(settings))

    await until(there)
    await until(lambda: state("running"))
    await wish_for(settings, "wishes", "paused")
    await until(lambda: state("paused"))
    (paused,) = await looks(settings, "wishes")
    await wish_for(settings, "wishes", "running")
    await until(lambda: state("running"))
    assert await wish_for(settings, "wishes", "cancelled")
    told = await running
    assert told["state"] == "cancelled" and paused["read"] <= told["read"] < COUNT
    await wish_for(settings, "wishes", "running")
    told = await replay(settings, config, Asked(RING), "wishes")
    assert counts(told) == ("done", COUNT, COUNT, 0)


async def until_late(settings):
    watch = LiveWatch(settings, RING)
    await watch.start()
    try:
        await until(watch.look)
    finally:
        await watch.stop()


async def test_a_replay_waits_while_live_traffic_is_late_says_so_and_goes_on(stack):
    settings, supervisor, head = stack
    worker = next(c for c in supervisor.children if c.name == "head-en-a-0").process
    async with Headrace(settings) as client:
        await client.predict("acme", example(0).text, lang="en", deadline=60)
        worker.send_signal(signal.SIGSTOP)
        try:
            waiting = [await client.submit("acme", example(i).text, lang="en", deadline=240) for i in range(5)]
            await until_late(settings)
            running = asyncio.create_task(
                replay(settings, str(head.parent / "headrace.toml"), Asked(RING), "polite", Options(workers=1))
            )

            async def waits():
                return any(told["id"] == "polite" and told["state"] == "waiting" for told in await looks(settings))

            await until(waits, 120)
            (told,) = await looks(settings, "polite")
            assert "backfill.live_age_s" in told["workers"][0]["why"]
        finally:
            worker.send_signal(signal.SIGCONT)
        assert [(await client.result("acme", one)).id for one in waiting] == waiting
    told = await running
    assert told["state"] == "done" and told["read"] >= COUNT


async def test_tenants_and_versions_are_chosen_and_refused_records_are_set_aside(stack):
    async with Installation(stack, "chosen") as it:
        values = [utterance(i, tenant) for i, tenant in enumerate(["acme", "globex", "acme", "nobody"] * 25)]
        await it.produce([*values, b"garbage"])
        with pytest.raises(Misconfigured, match="no version 'v9'"):
            await it.replay(heads={"acme": "v9"})
        told = await it.replay(tenants=("acme",))
        assert (told["read"], told["predicted"], told["skipped"]) == (101, 50, 51)
        told = await it.replay(name="all")
        assert told["refused"] == {"unknown_tenant": 50, "malformed_record": 1}
        lines = set_aside(told["refused_records"])
        assert len(lines) == 51
        (bad,) = [one for one in lines if one["error"] == "malformed_record"]
        assert (bad["partition"], bad["offset"]) == (0, 100)


async def test_heads_alone_are_replayed_from_embeddings_and_a_file_of_a_hundred_thousand_lines(stack, tmp_path):
    settings, _, head = stack
    source = topics.embeddings(settings.prefix, RING, "a")
    async with Headrace(settings) as client:
        await client.predict_many("acme", [example(i).text for i in range(40)], lang="en")
    told = await replay(settings, str(head.parent / "headrace.toml"), Asked(RING, "embeddings"), "embedded")
    assert told["state"] == "done" and told["predicted"] >= 40
    assert {one["source"] for one in told["partitions"]} == {source}
    found = [wire.decode(wire.Prediction, v) for values in (await results_of(settings, "embedded")).values()
             for v in values]
    assert {p.intent for p in found} == {"on", "off"} and all(p.submitted_us and p.utterance_id for p in found)

    lines = [json.dumps({"text": example(i).text, "tenant": "acme", "id": f"line{i}"}) for i in range(100_000)]
    for number in range(0, 100_000, 100):
        lines[number] = ("{", "[]", '{"text": 7, "tenant": "acme"}', '{"tenant": "acme"}', "\udcff")[number // 100 % 5]
    place = tmp_path / "lines.jsonl"
    place.write_text("\n".join(lines), errors="surrogateescape")
    out = tmp_path / "out"
    told = await replay(settings, str(head.parent / "headrace.toml"), Asked(RING, str(place), targets=(str(out),)),
                        "lines")
    assert (told["state"], told["read"], told["predicted"]) == ("done", 100_000, 99_000)
    assert sum(told["refused"].values()) == 1_000
    table = polars.read_parquet(str(out / "**" / "*.parquet"))
    assert table.filter(polars.col("intent") != "").select("utterance_id").n_unique() == 99_000
    aside = set_aside(out)
    assert sorted(one["offset"] for one in aside) == list(range(0, 100_000, 100))
    assert all(one["message"].startswith(f"line {one['offset'] + 1}:") for one in aside)
