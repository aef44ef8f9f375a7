"""Dead letters on Apache Kafka, of real worker processes: listed, looked at, replayed until what was wrong is right."""

import asyncio
import json
import sys
import time

import msgpack
import pytest

pytest.importorskip("torch")

from infra import announce, heads
from infra.cli.main import main
from infra.stack import kafka
from infra.training.fit import Recipe
from tests.small import example, small_stack
from topology import keys, topics, wire
from topology.stream.kafka import Producer, TopicReader
from topology.stream.process import now_us
from topology.stream.records import Output
from topology.stream.redis import connect

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
BOUND = 12
UTTERANCES, LETTERS = topics.utterances("headrace", "en"), topics.dead_letters("headrace")
RESULTS = topics.predictions("headrace", "en", "a")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with small_stack(home, kind="kafka", limits=f"dead_letters_per_minute = {BOUND}") as (settings, supervisor, _):
        yield settings, home, supervisor


@pytest.fixture
def run(running, capsys):
    """`headrace dead-letters …`: (exit status, what it printed, on stderr too)."""

    def run(*args):
        capsys.readouterr()
        try:
            code = main(["--config", str(running[1] / "headrace.toml"), "dead-letters", *args])
        except SystemExit as refused:
            code = refused.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def listed(run):
    """The letters that some filters let pass, as `list --json` tells them."""

    def listed(*args):
        code, out, _ = run("list", "--json", *args)
        assert code == 0
        return [json.loads(line) for line in out.splitlines()]

    return listed


def write(settings, outputs):
    async def send():
        producer = Producer(settings.broker)
        await producer.start()
        try:
            assert await producer.send(outputs) == []
        finally:
            await producer.stop()

    asyncio.run(send())


def read_until(settings, topic, enough, seconds=90):
    """The records of a topic, as soon as there are enough of them."""

    async def read():
        reader, found = TopicReader(settings.broker, topic), []
        await reader.start()
        try:
            async with asyncio.timeout(seconds):
                while not enough(found):
                    found += await reader.take(wait_ms=500)
        finally:
            await reader.stop()
        return found

    return asyncio.run(read())


def letters_of(settings, tenant, count):
    def of_tenant(found):
        return [r for r in found if tenant.encode() in (r.value or b"")]

    return of_tenant(read_until(settings, LETTERS, lambda found: len(of_tenant(found)) >= count))


def utterance(tenant, id="x", number=0, **fields):
    asked = wire.Utterance(id, tenant, example(number).text, "en", now_us(), now_us() + 30_000_000, **fields)
    return wire.encode(asked)


def test_a_letter_replayed_three_times_has_one_set_of_headers_and_gets_its_prediction_once_its_head_is_there(
    running, run, listed
):
    settings, home, _ = running
    write(settings, [Output(UTTERANCES, b"call-7", utterance("beta", reply_to="headrace:replies:gone"))])
    letters_of(settings, "beta", 1)
    first, = listed("--tenant", "beta")
    assert (first["reason"], first["replays"], first["cut"]) == ("unknown_tenant", 0, [])
    assert first["from"]["topic"] == topics.embeddings("headrace", "en", "a")
    for times in (1, 2, 3):
        code, out, _ = run("replay", "--tenant", "beta")
        assert (code, out.split(",")[0].strip()) == (0, "1 letter was sent")  # the newest stands for those before
        letters_of(settings, "beta", times + 1)
    found = listed("--tenant", "beta")
    assert [one["replays"] for one in found] == [0, 1, 2, 3]
    newest = letters_of(settings, "beta", 4)[-1]
    names = [name for name, _ in newest.headers]
    assert len(names) == len(set(names)) and dict(newest.headers)["headrace.replays"] == b"3"
    assert wire.decode(wire.Embedding, newest.value).reply_to == ""

    out = home / "beta"
    embedder = heads.Embedder(settings, settings.rings["en"])
    heads.train(embedder, "beta", [example(i) for i in range(80)], None, out, Recipe(epochs=5))
    asyncio.run(announce.publish(settings, out))
    code, out, _ = run("replay", "--tenant", "beta", "--dry-run")
    assert f"letter {found[-1]['offset']} (unknown_tenant, tenant 'beta')" in out and "1 letter would be" in out
    assert len(listed("--tenant", "beta")) == 4
    end, count = time.monotonic() + 60, 4
    while not (said := results_of(settings, "beta", count))[-1].intent:  # the head worker hears of the head soon
        assert time.monotonic() < end
        assert run("replay", "--tenant", "beta")[0] == 0
        count += 1
    assert said[-1].id == "x" and keys_of(settings, "beta") == [keys.reply("headrace", "beta", "x")]


def keys_of(settings, tenant):
    """What Redis keeps of a tenant's replies."""

    async def read():
        async with connect(settings.redis) as redis:
            return sorted([key.decode() async for key in redis.scan_iter(f"*{tenant}*")])

    return asyncio.run(read())


def results_of(settings, tenant, count):
    def of_tenant(found):
        read = [wire.decode(wire.Prediction, record.value) for record in found]
        return [one for one in read if one.tenant == tenant]

    return of_tenant(read_until(settings, RESULTS, lambda found: len(of_tenant(found)) >= count))


def test_what_is_no_record_is_listed_and_shown_and_goes_back_byte_for_byte(running, run, listed):
    settings = running[0]
    garbage = msgpack.packb({"id": "g1", "tenant": "gamma", "text": 7, "\x1b[31m": b"\xff"})
    forged = (("__connect.errors.stage", b"forged"), ("headrace.cut.value.bytes", b"9"))
    write(settings, [Output(UTTERANCES, b"\xff\x00", garbage, (("h", b""), *forged, ("n", b"\xfe")))])
    letters_of(settings, "gamma", 1)
    letter, = listed("--tenant", "gamma", "--reason", "malformed_record", "--topic", UTTERANCES, "--since", "1h")
    assert listed("--tenant", "gamma", "--until", "1h") == listed("--tenant", "gamma", "--reason", "other") == []
    code, out, _ = run("show", str(letter["offset"]))
    shown = json.loads(out)
    assert code == 0 and shown["value"]["as"] == "msgpack map" and shown["value"]["content"]["text"] == 7
    assert shown["key"] == {"bytes": 2, "begins": "ff00"} and shown["headers"][0] == ["h", ""]
    assert "MalformedRecord" in shown["exception"] and "\x1b" not in out
    assert run("show", str(letter["offset"]), "--reason", "other")[0] == run("show", "99999")[0] == 1
    assert run("replay", "--tenant", "gamma", "--limit", "1")[0] == 0
    back = letters_of(settings, "gamma", 2)[-1]
    assert (back.key, back.value, back.headers[:2]) == (b"\xff\x00", garbage, (("h", b""), ("n", b"\xfe")))
    assert [name for name, _ in back.headers].count("__connect.errors.stage") == 1
    code, out, _ = run("list", "--tenant", "gamma")
    assert out.splitlines()[-1] == "2 dead letters: 2 malformed_record" and f"{UTTERANCES}[" in out


def letter_of(topic, value=b"v", *more):
    errors = {"topic": topic, "partition": "0", "offset": "7", "stage": "malformed_record", "exception.message": "m"}
    told = tuple((f"__connect.errors.{name}", text.encode()) for name, text in errors.items())
    return Output(LETTERS, None, value, (*told, *more))


def test_letters_that_were_cut_or_whose_topic_is_not_ours_are_named_and_cost_no_other(running, run):
    settings = running[0]
    write(settings, [
        letter_of("headrace.heads"), letter_of("elsewhere"), letter_of(LETTERS),
        letter_of(UTTERANCES, utterance("delta"), ("headrace.cut.value.bytes", b"900000")),
        letter_of(UTTERANCES, utterance("delta", id="whole")),
    ])
    since = run("list", "--reason", "malformed_record")[1].splitlines()
    assert any("elsewhere[0]@7" in line for line in since)
    code, out, _ = run("replay", "--reason", "malformed_record", "--topic", "headrace.heads")
    assert code == 1 and "'headrace.heads' is no topic that workers of this installation read" in out
    assert run("replay", "--topic", "elsewhere")[0] == run("replay", "--topic", LETTERS)[0] == 1
    code, out, _ = run("replay", "--tenant", "delta", "--reason", "malformed_record")
    assert code == 1 and "not kept whole (value.bytes)" in out and "1 letter was sent, 1 not (cut)" in out
    assert [one.id for one in results_of(settings, "delta", 1)] == ["whole"]


def test_one_client_that_sends_garbage_fills_the_letters_of_nobody_else_and_each_caller_is_told(running, listed):
    settings = running[0]
    flood = [Output(UTTERANCES, None, utterance("flood", id=f"f{i}", reply_to="elsewhere")) for i in range(100)]
    write(settings, [*flood, Output(UTTERANCES, None, utterance("neighbor", id="n", reply_to="elsewhere"))])
    assert len(results_of(settings, "flood", 100)) == 100
    letters_of(settings, "neighbor", 1)
    assert len(listed("--tenant", "flood")) == BOUND


def test_the_backfill_lane_gives_results_and_letters_and_writes_no_reply(running, listed):
    settings, home, supervisor = running
    run = [sys.executable, "-m"]
    lane = ["--config", str(home / "headrace.toml"), "--ring", "en", "--lane", "backfill"]
    workers = [
        supervisor.start("encoder-backfill", [*run, "encoder_worker", *lane]),
        supervisor.start("head-backfill", [*run, "head_worker", "--cell", "a", *lane]),
    ]
    for worker in workers:
        supervisor.wait_ready(worker, 60)
    reply_to = keys.reply_stream("headrace", "epsilon")
    good, lost = (utterance(tenant, id="epsilon", reply_to=reply_to) for tenant in ("acme", "epsilon"))
    long = wire.encode(wire.Utterance("long", "epsilon", "x" * 500, "en", now_us(), now_us(), reply_to))
    write(settings, [Output(topics.utterances("headrace", "en", "backfill"), None, one) for one in (good, lost, long)])
    results = topics.predictions("headrace", "en", "a", "backfill")
    found = read_until(settings, results, lambda found: len(found) >= 3)
    said = [wire.decode(wire.Prediction, record.value) for record in found]
    assert sorted(one.error for one in said) == ["", "text_too_long", "unknown_tenant"]
    for worker in workers:  # what they began is written when they end
        worker.process.terminate()
        assert worker.process.wait(30) == 0
        supervisor.children.remove(worker)
    assert keys_of(settings, "epsilon") == []
    assert {one["reason"] for one in listed("--tenant", "epsilon")} == {"text_too_long", "unknown_tenant"}


def test_times_and_numbers_that_are_none_are_refused_as_misconfigured(run):
    for args in (
        ("list", "--since", "yesterday"), ("list", "--limit", "0"), ("show", "1:x"), ("replay", "--max-per-s", "nan"),
    ):
        code, out, err = run(*args)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
