"""Replies in a real Redis: one reply's error is its own, and a Redis that is away, full or frozen is waited for."""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from infra.stack.embedded import start_redis
from infra.stack.supervise import Supervisor
from tests.built import needs_redis
from topology import keys, wire
from topology.errors import BadRecord, IdReused, InvalidUtterance, Misconfigured, Unavailable
from topology.pacing import PACING
from topology.settings import Redis
from topology.stream.records import OutgoingReply
from topology.stream.redis import connect
from topology.stream.replies import ReplyReader, ReplyWriter

pytestmark = needs_redis
BRIEF = replace(PACING, reply_retry_s=0.3, redis_pause_s=0.02, redis_attempt_s=0.2, close_s=0.2)
SHARED = 60.0  # seconds that a deadline may lie ahead here


class Place:
    """A Redis of its own, and whoever talks to it."""

    def __init__(self, supervisor, url):
        self.supervisor, self.settings = supervisor, Redis(url=url)
        self.process = supervisor.children[0].process
        self.redis = connect(self.settings)
        self.open = [self.redis.aclose]

    def writer(self, pacing=PACING):
        self.open.append((writer := ReplyWriter(self.settings, "p", pacing)).close)
        return writer

    def reader(self, name="me", pacing=PACING):
        self.open.append((reader := ReplyReader(self.settings, "p", name, pacing)).close)
        return reader

    @asynccontextmanager
    async def frozen(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("redis")
    supervisor = Supervisor(folder)
    yield supervisor, start_redis(supervisor, folder, "embedded")
    supervisor.stop()


@pytest.fixture
async def place(shared):
    """An empty Redis."""
    it = Place(*shared)
    await it.redis.flushall()
    yield it
    for close in reversed(it.open):
        await close()


@pytest.fixture
async def own_place(tmp_path):
    """A Redis that may be killed, filled or locked."""
    supervisor = Supervisor(tmp_path)
    it = Place(supervisor, start_redis(supervisor, tmp_path, "embedded"))
    yield it
    for close in reversed(it.open):
        await close()
    supervisor.stop()


def prediction(tenant, id, text="lights off", lang="en", **fields):
    return wire.encode(wire.Prediction(id, tenant, "en", lang, text, **{"intent": "off", **fields}))


def good(id, stream="p:replies:me", tenant="acme", text="lights off", lang="en"):
    value = prediction(tenant, id, text, lang)
    return OutgoingReply(stream, tenant, id, value, True, keys.request_digest(text, lang))


def error(id, stream="p:replies:me", tenant="acme", text="lights off", code="deadline_exceeded"):
    value = prediction(tenant, id, text="", intent="", error=code)
    return OutgoingReply(stream, tenant, id, value, False, keys.request_digest(text, "en"))


async def arrived(reader, count):
    """The next `count` replies: (tenant, id) and what it says: an intent or an error."""
    found = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await reader.read(block_ms=1_000)
    read = [(owned, wire.decode(wire.Prediction, value[1:])) for owned, value in found]
    return [(owned, said.error or said.text) for owned, said in read]


async def test_a_redis_that_is_killed_and_comes_back_is_written_and_read_again(own_place):
    writer, reader = own_place.writer(), own_place.reader()
    assert await writer.write([good("first")]) == []
    assert await arrived(reader, 1) == [(("acme", "first"), "lights off")]
    own_place.process.kill()
    own_place.process.wait(10)
    with pytest.raises(Unavailable):
        await reader.read(block_ms=1_000)
    writing = asyncio.create_task(writer.write([good("second")]))
    assert own_place.supervisor.restart_ended() == ["redis"]
    assert await asyncio.wait_for(writing, 20) == []
    assert await arrived(reader, 1) == [(("acme", "second"), "lights off")]


async def test_a_read_that_was_cancelled_leaves_nothing_behind_for_the_next(place):
    writer, reader = place.writer(), place.reader()
    assert await reader.read(block_ms=1) == []
    reading = asyncio.create_task(reader.read(block_ms=60_000))
    async with asyncio.timeout(10):
        while (await place.redis.info("clients"))["blocked_clients"] == 0:
            pass  # each question is a round trip
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await writer.write([good("first")])
    assert await arrived(reader, 1) == [(("acme", "first"), "lights off")]


# One reply's own errors

TRIPPED = {
    "its reply key": keys.reply("p", "acme", "bad"),
    "its waiters": keys.waiters("p", "acme", "bad"),
    "its stream": "p:replies:tripped",
}


TRIPS = [(what, kind) for what in TRIPPED for kind in ("hash", "list", "zset", "string")]
TRIPS.remove(("its reply key", "string"))  # a string there is a reply


@pytest.mark.parametrize(("what", "kind"), TRIPS)
async def test_a_key_of_another_type_costs_one_reply_and_no_neighbor(place, what, kind):
    name = TRIPPED[what]
    writes = {"hash": lambda: place.redis.hset(name, "f", "v"), "list": lambda: place.redis.rpush(name, "v"),
              "zset": lambda: place.redis.zadd(name, {"v": 1}), "string": lambda: place.redis.set(name, "v")}
    await writes[kind]()
    bad = good("bad", stream="p:replies:tripped" if what == "its stream" else "p:replies:me")
    writer, reader = place.writer(), place.reader()
    refused = await asyncio.wait_for(writer.write([good("before"), bad, good("after")]), 10)
    assert [one.reply for one in refused] == [bad]
    assert isinstance(refused[0].error, BadRecord) and "WRONGTYPE" in str(refused[0].error)
    told = dict(await arrived(reader, 2 if what == "its stream" else 3))
    assert {("acme", "before"), ("acme", "after")} <= set(told)
    assert await place.redis.type(name) == kind.encode(), "what is not ours is left alone"
    stays = await reader.values([("acme", "before"), ("acme", "bad"), ("acme", "after")])
    assert len(stays) == (2 if what == "its reply key" else 3)


async def test_a_claim_key_of_another_type_is_dropped_by_the_error_that_ends_it(place):
    await place.redis.hset(keys.claim("p", "acme", "bad"), "f", "v")
    assert await place.writer().write([error("bad"), good("fine")]) == []
    assert not await place.redis.exists(keys.claim("p", "acme", "bad"))


@pytest.mark.parametrize("make", [keys.reply, keys.waiters, keys.claim])
async def test_who_claims_or_waits_at_a_key_of_another_type_is_told_and_others_are_not_hurt(place, make):
    await place.redis.hset(make("p", "acme", "bad"), "f", "v")
    reader = place.reader()
    with pytest.raises(BadRecord, match="WRONGTYPE"):
        await asyncio.wait_for(reader.claim(("acme", "bad"), "d", 1, 2), 5)
    if make is not keys.claim:
        with pytest.raises(BadRecord, match="WRONGTYPE"):
            await asyncio.wait_for(reader.listen(("acme", "bad")), 5)
    assert (await reader.claim(("acme", "fine"), "d", 1, 2)).verdict == "go"


OUTSIDE = ["billing:events", "p:embeddings:en:v1", "p:reply:acme:x", "p:replies:", "p2:replies:me"]


@pytest.mark.parametrize("stream", OUTSIDE)
async def test_no_reply_is_written_outside_the_prefix_of_reply_streams(place, stream):
    await place.redis.hset("p:embeddings:en:v1", "f", "v")
    writer = place.writer()
    outside, inside = good("outside", stream), good("inside")
    refused = await writer.write([outside, inside])
    assert [type(one.error) for one in refused] == [InvalidUtterance] and refused[0].reply.request_id == "outside"
    assert await place.redis.type("p:embeddings:en:v1") == b"hash"
    assert not await place.redis.exists("billing:events", "p:replies:", "p2:replies:me", "p:reply:acme:x")
    assert len(await place.reader().values([("acme", "outside"), ("acme", "inside")])) == 2


NAMES = ["a:b", "*", "{", "}", "a{b}c", "\n", "\x00", "%3A", "É", "E\u0301", "x" * 256, "😀" * 256]


@pytest.mark.parametrize("name", NAMES)
async def test_any_tenant_and_id_are_written_read_and_waited_for(place, name):
    writer, reader, other = place.writer(), place.reader(), place.reader("other")
    assert await other.listen((name, name)) is None
    assert (await reader.claim((name, name), "d", 1, 2**53)).verdict == "go"
    assert await writer.write([good(name, tenant=name)]) == []
    for one in (reader, other):
        assert await arrived(one, 1) == [((name, name), "lights off")]
    assert list(await reader.values([(name, name)])) == [(name, name)]


# What an id means

async def test_an_id_is_its_tenants_own(place):
    writer, reader = place.writer(), place.reader()
    await writer.write([good("req-1", tenant="shop", text="where is my order")])
    assert await reader.values([("bank", "req-1"), ("sho", "p:req-1"), ("shop:req", "1")]) == {}
    assert (await reader.claim(("bank", "req-1"), keys.request_digest("my password", "en"), 1, 2)).verdict == "go"
    assert await writer.write([good("req-1", tenant="bank", text="my password")]) == []
    assert sorted(await arrived(reader, 2)) == [
        (("bank", "req-1"), "my password"), (("shop", "req-1"), "where is my order")
    ]


async def test_an_id_used_again_for_another_text_or_language_is_refused(place):
    writer, reader = place.writer(), place.reader()
    now, ahead = 10**6, 10**6 + int(SHARED * 1e6)
    asked = keys.request_digest("lights off", "en")
    assert (await reader.claim(("acme", "x"), asked, now, ahead)).verdict == "go"
    other = keys.request_digest("lights off", "fr")
    with pytest.raises(IdReused, match="'x'"):  # in flight
        await place.reader("other").claim(("acme", "x"), other, now, ahead)
    await writer.write([good("x")])
    with pytest.raises(IdReused):  # replied to
        await reader.claim(("acme", "x"), other, now, ahead)
    again = await place.reader("third").claim(("acme", "x"), asked, now, ahead)
    assert again.verdict == "reply" and wire.decode(wire.Prediction, again.value[1:]).text == "lights off"


async def test_an_id_whose_request_got_an_error_may_be_used_again(place):
    writer, reader = place.writer(), place.reader()
    await writer.write([error("x", code="text_too_long")])
    verdict = await reader.claim(("acme", "x"), keys.request_digest("shorter", "en"), 1, 2)
    assert verdict.verdict == "go"
    assert await writer.write([good("x", text="shorter")]) == []


async def test_the_holder_of_a_claim_may_go_again_and_another_client_waits(place):
    reader, other = place.reader(), place.reader("other")
    now, ahead = 10**6, 10**6 + int(SHARED * 1e6)
    for who, verdict in ((reader, "go"), (other, "wait"), (reader, "go"), (other, "wait")):
        assert (await who.claim(("acme", "x"), "d", now, ahead)).verdict == verdict
    assert (await other.claim(("acme", "x"), "d", ahead, ahead + 1)).verdict == "go", "the first one's time is over"


async def test_who_asks_the_same_again_is_sent_the_reply_that_is_there(place):
    writer, first, second = place.writer(), place.reader(), place.reader("second")
    await writer.write([good("x")])
    late = error("x", stream=second.stream)  # its embedding came too late: the reply is there all the same
    changed = replace(good("x", stream=second.stream), value=prediction("acme", "x", intent="on"))
    assert await writer.write([late, changed]) == []
    assert await arrived(first, 1) == [(("acme", "x"), "lights off")]
    found = []
    while len(found) < 2:
        found += await second.read(block_ms=1_000)
    assert {value for _, value in found} == {b"+" + good("x").value}, "the first good reply counts"


async def test_who_uses_an_id_again_for_another_text_is_told_so_and_nothing_of_the_first(place):
    writer, first, second = place.writer(), place.reader(), place.reader("second")
    await writer.write([good("x")])
    other = good("x", stream=second.stream, text="my password")
    refused = await writer.write([other, good("y", stream=second.stream)])
    assert [(one.reply, type(one.error)) for one in refused] == [(other, IdReused)]
    told = await arrived(second, 2)
    assert sorted(told) == [(("acme", "x"), "id_reused"), (("acme", "y"), "lights off")]
    stays = (await first.values([("acme", "x")]))["acme", "x"]
    assert wire.decode(wire.Prediction, stays[1:]).text == "lights off"
    refusal = error("x", stream=second.stream, text="my password", code="id_reused")
    assert await writer.write([refusal]) == []  # as a head worker refuses it
    assert await arrived(second, 1) == [(("acme", "x"), "id_reused")]


async def test_an_error_after_an_error_is_told_too(place):
    writer, second = place.writer(), place.reader("second")
    await writer.write([error("x", code="unknown_tenant")])
    await writer.write([error("x", stream=second.stream, code="unknown_tenant")])
    assert await arrived(second, 1) == [(("acme", "x"), "unknown_tenant")]


async def test_garbage_at_a_reply_key_is_no_reply(place):
    writer, reader = place.writer(), place.reader()
    for number, garbage in enumerate((b"", b"+", b"+\xff", b"+\x93\x01\x02\x03", b"+\x81\xa4text\x01", b"hello")):
        await place.redis.set(keys.reply("p", "acme", f"x{number}"), garbage)
        assert await writer.good([("acme", f"x{number}")]) == {}
        assert await writer.write([good(f"x{number}")]) == []
        assert await arrived(reader, 1) == [(("acme", f"x{number}"), "lights off")]


async def test_good_finds_good_replies_and_no_errors(place):
    writer = place.writer()
    await writer.write([good("x"), good("x", tenant="bank"), error("y")])
    found = await writer.good([("acme", "x"), ("acme", "y"), ("bank", "x"), ("shop", "x")])
    assert {owned: said.prediction.text for owned, said in found.items()} == {
        ("acme", "x"): "lights off", ("bank", "x"): "lights off"
    }


async def test_entries_of_the_stream_that_are_no_replies_are_passed_over(place):
    writer, reader = place.writer(), place.reader()
    await place.redis.xadd(reader.stream, {"hello": "world"})
    await place.redis.xadd(reader.stream, {"id": b"\xff", "tenant": "acme", "value": "+"})
    await writer.write([good("x")])
    assert await arrived(reader, 1) == [(("acme", "x"), "lights off")]


async def test_a_client_that_never_reads_costs_a_bounded_stream_that_expires(place):
    writer = place.writer(replace(PACING, reply_stream_length=100))
    for number in range(20):
        await writer.write([good(f"{number}-{i}") for i in range(50)])
    assert 100 <= await place.redis.xlen("p:replies:me") <= 300  # Redis trims whole nodes of 100 entries
    assert await place.redis.pttl("p:replies:me") > 0


async def test_a_stream_that_was_trimmed_or_lost_leaves_the_reply_at_its_key(place):
    writer, reader = place.writer(), place.reader()
    await writer.write([good("x")])
    await place.redis.delete(reader.stream)
    assert await reader.read(block_ms=1) == []
    assert list(await reader.values([("acme", "x")])) == [("acme", "x")]


# States of Redis that pass

async def fill(place):
    await place.redis.config_set("maxmemory-policy", "noeviction")
    await place.redis.config_set("maxmemory", "1")

    async def again():
        await place.redis.config_set("maxmemory", "0")
    return again


async def make_replica(place):
    await place.redis.replicaof("127.0.0.1", "1")  # of nobody that is there

    async def again():
        await place.redis.replicaof("NO", "ONE")
    return again


async def fail_to_save(place):
    await place.redis.config_set("dir", "/proc")  # nothing can be written there
    await place.redis.config_set("save", "1 1")
    await place.redis.set("changed", "1")
    async with asyncio.timeout(10):
        while (await place.redis.info("persistence"))["rdb_last_bgsave_status"] != "err":
            pass  # it saves once a second by itself

    async def again():
        await place.redis.config_set("save", "")
    return again


async def hide_stale_data(place):
    await place.redis.config_set("replica-serve-stale-data", "no")
    return await make_replica(place)


STATES = {"full": fill, "read-only": make_replica, "unsaved": fail_to_save, "without its master": hide_stale_data}


@pytest.mark.parametrize("state", STATES)
async def test_a_state_of_redis_that_passes_is_waited_for(own_place, state):
    writer, reader = own_place.writer(replace(BRIEF, reply_retry_s=30.0)), own_place.reader()
    await writer.write([good("warm")])
    assert await arrived(reader, 1)
    again = await STATES[state](own_place)
    writing = asyncio.create_task(writer.write([good("x"), error("y")]))
    claiming = asyncio.create_task(reader.claim(("acme", "z"), "d", 1, 2))
    done, _ = await asyncio.wait([writing, claiming], timeout=0.5)
    assert not done, [task.result() for task in done]
    await again()
    assert await asyncio.wait_for(writing, 20) == []
    assert (await asyncio.wait_for(claiming, 20)).verdict == "go"
    assert [said for _, said in await arrived(reader, 2)] == ["lights off", "deadline_exceeded"]


@pytest.mark.parametrize("state", STATES)
async def test_a_state_that_does_not_pass_ends_the_worker_with_its_cause(own_place, state):
    writer = own_place.writer(BRIEF)
    again = await STATES[state](own_place)
    with pytest.raises(Unavailable, match=r"Redis took no reply for .*(maxmemory|read only|snapshot|MASTER)"):
        await asyncio.wait_for(writer.write([good("x")]), 20)
    await again()


async def test_scripts_that_redis_forgot_are_given_again(place):
    writer, reader = place.writer(), place.reader()
    await writer.write([good("x")])
    await place.redis.script_flush()
    assert await writer.write([good("y")]) == []
    assert (await reader.claim(("acme", "z"), "d", 1, 2)).verdict == "go"


async def busy(place):
    try:
        return not await place.redis.ping()
    except Exception as error:
        return "busy" in str(error).lower()


async def test_a_redis_busy_with_somebodys_script_is_waited_for(own_place):
    await own_place.redis.config_set("lua-time-limit", "50")
    writer = own_place.writer(replace(BRIEF, reply_retry_s=30.0))
    await writer.write([good("warm")])
    hog = connect(own_place.settings)
    running = asyncio.create_task(hog.eval("while true do end", 0))
    async with asyncio.timeout(10):
        while not await busy(own_place):
            pass  # each question is a round trip
    writing = asyncio.create_task(writer.write([good("x")]))
    done, _ = await asyncio.wait([writing], timeout=0.5)
    assert not done
    await own_place.redis.script_kill()
    await asyncio.gather(running, return_exceptions=True)
    assert await asyncio.wait_for(writing, 20) == []
    await hog.aclose()


async def test_a_frozen_redis_is_waited_for_and_leaves_no_connection_behind(own_place):
    writer, reader = own_place.writer(replace(BRIEF, reply_retry_s=30.0)), own_place.reader(pacing=BRIEF)
    await writer.write([good("warm")])
    await reader.ping()
    async with own_place.frozen():
        writing = asyncio.create_task(writer.write([good("x")]))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await reader.claim(("acme", "y"), "d", 1, 2)
        with pytest.raises(Unavailable):
            await reader.read(block_ms=1)
        assert reader.away
        assert not writing.done()
    assert await asyncio.wait_for(writing, 20) == []
    assert (await asyncio.wait_for(reader.claim(("acme", "y"), "d", 1, 2), 20)).verdict == "go"
    assert reader.away == ""
    assert (await own_place.redis.info("clients"))["connected_clients"] < 20


@pytest.mark.parametrize("secret", ["requirepass", "acl"])
async def test_a_redis_that_does_not_let_us_in_is_a_matter_of_configuration(own_place, secret):
    writer, reader = own_place.writer(BRIEF), own_place.reader(pacing=BRIEF)
    if secret == "requirepass":
        await own_place.redis.config_set("requirepass", "secret")
    else:
        await own_place.redis.execute_command("ACL SETUSER default -@all +config +acl +hello +client +auth")
    for asking in (writer.write([good("x")]), reader.claim(("acme", "x"), "d", 1, 2), reader.ping()):
        with pytest.raises(Misconfigured):
            await asyncio.wait_for(asking, 10)
    if secret == "acl":
        await own_place.redis.execute_command("ACL SETUSER default +@all")


@pytest.mark.parametrize("rule", ["-xadd", "-set", "-smembers", "resetkeys ~p:reply:* ~p:waiters:* ~p:claim:*"])
async def test_a_right_that_is_missing_inside_a_script_is_a_matter_of_configuration(own_place, rule):
    writer = own_place.writer(BRIEF)
    await own_place.redis.execute_command("ACL", "SETUSER", "default", *rule.split())
    with pytest.raises(Misconfigured):
        await asyncio.wait_for(writer.write([good("x"), good("y")]), 10)
    await own_place.redis.execute_command("ACL", "SETUSER", "default", "+@all", "~*")


async def test_a_reply_that_is_too_large_for_redis_is_refused_alone(own_place):
    await own_place.redis.config_set("proto-max-bulk-len", str(1 << 20))
    writer, reader = own_place.writer(BRIEF), own_place.reader()
    large = replace(good("large"), value=b"x" * (2 << 20))
    refused = await asyncio.wait_for(writer.write([good("before"), large, good("after")]), 20)
    assert [one.reply for one in refused] == [large]
    assert [id for (_, id), _ in await arrived(reader, 2)] == ["before", "after"]


async def test_two_clients_on_one_stream_both_read_all_of_it(place):
    writer, one, other = place.writer(), place.reader(), place.reader()
    await writer.write([good("x"), good("y")])
    assert await arrived(one, 2) == await arrived(other, 2)


async def test_three_hundred_at_once_share_a_few_connections(place):
    reader = place.reader()
    claims = await asyncio.gather(*(reader.claim(("acme", f"{i}"), "d", 1, 2) for i in range(300)))
    heard = await asyncio.gather(*(reader.listen(("acme", f"other-{i}")) for i in range(300)))
    assert [claim.verdict for claim in claims] == ["go"] * 300 and heard == [None] * 300
    assert (await place.redis.info("clients"))["connected_clients"] <= PACING.redis_connections + 5


async def test_closing_is_bounded_while_redis_is_frozen(own_place):
    writer, reader = own_place.writer(BRIEF), own_place.reader(pacing=BRIEF)
    await writer.write([good("x")])
    await arrived(reader, 1)
    async with own_place.frozen():
        await asyncio.wait_for(asyncio.gather(writer.close(), reader.close()), 10)


async def test_a_call_whose_time_is_over_ends_then_however_many_wait_for_a_connection(place):
    reader = place.reader()
    await reader.ping()

    async def looks(number):
        try:
            async with asyncio.timeout(number % 60 / 1_000):
                await reader.values([("acme", str(number))])
                await asyncio.Event().wait()
        except (TimeoutError, Unavailable):
            return

    for _ in range(10):
        tasks = []
        for number in range(200):
            tasks.append(asyncio.create_task(looks(number)))
            if number % 10 == 0:
                await asyncio.sleep(0)
        _, waiting = await asyncio.wait(tasks, timeout=20)
        for task in waiting:
            task.cancel()
        assert not waiting


async def test_a_reply_with_one_reader_goes_soon_after_its_deadline_and_others_are_kept_for_the_hour(place):
    writer, now_us = place.writer(), time.time_ns() // 1_000
    within = {"soon": 10, "late": 1_000, "past": -100, "much later": 86_400}
    replies = [replace(good(id), until_us=now_us + seconds * 1_000_000) for id, seconds in within.items()]
    assert await writer.write([*replies, good("kept"), replace(error("failed"), until_us=now_us)]) == []
    left_s = {id: await place.redis.pttl(keys.reply("p", "acme", id)) / 1e3 for id in (*within, "kept", "failed")}
    assert left_s == pytest.approx(
        {"soon": 310, "late": 1_300, "past": 300, "much later": 3_600, "kept": 3_600, "failed": 60}, abs=SHARED / 3
    )
