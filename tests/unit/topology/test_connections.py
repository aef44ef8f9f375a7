"""What `[broker]` and `[redis]` say of TLS, SASL and secrets: mistakes by line, and secrets that nothing shows."""

import ast
import asyncio
import dataclasses
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import certificates, tokens
from topology import addresses
from topology.connections import Tls
from topology.errors import Misconfigured, Unavailable
from topology.pacing import Pacing
from topology.secrets import MAX_BYTES, Secret
from topology.settings import advice, load, missing, parse
from topology.stream.redis import connect
from topology.stream.security import Tokens, kafka_security, redis_security, tls_context

RING = '[rings.en]\nlanguages = ["en"]\nencoder = "x"\n'
BROKER = '[broker]\nkind = "external"\nbootstrap = "k:9093"\n'
REDIS = '[redis]\nkind = "external"\nurl = "rediss://r:6379/0"\n'
SASL = BROKER + '[broker.tls]\n[broker.sasl]\nmechanism = "SCRAM-SHA-512"\nuser = "alice"\n'
HIDDEN = "hunter2"

MISTAKES = {
    "a password in the file": (SASL + f'password = "{HIDDEN}"\n', r":8: broker.sasl.password: .*file:PATH.*env:NAME"),
    "a password that is a number": (REDIS + "password = 20220102\n", r":4: redis.password: .*file:PATH"),
    "a password in a list": (REDIS + f'password = ["{HIDDEN}"]\n', r":4: redis.password: "),
    "a password in the Redis URL": (
        f'[redis]\nkind = "external"\nurl = "redis://:{HIDDEN}@r:6379/0"\n', ":3: redis.url: a password does not"),
    "one in its query": (
        f'[redis]\nkind = "external"\nurl = "rediss://r:6379/0?password={HIDDEN}"\n', ":3: redis.url: a password"),
    "a list of URLs": (f'[redis]\nkind = "external"\nurl = ["redis://:{HIDDEN}@r/0"]\n', ":3: redis.url: .*list"),
    "a Redis URL that is none": (f'[redis]\nkind = "external"\nurl = "r:6379:{HIDDEN}"\n', "rediss://host:port/0"),
    "a URL with a broken port": (f'[redis]\nkind = "external"\nurl = "redis://:{HIDDEN}@r:x/0"\n', "redis://host"),
    "a password in bootstrap": (
        f'[broker]\nkind = "external"\nbootstrap = "alice:{HIDDEN}@k:9093"\n', r":3: broker.bootstrap: .*broker.sasl"),
    "a password in the store's URL": (f'[heads]\nstore = "sftp://u:{HIDDEN}@h/p"\n', ":2: heads.store: a password"),
    "an unknown mechanism": (SASL.replace("SCRAM-SHA-512", "GSSAPI"), ":6: broker.sasl.mechanism: 'GSSAPI' is none of"),
    "SASL without a user": (BROKER + '[broker.sasl]\nmechanism = "PLAIN"\n', "broker.sasl.user: PLAIN needs a user"),
    "SASL without a password": (SASL, "broker.sasl.password: SCRAM-SHA-512 needs a password"),
    "OAUTHBEARER without a hook": (
        BROKER + '[broker.sasl]\nmechanism = "OAUTHBEARER"\n', "needs token_provider = "),
    "OAUTHBEARER with a user": (
        SASL.replace("SCRAM-SHA-512", "OAUTHBEARER") + 'token_provider = "a:b"\n', "neither user nor password"),
    "a hook without a callable": (
        BROKER + '[broker.sasl]\nmechanism = "OAUTHBEARER"\ntoken_provider = "a.b"\n', "package.module:callable"),
    "a hook for SCRAM": (SASL + 'password = "env:P"\ntoken_provider = "a:b"\n', "only OAUTHBEARER takes one"),
    "an empty reference": (SASL + 'password = "file:"\n', "names nothing"),
    "a variable's value for its name": (SASL + f'password = "env:{HIDDEN}$"\n', "the name of a variable"),
    "TLS to what is started here": ("[broker.tls]\n", ':1: broker.tls: only for kind = "external"'),
    "a user of a Redis started here": ('[redis]\nuser = "bob"\n', "redis.user: only for kind"),
    "TLS to redis://": (REDIS.replace("rediss", "redis") + "[redis.tls]\n", "write rediss://"),
    "a key alone": (BROKER + '[broker.tls]\nkey = "k.pem"\n', ":5: broker.tls.key: a key needs its certificate"),
    "a key's password alone": (BROKER + '[broker.tls]\nkey_password = "env:P"\n', "no key that it would open"),
    "an unknown name": (BROKER + '[broker.tls]\ncafile = "x"\n', ":5: broker.tls.cafile: unknown setting"),
    "tls = true": (BROKER + "tls = true\n", ":4: broker.tls: a table is wanted"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_named_with_its_line_and_no_secret(what):
    text, told = MISTAKES[what]
    with pytest.raises(Misconfigured, match=told) as found:
        parse(text + RING)
    assert HIDDEN not in str(found.value) and "20220102" not in str(found.value)


def test_a_checked_file_needs_no_secret_of_the_machine_that_will_run_it(tmp_path, monkeypatch):
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)
    config = tmp_path / "headrace.toml"
    config.write_text(SASL + 'password = "file:kafka.password"\n' + REDIS + 'password = "env:REDIS_PASSWORD"\n' + RING)
    settings = load(config)
    assert [line.partition(": ")[0] for line in missing(settings, config)] == [f"{config}:8", f"{config}:12"]
    with pytest.raises(Misconfigured, match=r":8: broker\.sasl\.password: file .* read: .*\n.*:12: .*no REDIS_PASS"):
        addresses.load_running(config)
    done = subprocess.run([sys.executable, "-m", "infra.cli", "--config", str(config), "config", "check"],
                          capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3])
    assert done.returncode == 0 and done.stderr.count("would not start") == 2, done.stderr


def test_files_are_taken_from_where_headrace_toml_stands(tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS_PASSWORD", HIDDEN)
    for name in ("kafka.password", "ca.pem"):
        (tmp_path / name).write_text(f"{HIDDEN}\n")
    config = tmp_path / "headrace.toml"
    sasl = SASL.replace("[broker.sasl]", 'ca = "ca.pem"\n[broker.sasl]') + 'password = "file:kafka.password"\n'
    config.write_text(sasl + REDIS + 'user = "bob"\npassword = "env:REDIS_PASSWORD"\n' + RING)
    settings = addresses.load_running(config)
    assert settings.broker.tls.ca == str(tmp_path / "ca.pem")
    assert settings.broker.sasl.password.read() == settings.redis.password.read() == HIDDEN
    assert HIDDEN not in repr(settings)


def test_no_client_shows_a_password(monkeypatch):
    monkeypatch.setenv("P", HIDDEN)
    settings = parse(SASL + 'password = "env:P"\n' + REDIS + 'user = "bob"\npassword = "env:P"\n' + RING)
    client = connect(settings.redis)
    assert client.connection_pool.connection_kwargs["password"] == HIDDEN
    shown = [repr(client), repr(client.connection_pool), repr(client.connection_pool.make_connection()), repr(settings)]
    assert not [text for text in shown if HIDDEN in text]


def test_a_whole_redis_url_may_be_a_reference_and_is_never_told(tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS_URL", f"rediss://bob:{HIDDEN}@r:6380/1")
    settings = parse('[redis]\nkind = "external"\nurl = "env:REDIS_URL"\n' + RING)
    assert redis_security(settings.redis)["url"] == f"redis://bob:{HIDDEN}@r:6380/1"
    settings = dataclasses.replace(settings, state_dir=str(tmp_path))
    addresses.write(settings, "127.0.0.1:9092", settings.redis.url)
    assert json.loads((tmp_path / addresses.FILE).read_text()) == {"bootstrap": "127.0.0.1:9092", "redis": ""}
    monkeypatch.setenv("REDIS_URL", f"bob:{HIDDEN}")
    with pytest.raises(Misconfigured, match=r"redis\.url: what env:REDIS_URL holds: ") as found:
        redis_security(settings.redis)
    assert HIDDEN not in str(found.value)


def test_the_address_file_holds_nothing_of_what_is_external(tmp_path):
    settings = dataclasses.replace(parse(REDIS + RING), state_dir=str(tmp_path))
    addresses.write(settings, "127.0.0.1:9092", f"redis://:{HIDDEN}@r:6379/0")
    assert HIDDEN not in (tmp_path / addresses.FILE).read_text()
    assert addresses.at(settings, "127.0.0.1:9092", "").redis.url == "rediss://r:6379/0"


@pytest.mark.parametrize(("content", "told"), [
    (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "not UTF-8"), (b"x" * (MAX_BYTES + 1), "no secret is that"),
])
def test_a_file_that_holds_no_secret_is_refused_without_showing_it(tmp_path, content, told):
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(Misconfigured, match=told):
        Secret(f"file:{tmp_path / 's'}").read()
    assert Secret(HIDDEN).__repr__() == "Secret(…)"


def test_a_certificate_that_this_user_cannot_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "ca.pem").write_text("x")
    config = tmp_path / "headrace.toml"
    config.write_text(BROKER + '[broker.tls]\nca = "ca.pem"\n' + RING)
    settings = addresses.load_placed(config)
    assert missing(settings, config) == []
    monkeypatch.setattr(os, "access", lambda place, mode: False)  # the tests may run as root, who reads everything
    assert missing(settings, config) == [
        f"{config}:5: broker.tls.ca: file {tmp_path / 'ca.pem'} cannot be read by this user"
    ]


def test_what_would_send_a_secret_unencrypted_is_advised_against(tmp_path):
    config = tmp_path / "headrace.toml"
    config.write_text(BROKER + '[broker.sasl]\nmechanism = "PLAIN"\nuser = "a"\npassword = "env:P"\n'
                      + REDIS.replace("rediss", "redis") + 'password = "env:P"\n' + RING)
    assert [line.split(": ")[1] for line in advice(load(config), config)] == ["broker.sasl", "redis.password"]


@pytest.mark.skipif(not certificates.AVAILABLE, reason="left out: there is no openssl to make certificates")
def test_a_certificate_that_does_not_open_names_its_setting_and_asks_no_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY_PASSWORD", HIDDEN)
    ca = certificates.authority(tmp_path)
    certificate, key = (str(p) for p in certificates.signed(ca, "me", password=HIDDEN))
    opens = Tls(str(ca), certificate, key, Secret("env:KEY_PASSWORD"))
    assert tls_context(opens, "broker.tls").check_hostname
    with pytest.raises(Misconfigured, match=r"redis\.tls: certificate .* key_password"):
        tls_context(dataclasses.replace(opens, key_password=Secret()), "redis.tls")
    with pytest.raises(Misconfigured, match=r"redis\.tls: certificate .*"):
        tls_context(dataclasses.replace(opens, certificate=str(ca)), "redis.tls")
    with pytest.raises(Misconfigured, match=r"broker\.tls\.ca: .*PEM"):
        tls_context(dataclasses.replace(opens, ca=key), "broker.tls")


def test_every_client_of_kafka_and_redis_signs_on():
    for place in (Path(__file__).parents[3] / "topology").rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(place.read_text())) if isinstance(node, ast.Call)):
            given = ast.unparse(call)
            if any(word.arg == "bootstrap_servers" for word in call.keywords):
                assert "**kafka_security(" in given, (place, given)
            if ast.unparse(call.func).endswith(".from_url"):
                assert "**redis_security(" in given, (place, given)


def test_the_client_library_writes_no_password_to_its_log(monkeypatch, caplog):
    monkeypatch.setenv("P", HIDDEN)
    kafka_security(parse(SASL + 'password = "env:P"\n' + RING).broker)
    log = logging.getLogger("aiokafka.conn")
    with caplog.at_level(logging.DEBUG, "aiokafka.conn"):
        log.debug("Request to %s:%d %d: %s", "k", 9093, 3, type("SaslAuthenticateRequest_v0", (SimpleNamespace,), {})(
            payload=HIDDEN))
        log.debug("Request to %s:%d %d: %s", "k", 9093, 4, "MetadataRequest_v5")
    assert [record.args[3] for record in caplog.records] == ["MetadataRequest_v5"]


async def test_a_token_is_used_until_shortly_before_it_expires_and_then_replaced():
    provider = Tokens("tests.tokens:long", Pacing(token_margin_s=30))
    before = len(tokens.given)
    assert await provider.token() == await provider.token() == tokens.given[-1]
    assert len(tokens.given) == before + 1
    late = Tokens("tests.tokens:long", Pacing(token_margin_s=3_601))
    assert await late.token() != await late.token()


async def test_a_token_without_a_time_is_asked_for_at_each_connection():
    asked = await asyncio.gather(*(Tokens("tests.tokens:rubbish").token() for _ in range(3)))
    assert asked == ["rubbish"] * 3


async def test_an_identity_server_that_is_away_is_a_moment_and_a_wrong_hook_a_setting():
    with pytest.raises(Unavailable, match=r"tests\.tokens:failing: ConnectionError: the identity server is away"):
        await Tokens("tests.tokens:failing").token()
    with pytest.raises(Unavailable) as found:
        await Tokens("tests.tokens:nothing").token()
    assert isinstance(found.value.__cause__, Misconfigured)
    for hook in ("tests.tokens:forgotten", "tests.tokens:given", "tests.nowhere:x"):
        with pytest.raises(Misconfigured, match=r"broker\.sasl\.token_provider"):
            Tokens(hook)
