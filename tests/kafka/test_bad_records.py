"""Records that any client can write, on Apache Kafka: none stops a partition, none is lost without a word."""

import asyncio
import dataclasses
import signal
import struct
import time

import confluent_kafka
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from infra.stack import kafka
from infra.stack.supervise import Supervisor
from topology.errors import ClockRefused, MalformedRecord, Misconfigured, OutputRefused, Unavailable
from topology.pacing import PACING
from topology.settings import Broker
from topology.stream.kafka import GroupConsumer, Producer, Rebalances, TopicReader
from topology.stream.records import Output, Record, dead_letter

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    state = tmp_path_factory.mktemp("kafka")
    supervisor = Supervisor(state)
    try:
        bootstrap = kafka.start_brokers(supervisor, state, 1)
        yield Broker(kind="external", bootstrap=bootstrap, session_timeout_ms=6_000), supervisor
    finally:
        supervisor.stop()


@pytest.fixture
def broker(running):
    return running[0]


@pytest.fixture
def pacing():
    """Set fields of PACING for a test."""
    before = dataclasses.asdict(PACING)

    def put(**fields):
        for name, value in fields.items():
            object.__setattr__(PACING, name, value)

    yield put
    put(**before)


@pytest.fixture
async def admin(broker):
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
async def topic(admin, request):
    """A topic of one partition, of the test's own. `indirect` parameters are its configuration."""
    name = f"t{abs(hash(request.node.name))}"
    await admin.create_topics([NewTopic(name, 1, 1, topic_configs=getattr(request, "param", {}))])
    return name


async def read(broker, topic):
    reader = TopicReader(broker, topic)
    await reader.start()
    try:
        async with asyncio.timeout(30):
            return await reader.read_to_end()
    finally:
        await reader.stop()


async def write(broker, outputs):
    producer = Producer(broker)
    await producer.start()
    try:
        return await producer.send(outputs)
    finally:
        await producer.stop()


class Seen(Rebalances):
    def __init__(self):
        self.counts, self.changed = [], asyncio.Event()

    async def assigned(self, count):
        self.counts.append(count)
        self.changed.set()


async def take_until(consumer, wanted, seconds=30):
    found = []
    async with asyncio.timeout(seconds):
        while len(found) < wanted:
            found += await consumer.take(100, wait_ms=200)
    return found


def batch(records, codec=0):
    """The bytes of one batch of (key, value, headers)."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 256 << 20)
    for offset, (key, value, headers) in enumerate(records):
        builder.append(offset, int(time.time() * 1000), key, value, headers)
    return bytes(builder.build())


def with_checksum(raw):
    return raw[:17] + struct.pack(">I", calc_crc32c(raw[21:])) + raw[21:]


NO_LEADER_YET = (3, 5, 6)  # what a broker says of a topic that was made a moment ago


async def produce_bytes(broker, topic, raw):
    """What a client in another language may send: bytes as they are."""
    client = AIOKafkaClient(bootstrap_servers=broker.bootstrap)
    await client.bootstrap()
    try:
        await client.force_metadata_update()
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=10_000, topics=[(topic, [(0, raw)])]
        )
        async with asyncio.timeout(60):
            while True:
                response = await client.send(next(iter(client.cluster.brokers())).nodeId, request)
                code = response.topics[0][1][0][1]
                if code not in NO_LEADER_YET:
                    return code
    finally:
        await client.close()


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd", "none"])
async def test_records_of_a_producer_that_compresses_are_read(broker, topic, codec):
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "compression.type": codec})
    values = [b"turn on the light %d " % i * 40 for i in range(300)]
    for value in values:
        producer.produce(topic, value, headers=[("h", b"x")])
    assert producer.flush(30) == 0
    found = await read(broker, topic)
    assert [r.value for r in found] == values and found[0].headers == (("h", b"x"),)


async def test_a_header_name_that_is_no_utf8_costs_its_record_only(broker, topic):
    records = [(b"k", b"%d" % i, [("zz", b"")] if i in (0, 3) else []) for i in range(6)]
    assert await produce_bytes(broker, topic, with_checksum(batch(records).replace(b"zz", b"\xff\xfe"))) == 0
    await write(broker, [Output(topic, None, b"after")])
    for found in (await read(broker, topic), await read_in_group(broker, topic, 7)):
        assert [r.offset for r in found] == list(range(7))
        assert [r.offset for r in found if r.unreadable] == [0, 3]
        assert [r.value for r in found] == [b"0", b"1", b"2", b"3", b"4", b"5", b"after"]
        assert "utf-8" in found[0].unreadable


async def read_in_group(broker, topic, count):
    consumer = GroupConsumer(broker, topic, f"group-{topic}")
    await consumer.start(Rebalances())
    try:
        return await take_until(consumer, count)
    finally:
        await consumer.stop()


async def test_a_small_batch_that_unpacks_to_gigabytes_is_one_unreadable_record(broker, topic):
    raw = batch([(None, b"\0" * (20 << 20), [])] * 2, codec=4)
    assert len(raw) < 10_000
    assert await produce_bytes(broker, topic, raw) == 0
    await write(broker, [Output(topic, None, b"after")])
    found = await read(broker, topic)
    assert [(r.offset, bool(r.unreadable), r.value) for r in found] == [(0, True, None), (2, False, b"after")]


async def test_records_without_key_value_or_with_ten_thousand_headers_are_read_and_kept_as_dead_letters(broker, topic):
    records = [
        (None, None, []), (b"", b"", []), (b"k", None, [("h", None)]), (b"k" * 900_000, None, []),
        (None, b"v", [(f"h{i}", b"") for i in range(10_000)]), (None, b"", [("h", b"x" * 900_000)]),
    ]
    for one in records:
        assert await produce_bytes(broker, topic, batch([one])) == 0
    found = await read(broker, topic)
    assert len(found) == len(records) and not any(r.unreadable for r in found)
    assert await write(broker, [dead_letter(topic, r, MalformedRecord("\ud83d")) for r in found]) == []
    assert len(await read(broker, topic)) == 2 * len(records)


@pytest.mark.parametrize("topic", [{"max.message.bytes": "20000"}], indirect=True)
async def test_what_a_topic_takes_not_is_given_back_and_the_rest_is_written(broker, topic):
    outputs = [Output(topic, b"k", b"%d" % i + b"x" * (30_000 if i in (1, 7) else 300)) for i in range(100)]
    producer = Producer(broker)
    await producer.start()
    try:
        refused = await producer.send(outputs)
        assert [r.output for r in refused] == [outputs[1], outputs[7]]
        assert all(isinstance(r.error, OutputRefused) and topic in str(r.error) for r in refused)
        assert await producer.send(outputs[50:]) == []  # and the producer is of use after that
    finally:
        await producer.stop()
    written = [r.value for r in await read(broker, topic)]
    assert sorted(set(written)) == sorted({o.value for o in outputs} - {outputs[1].value, outputs[7].value})
    assert written[-50:] == [o.value for o in outputs[50:]]


@pytest.mark.parametrize("topic", [{"cleanup.policy": "compact"}], indirect=True)
async def test_a_record_without_a_key_to_a_compacted_topic_is_given_back(broker, topic):
    outputs = [Output(topic, b"a", b"1"), Output(topic, None, b"2"), Output(topic, b"b", b"3")]
    refused = await write(broker, outputs)
    assert [r.output for r in refused] == [outputs[1]] and "InvalidRecord" in str(refused[0].error)
    assert {r.value for r in await read(broker, topic)} == {b"1", b"3"}


async def test_a_megabyte_of_garbage_fits_the_dead_letters(broker, topic):
    record = Record("t", 3, 7, b"k", b"\xff" * 1_048_400, (("h", b"x" * 900_000), ("small", b"y")))
    assert await write(broker, [dead_letter(topic, record, MalformedRecord("no map"))]) == []
    letter, = await read(broker, topic)
    headers = dict(letter.headers)
    assert headers["headrace.cut.value.bytes"] == b"1048400" and headers["headrace.cut.headers"] == b"2"
    assert (headers["__connect.errors.partition"], headers["__connect.errors.offset"]) == (b"3", b"7")


SMALL, TINY = ({"max.message.bytes": "2000"}, 1), ({"max.message.bytes": "100"}, 0)


@pytest.mark.parametrize("topic,kept", [SMALL, TINY], indirect=["topic"])
async def test_a_dead_letter_topic_of_small_records_gets_the_reason_alone_or_the_log_does(broker, topic, kept, caplog):
    record = Record("utterances", 3, 7, None, b"\xff" * 10_000)
    assert await write(broker, [dead_letter(topic, record, MalformedRecord("no map"))]) == []
    assert [r.value for r in await read(broker, topic)] == [b""] * kept
    assert ("utterances[3]@7" in caplog.text) is not bool(kept)


async def test_a_topic_of_dead_letters_that_is_missing_stops_nothing_else_and_is_written_again_when_it_is_there(
    broker, topic, admin, pacing, caplog
):
    pacing(metadata_max_age_s=1.0)
    letters = f"{topic}-letters"
    letter = dead_letter(letters, Record("utterances", 3, 7, None, b"\xff"), MalformedRecord("no map"))
    producer = Producer(broker)
    await producer.start()
    try:
        for number in range(2):  # it never was; it is still missing
            assert await producer.send([letter, Output(topic, b"k", b"never %d" % number)]) == []
        assert producer.lost == 2 and f"topic {letters!r} is missing" in caplog.text
        assert "utterances[3]@7" in caplog.text
        await admin.create_topics([NewTopic(letters, 1, 1)])
        async with asyncio.timeout(30):
            while not await read(broker, letters):
                assert await producer.send([letter]) == []
        await admin.delete_topics([letters])
        lost = producer.lost
        async with asyncio.timeout(30):
            while producer.lost == lost:
                assert await producer.send([letter, Output(topic, b"k", b"gone")]) == []
    finally:
        await producer.stop()
    assert {r.value for r in await read(broker, topic)} == {b"never 0", b"never 1", b"gone"}


async def test_a_topic_that_is_missing_is_named(broker, topic, pacing):
    pacing(send_s=2.0)
    with pytest.raises(Unavailable, match=f"no broker knows {topic}-none: `headrace topics apply`"):
        await write(broker, [Output(topic, None, b"x"), Output(f"{topic}-none", None, b"x")])


@pytest.mark.parametrize("topic", [{"message.timestamp.before.max.ms": "0"}], indirect=True)
async def test_a_clock_that_the_broker_refuses_is_named(broker, topic):
    with pytest.raises(ClockRefused, match=r"message\.timestamp\.after\.max\.ms"):
        for _ in range(100):  # a record that arrives within its millisecond is taken
            await write(broker, [Output(topic, None, b"x")])


async def test_records_deleted_under_a_committed_offset_are_counted_and_told(broker, topic, admin, caplog):
    await write(broker, [Output(topic, None, b"%d" % i) for i in range(10)])
    first = GroupConsumer(broker, topic, f"g-{topic}")
    await first.start(Rebalances())
    assert [r.value for r in await take_until(first, 10)] == [b"%d" % i for i in range(10)]
    assert first.records_lost == 0 and "deleted" not in caplog.text  # from the beginning: nothing is lost
    assert await first.commit({(topic, 0): 2})
    await first.stop()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(6)})
    second = GroupConsumer(broker, topic, f"g-{topic}")
    await second.start(Rebalances())
    try:
        assert [r.value for r in await take_until(second, 4)] == [b"6", b"7", b"8", b"9"]
    finally:
        await second.stop()
    assert second.records_lost == 4
    assert f"{topic}[0]: records 2 to 5 were deleted" in caplog.text


async def test_an_aborted_transaction_is_neither_read_nor_waited_for(broker, topic):
    def transact(value, commit):
        producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": topic})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)(30)

    for value, commit in ((b"aborted", False), (b"committed", True), (b"aborted too", False)):
        await asyncio.to_thread(transact, value, commit)
    assert [r.value for r in await read(broker, topic)] == [b"committed"]  # the last marker is no lag


async def test_a_topic_made_anew_with_fewer_partitions_is_written_and_read_again(
    broker, topic, admin, pacing, caplog
):
    pacing(metadata_max_age_s=1.0)
    await admin.delete_topics([topic])
    await admin.create_topics([NewTopic(f"{topic}-b", 6, 1)])
    topic, seen = f"{topic}-b", Seen()
    producer, consumer = Producer(broker), GroupConsumer(broker, topic, f"g-{topic}")
    await producer.start()
    await consumer.start(seen)
    try:
        await producer.send([Output(topic, b"key-%d" % i, b"old") for i in range(60)])
        assert len(await take_until(consumer, 60)) == 60
        await consumer.commit({(topic, p): 20 for p in range(6)})
        await admin.delete_topics([topic])
        async with asyncio.timeout(30):
            while seen.counts[-1] != 0:
                await consumer.take(100, wait_ms=200)
        await admin.create_topics([NewTopic(topic, 2, 1)])
        async with asyncio.timeout(30):
            assert await producer.send([Output(topic, b"key-%d" % i, b"new") for i in range(60)]) == []
        assert {r.value for r in await take_until(consumer, 60)} == {b"new"}
    finally:
        await consumer.stop()
        await producer.stop()
    lines = [r for r in caplog.records if r.name.startswith("topology") and "has 0 partitions now" in r.getMessage()]
    assert len(lines) <= 1


async def test_a_member_that_comes_back_under_its_name_moves_no_partition_of_others(broker, topic, admin):
    await admin.create_topics([NewTopic(f"{topic}-b", 4, 1)])
    topic, seen = f"{topic}-b", Seen()
    survivor, other = (GroupConsumer(broker, topic, f"g-{topic}", name) for name in ("one", "two"))
    await survivor.start(seen)
    await other.start(Rebalances())
    again = GroupConsumer(broker, topic, f"g-{topic}", "two")
    try:
        async with asyncio.timeout(30):
            while seen.counts[-1:] != [2]:
                await survivor.take(100, wait_ms=200)
                await other.take(100, wait_ms=200)
        before, back = len(seen.counts), Seen()
        await other.stop()  # it leaves no word, as one that is killed
        await again.start(back)
        async with asyncio.timeout(30):
            await back.changed.wait()
        await write(broker, [Output(topic, b"key-%d" % i, b"") for i in range(40)])
        found = []
        async with asyncio.timeout(30):
            while len(found) < 40:
                found += await survivor.take(100, wait_ms=100)
                found += await again.take(100, wait_ms=100)
        assert len(seen.counts) == before and back.counts == [2]
    finally:
        await survivor.stop()
        await again.stop()


@pytest.mark.parametrize("name", ["", "one"])
async def test_a_topic_that_grew_is_read_whole_also_after_a_restart_under_the_same_name(
    broker, topic, admin, pacing, name
):
    pacing(metadata_max_age_s=1.0)
    first, joined = GroupConsumer(broker, topic, f"g-{topic}", name), Seen()
    await first.start(joined)
    async with asyncio.timeout(60):
        await joined.changed.wait()
    await first.stop()
    consumer, seen = GroupConsumer(broker, topic, f"g-{topic}", name), Seen()
    await consumer.start(seen)
    try:
        async with asyncio.timeout(60):
            await seen.changed.wait()
            await admin.create_partitions({topic: NewPartitions(3)})
            while seen.counts[-1] != 3:
                await consumer.take(100, wait_ms=200)
    finally:
        await consumer.stop()


async def test_two_processes_under_one_name_are_told_so(broker, topic):
    both = [GroupConsumer(broker, topic, f"g-{topic}", "one") for _ in range(2)]
    for consumer in both:
        await consumer.start(Rebalances())

    async def read_on(consumer):
        while True:
            await consumer.take(100, wait_ms=200)

    reading = [asyncio.create_task(read_on(consumer)) for consumer in both]
    try:
        done, _ = await asyncio.wait(reading, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(Misconfigured, match="as instance 'one' too"):
            done.pop().result()
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await asyncio.gather(*[consumer.stop() for consumer in both])


async def test_clients_stop_within_a_bound_while_the_broker_is_frozen(running, topic):
    broker, supervisor = running
    producer, consumer = Producer(broker), GroupConsumer(broker, topic, f"g-{topic}")
    await producer.start()
    await consumer.start(Rebalances())
    child = supervisor.children[0].process
    child.send_signal(signal.SIGSTOP)
    try:
        sending = asyncio.create_task(producer.send([Output(topic, None, b"x")]))
        taking = asyncio.create_task(consumer.take(100, wait_ms=60_000))
        done, _ = await asyncio.wait([sending], timeout=1.5)
        assert not done
        async with asyncio.timeout(30):
            taking.cancel()
            await consumer.stop()
            await producer.stop()
    finally:
        child.send_signal(signal.SIGCONT)
        sending.cancel()
        await asyncio.gather(sending, taking, return_exceptions=True)


async def test_a_cluster_that_answers_nothing_is_given_up_and_written_to_again_when_it_is_back(running, topic, pacing):
    pacing(metadata_max_age_s=0.3, away_s=2.0, send_s=2.0)
    broker, supervisor = running
    producer, consumer = Producer(broker), GroupConsumer(broker, topic, f"g-{topic}")
    await producer.start()
    await consumer.start(Rebalances())
    await consumer.take(100, wait_ms=100)
    child = supervisor.children[0].process
    child.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="acknowledged no write within 2 s"):
            await producer.send([Output(topic, None, b"x")])
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable, match="no broker of the Kafka cluster has answered"):
                while True:
                    await consumer.take(100, wait_ms=100)
    finally:
        child.send_signal(signal.SIGCONT)
    pacing(send_s=60.0)
    assert await producer.send([Output(topic, None, b"after")]) == []
    await consumer.stop()
    await producer.stop()
    assert b"after" in [r.value for r in await read(broker, topic)]


async def test_a_topic_that_is_not_there_is_named(broker):
    with pytest.raises(Unavailable, match="nowhere"):
        await read(broker, "nowhere")
