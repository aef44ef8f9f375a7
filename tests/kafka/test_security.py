"""A company's cluster: Apache Kafka with SASL over TLS and client certificates, a Redis with TLS and an ACL."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from headrace import Headrace
from infra.stack import kafka
from tests import certificates, tokens
from tests.secured import KEY_PASSWORD, PASSWORD, REDIS_PASSWORD, secured
from tests.small import example, small_stack
from topology import topics
from topology.errors import Misconfigured, Unavailable, UnknownTenant
from topology.settings import parse
from topology.stream import sign_on
from topology.stream.admin import apply_topics
from topology.stream.kafka import Producer, TopicReader
from topology.stream.records import Output

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
    pytest.mark.skipif(not certificates.AVAILABLE, reason="left out: there is no openssl to make certificates"),
]
RING = '\n[rings.en]\nlanguages = ["en"]\nencoder = "x"\n'
BY_TOKEN = {"broker__sasl__mechanism": "OAUTHBEARER", "broker__sasl__user": None, "broker__sasl__password": None}
SECRETS = (PASSWORD, KEY_PASSWORD, REDIS_PASSWORD)
SASL = ("broker__sasl__mechanism", "broker__sasl__user", "broker__sasl__password")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HEADRACE_TEST_KEY_PASSWORD", KEY_PASSWORD)
        with secured(tmp_path_factory.mktemp("servers")) as found:
            (found.home / "wrong.password").write_text("not it")
            certificates.authority(found.home, "other")
            yield found


def headrace(config, *args):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "HEADRACE_CONFIG": str(config)}, cwd=Path(__file__).parents[2])


async def predicted(settings):
    """A prediction, once the worker knows the head."""
    async with Headrace(settings) as client, asyncio.timeout(60):
        while True:
            try:
                return await client.predict("acme", example(0).text, lang="en", deadline=60)
            except UnknownTenant:
                await asyncio.sleep(0.2)


def test_an_utterance_passes_through_every_process_and_no_secret_is_told(servers, tmp_path):
    told = []
    with small_stack(tmp_path, connections=servers.config(), say=told.append) as (_, supervisor, _):
        config = tmp_path / "headrace.toml"
        reply = asyncio.run(predicted(config))
        assert reply.intent == example(0).intent
        for command in (("topics", "apply"), ("predict", "acme", example(1).text, "--lang", "en"), ("config", "check"),
                        ("status",)):
            done = headrace(config, "-m", "infra.cli", *command)
            assert (done.returncode, done.stderr) == (0, ""), done
            told += [done.stdout]
        told += [json.dumps(child.command) for child in supervisor.children]
        if Path("/proc").exists():
            told += [Path(f"/proc/{child.process.pid}/cmdline").read_text() for child in supervisor.children]
        told += [place.read_text(errors="replace") for place in (tmp_path / "state").rglob("*.json")]
    told += [place.read_text(errors="replace") for place in (tmp_path / "state" / "logs").glob("*.log")]
    assert len(told) > 8
    assert not [text for text in told for secret in SECRETS if secret in text]


@pytest.mark.parametrize("changes", [
    {"broker__sasl__mechanism": "PLAIN"}, {"broker__sasl__mechanism": "SCRAM-SHA-256"},
    {"broker__sasl__mechanism": "SCRAM-SHA-512"}, {**BY_TOKEN, "broker__sasl__token_provider": "tests.tokens:long"},
], ids=lambda changes: changes["broker__sasl__mechanism"])
async def test_every_mechanism_creates_topics_writes_and_reads(servers, changes):
    prefix = changes["broker__sasl__mechanism"].lower()
    settings = parse(f'prefix = "{prefix}"\n' + servers.config(**changes) + RING)
    assert all(report.created for report in await apply_topics(settings, topics.wanted(settings)))
    topic = topics.dead_letters(prefix)
    producer, reader = Producer(settings.broker), TopicReader(settings.broker, topic)
    await producer.start()
    await reader.start()
    try:
        await producer.send([Output(topic, b"key", b"value")])
        assert [record.value for record in await reader.read_to_end()] == [b"value"]
    finally:
        await producer.stop()
        await reader.stop()


async def test_writing_goes_on_when_a_token_has_expired(servers):
    changes = {**BY_TOKEN, "broker__sasl__token_provider": "tests.tokens:short"}
    settings = parse('prefix = "expiring"\n' + servers.config() + RING)
    await apply_topics(settings, topics.wanted(settings))
    settings = parse('prefix = "expiring"\n' + servers.config(**changes) + RING)
    topic = topics.dead_letters("expiring")
    producer = Producer(settings.broker)
    await producer.start()
    try:
        signed_on, written_with_the_third = len(tokens.given), False
        async with asyncio.timeout(60):
            while not written_with_the_third:  # Kafka ends the connection of the first two
                try:
                    await producer.send([Output(topic, None, b"more")])
                    written_with_the_third = len(tokens.given) >= signed_on + 2
                except Unavailable:
                    await asyncio.sleep(0.05)  # as whoever writes does: it tries again
    finally:
        await producer.stop()


REFUSED = {
    "a wrong password": ({"broker__sasl__password": "file:{home}/wrong.password"}, "broker.sasl: .* user 'alice'"),
    "an unknown user": ({"broker__sasl__user": "mallory"}, "broker.sasl: .* refuses user 'mallory'"),
    "a token of another kind": ({**BY_TOKEN, "broker__sasl__token_provider": "tests.tokens:rubbish"}, "broker.sasl: "),
    "a hook that returns nothing": (
        {**BY_TOKEN, "broker__sasl__token_provider": "tests.tokens:nothing"}, "token_provider: .* returned NoneType"),
    "a hook that is not there": (
        {**BY_TOKEN, "broker__sasl__token_provider": "tests.tokens:forgotten"}, "token_provider: .*AttributeError"),
    "another authority": ({"broker__tls__ca": "{home}/other.pem"}, "broker.tls.ca: .*not trusted"),
    "another host's certificate": ({"broker__bootstrap": "localhost:{port}"}, "broker.tls.check_hostname: .*localhost"),
    "no client certificate": (
        dict.fromkeys(f"broker__tls__{name}" for name in ("certificate", "key", "key_password")), "tls.certificate: "),
    "a key that stays locked": ({"broker__tls__key_password": None}, "broker.tls: .*key_password"),
    "no SASL": (dict.fromkeys(SASL), "broker.sasl: .*add"),
    "Redis with a wrong password": ({"redis__password": "file:{home}/wrong.password"}, "redis.user, redis.password: "),
    "Redis with another authority": ({"redis__tls__ca": "{home}/other.pem"}, "redis.tls.ca: .*not trusted"),
    "Redis by another name": ({"redis__url": "{localhost_url}"}, "redis.tls.check_hostname: "),
    "Redis without TLS": ({"redis__url": "{plain_url}", "redis__tls__ca": None}, "redis.url: .*TLS"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_who_is_not_let_in_is_told_which_setting_is_wrong(servers, what):
    changes, told = REFUSED[what]
    known = {
        "home": servers.home, "port": servers.bootstrap.rpartition(":")[2],
        "localhost_url": servers.redis_url.replace("127.0.0.1", "localhost"),
        "plain_url": servers.redis_url.replace("rediss", "redis"),
    }
    text = servers.config(**{name: value and value.format(**known) for name, value in changes.items()})
    with pytest.raises(Misconfigured, match=told) as found:
        await sign_on.check(parse(text + RING))
    assert not [secret for secret in (*SECRETS, "not it", "rubbish") if secret in str(found.value)]


def test_hostname_checks_can_be_turned_off(servers):
    changes = {
        "broker__bootstrap": servers.bootstrap.replace("127.0.0.1", "localhost"), "broker__tls__check_hostname": False,
        "redis__url": servers.redis_url.replace("127.0.0.1", "localhost"), "redis__tls__check_hostname": False,
    }
    settings = parse(servers.config(**changes) + RING)
    assert asyncio.run(sign_on.why_kafka_is_away(settings.broker)) == ""
    assert asyncio.run(sign_on.why_redis_is_away(settings.redis)) == ""


async def test_a_client_is_told_too_and_within_seconds(servers):
    settings = parse(servers.config(broker__sasl__password=f"file:{servers.home}/wrong.password") + RING)
    async with asyncio.timeout(20):  # the broker being away is waited for 30 s
        with pytest.raises(Misconfigured, match=r"broker\.sasl"):
            async with Headrace(settings):
                pass
    settings = parse(servers.config(redis__password=f"file:{servers.home}/wrong.password") + RING)
    with pytest.raises(Misconfigured, match="redis"):
        async with Headrace(settings):
            pass


@pytest.mark.parametrize(("changes", "told"), [
    ({"broker__sasl__password": "file:wrong.password"}, "broker.sasl: "),
    ({"broker__tls__ca": "other.pem"}, "broker.tls.ca: "),
    ({"redis__password": "file:wrong.password"}, "redis.user, redis.password: "),
    ({"broker__sasl__password": "file:nowhere"}, r"toml:\d+: broker.sasl.password: file .*nowhere cannot be read"),
    ({"redis__password": "env:HEADRACE_TEST_UNSET"}, r"headrace.toml:\d+: redis.password: .*HEADRACE_TEST_UNSET"),
    ({"redis__tls__ca": "nowhere.pem"}, r"headrace.toml:\d+: redis.tls.ca: there is no file .*nowhere.pem"),
])
def test_a_worker_that_is_not_let_in_ends_with_2_and_the_setting_on_its_last_line(servers, changes, told):
    config = servers.home / "headrace.toml"  # relative paths are taken from where the file stands
    config.write_text(servers.config(**changes) + RING + "[rings.en.cells.a]\n")
    done = headrace(config, "-m", "head_worker", "--ring", "en", "--cell", "a")
    assert done.returncode == 2, done
    assert re.search(told, done.stderr.splitlines()[-1]), done.stderr
    assert len(done.stderr.splitlines()) < 10
