"""Apache Kafka with SASL over TLS, and a redis-server with TLS and an ACL, as a company's cluster has them."""

import asyncio
import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.stack import kafka
from infra.stack.embedded import free_port, listens, redis_server
from infra.stack.supervise import Supervisor
from tests.certificates import authority, signed

PASSWORD, KEY_PASSWORD, REDIS_PASSWORD = "s3cret=of/kafka", "s3cret=of/key", "s3cret=of/redis"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
ON_LISTENER = "listener.name.sasl_ssl"


@dataclass(frozen=True)
class Secured:
    """What a client needs to sign on to both, and the folder where it all lies."""

    home: Path
    bootstrap: str
    redis_url: str
    ca: Path
    certificate: Path
    key: Path

    def config(self, **changes):
        """The sections of headrace.toml; `broker__tls__ca=…` changes a line, None leaves it out."""
        values = {
            "broker.kind": "external", "broker.bootstrap": self.bootstrap,
            "broker.tls.ca": self.ca, "broker.tls.certificate": self.certificate, "broker.tls.key": self.key,
            "broker.tls.key_password": "env:HEADRACE_TEST_KEY_PASSWORD",
            "broker.sasl.mechanism": "SCRAM-SHA-512", "broker.sasl.user": "alice",
            "broker.sasl.password": f"file:{self.home / 'kafka.password'}",
            "redis.kind": "external", "redis.url": self.redis_url, "redis.user": "bob",
            "redis.password": f"file:{self.home / 'redis.password'}", "redis.tls.ca": self.ca,
        }
        values |= {name.replace("__", "."): value for name, value in changes.items()}
        lines = []
        for section in ("broker", "broker.tls", "broker.sasl", "redis", "redis.tls"):
            own = {n: v for n, v in values.items() if n.rpartition(".")[0] == section and v is not None}
            lines += [f"[{section}]"] * bool(own)
            lines += (f"{name.rpartition('.')[2]} = {_toml(value)}" for name, value in own.items())
        return "\n".join(lines)


def _toml(value):
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'


@contextmanager
def secured(home, kafka_too=True):
    """A Secured, running. `kafka_too`: else Redis alone, and an address where no broker is."""
    ca = authority(home)
    server, client = signed(ca, "server", "IP:127.0.0.1"), signed(ca, "client", password=KEY_PASSWORD)
    (home / "kafka.password").write_text(PASSWORD + "\n")
    (home / "redis.password").write_text(REDIS_PASSWORD + "\n")
    supervisor = Supervisor(home / "servers")
    try:
        bootstrap = f"127.0.0.1:{free_port()}"
        if kafka_too:
            bootstrap = kafka.start_brokers(supervisor, home / "servers", 1, _listener(home, ca, server))
        with _redis(supervisor, home, ca, server) as url:
            yield Secured(home, bootstrap, url, ca, *client)
    finally:
        supervisor.stop()


def _listener(home, ca, server):
    """SASL_SSL that wants a client certificate, too, and knows four mechanisms."""
    certificate, key = server
    chain = home / "kafka.chain.pem"
    chain.write_text(key.read_text() + certificate.read_text())
    unsecured = "org.apache.kafka.common.security.oauthbearer.internals.unsecured"
    return kafka.Listener("SASL_SSL", (
        "ssl.keystore.type=PEM", f"ssl.keystore.location={chain}",
        "ssl.truststore.type=PEM", f"ssl.truststore.location={ca}", f"{ON_LISTENER}.ssl.client.auth=required",
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        f'{ON_LISTENER}.plain.sasl.jaas.config={PLAIN} user_alice="{PASSWORD}";',
        f"{ON_LISTENER}.scram-sha-256.sasl.jaas.config={SCRAM}",
        f"{ON_LISTENER}.scram-sha-512.sasl.jaas.config={SCRAM}",
        f'{ON_LISTENER}.oauthbearer.sasl.jaas.config={OAUTH} unsecuredLoginStringClaim_sub="broker";',
        f"{ON_LISTENER}.oauthbearer.sasl.server.callback.handler.class="
        f"{unsecured}.OAuthBearerUnsecuredValidatorCallbackHandler",
        f"{ON_LISTENER}.oauthbearer.connections.max.reauth.ms=60000",
    ), tuple(
        part for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for part in ("--add-scram", f'{mechanism}=[name=alice,password="{PASSWORD}"]')
    ))


@contextmanager
def _redis(supervisor, home, ca, server):
    """The URL of a redis-server that `bob` may use and nobody else. One built without TLS has it put before it."""
    certificate, key = server
    port, folder = free_port(), home / "redis"
    folder.mkdir()
    (folder / "users.acl").write_text(f"user default off\nuser bob on >{REDIS_PASSWORD} ~* &* +@all\n")
    program = next((p for p in (shutil.which("redis-server"), redis_server()) if p and _has_tls(p, folder)), None)
    (home / "redis.password").write_text(REDIS_PASSWORD.replace(" ", "_") + "\n")
    plain = free_port() if program is None else 0
    lines = ["bind 127.0.0.1", f"port {plain}", 'save ""', f"dir {folder}", f"aclfile {folder / 'users.acl'}"]
    if program:
        lines += [f"tls-port {port}", f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {ca}",
                  "tls-auth-clients no"]
    (folder / "redis.conf").write_text("\n".join(lines) + "\n")
    child = supervisor.start("redis", [program or redis_server(), str(folder / "redis.conf")])
    supervisor.wait_ready(child, 30, lambda: listens(plain or port))
    if program:
        yield f"rediss://127.0.0.1:{port}/0"
    else:
        with tls_before(plain, certificate, key) as port:
            yield f"rediss://127.0.0.1:{port}/0"


def _has_tls(program, folder):
    """Whether a redis-server was built with TLS: without, it does not know the setting."""
    asked = [program, "--port", "0", "--tls-port", "0", "--bogus-setting", "x"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=30, cwd=folder)
    return "tls-port" not in said.stdout + said.stderr


@contextmanager
def tls_before(port, certificate, key):
    """A port that speaks TLS and passes what it hears to `port` of this machine, as stunnel does."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    loop, opened = asyncio.new_event_loop(), free_port()

    async def serve(reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer), return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", opened, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield opened
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _pass(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
