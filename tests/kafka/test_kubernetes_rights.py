"""The rights of the KafkaUsers that are rendered, on Apache Kafka: every role does its work with them, and no more."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("confluent_kafka")

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition, admin

from headrace import Headrace
from infra import announce, heads
from infra.kubernetes import kafka as rendered
from infra.kubernetes import rights
from infra.kubernetes.fleet import Fleet, user_name
from infra.kubernetes.text import document
from infra.stack import kafka
from infra.stack.embedded import start_redis
from infra.stack.supervise import Supervisor
from infra.training.fit import Recipe
from tests import certificates
from tests.small import example, small_encoder
from topology.addresses import load_running
from topology.errors import HeadraceError, UnknownTenant
from topology.stream.kafka import Producer, TopicReader
from topology.stream.records import Output

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
    pytest.mark.skipif(not certificates.AVAILABLE, reason="left out: there is no openssl to make certificates"),
]
# As in a pod: relative paths are of the folder where the file lies, and there each role has its own certificate.
CONFIG = """
state_dir = "state"
[broker]
kind = "external"
bootstrap = "{bootstrap}"
[broker.tls]
ca = "kafka-ca/ca.crt"
certificate = "kafka/user.crt"
key = "kafka/user.key"
[redis]
kind = "external"
url = "{redis}"
[heads]
store = "{store}"
[limits]
max_chars = 200
max_tokens = 40
[insights]
enabled = true
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
precision = "float32"
partitions = 2
[rings.en.cells.a]
partitions = 2
"""
ADMIN = "headrace-cluster-admin"  # Strimzi's operators, which make users and their rights


class Cluster:
    """Kafka with an authorizer, Redis, and a folder for each role with headrace.toml and its certificate."""

    def __init__(self, home):
        self.home, self.supervisor = home, Supervisor(home / "servers")
        self.ca = certificates.authority(home)

    def start(self):
        certificate, key = certificates.signed(self.ca, "server")
        chain = self.home / "kafka.chain.pem"
        chain.write_text(key.read_text() + certificate.read_text())
        self.bootstrap = kafka.start_brokers(self.supervisor, self.home / "servers", 1, kafka.Listener("SSL", (
            "ssl.keystore.type=PEM", f"ssl.keystore.location={chain}", "ssl.truststore.type=PEM",
            f"ssl.truststore.location={self.ca}", "listener.name.ssl.ssl.client.auth=required",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            f"super.users=User:ANONYMOUS;User:CN={ADMIN}",  # brokers among themselves have no certificates here
        )))
        self.redis = start_redis(self.supervisor, self.home / "servers", "embedded")
        self.toml = CONFIG.format(bootstrap=self.bootstrap, redis=self.redis, store=self.home / "heads",
                                  encoder=small_encoder(self.home / "encoder"))
        self.fleet = Fleet(self.toml)

    def config(self, user):
        """The headrace.toml of a user."""
        folder = self.home / user
        if not folder.exists():
            certificate, key = certificates.signed(self.ca, user)
            files = {"kafka/user.crt": certificate, "kafka/user.key": key, "kafka-ca/ca.crt": self.ca}
            for name, source in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(source.read_text())
            (folder / "headrace.toml").write_text(self.toml)
        return folder / "headrace.toml"

    def admin(self, user=ADMIN):
        folder = self.config(user).parent
        return admin.AdminClient({
            "bootstrap.servers": self.bootstrap, "security.protocol": "ssl",
            "ssl.ca.location": str(folder / "kafka-ca/ca.crt"),
            "ssl.certificate.location": str(folder / "kafka/user.crt"),
            "ssl.key.location": str(folder / "kafka/user.key"),
        })

    def grant(self):
        """What Strimzi makes of the KafkaUsers, as they are written to the file."""
        given = [*rendered.role_users(self.fleet),
                 rendered.user(user_name("keda"), rights.keda(self.fleet.settings))]
        found = [binding for one in yaml.safe_load_all(document(given, "")) for binding in bindings(one)]
        client = self.admin()  # kept while it is waited for
        for done in client.create_acls(found).values():
            done.result(timeout=30)

    def command(self, user, *args):
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", "--config", str(self.config(user)), *args], capture_output=True,
            text=True, timeout=360, cwd=Path(__file__).parents[2], env={**os.environ, "HEADRACE_INSTANCE": ""},
        )


def bindings(user):
    """A KafkaUser as ACLs."""
    for acl in user["spec"]["authorization"]["acls"]:
        of = acl["resource"]
        pattern = {"literal": admin.ResourcePatternType.LITERAL, "prefix": admin.ResourcePatternType.PREFIXED}
        for operation in acl["operations"]:
            name = "".join(f"_{letter}" if letter.isupper() else letter for letter in operation)[1:].upper()
            yield admin.AclBinding(
                admin.ResourceType[of["type"].upper()], of["name"], pattern[of["patternType"]],
                f"User:CN={user['metadata']['name']}", "*", admin.AclOperation[name], admin.AclPermissionType.ALLOW,
            )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.start()
        found.grant()
        done = found.command("headrace-operator", "topics", "apply")
        assert done.returncode == 0, done
        publish(found)
        for name, user, command in (
            ("encoder", "headrace-encoder-en", ["encoder_worker", "--ring", "en"]),
            ("head", "headrace-head-en", ["head_worker", "--ring", "en", "--cell", "a"]),
            ("insights", "headrace-insights-en", ["infra.insights", "--ring", "en"]),
        ):
            child = found.supervisor.start(name, [
                sys.executable, "-m", command[0], "--config", str(found.config(user)), *command[1:]])
            found.supervisor.wait_ready(child, 120)
        yield found
    finally:
        found.supervisor.stop()


def publish(cluster):
    """Train a head and announce it, as the operator."""
    settings = load_running(cluster.config("headrace-operator"))
    out = cluster.home / "acme"
    embedder = heads.Embedder(settings, settings.rings["en"])
    heads.train(embedder, "acme", [example(i) for i in range(80)], None, out, Recipe(epochs=15))
    asyncio.run(announce.publish(settings, out))


async def test_a_service_submits_and_is_answered(cluster):
    async with Headrace(cluster.config("headrace-client")) as client, asyncio.timeout(60):
        while True:
            try:
                reply = await client.predict("acme", example(0).text, lang="en", deadline=60)
                break
            except UnknownTenant:
                await asyncio.sleep(0.2)
    assert reply.intent == example(0).intent


async def test_what_cannot_be_read_reaches_the_dead_letters_of_both_tiers(cluster):
    settings = load_running(cluster.config("headrace-operator"))
    producer = Producer(settings.broker)
    await producer.start()
    try:
        for topic in ("headrace.en.utterances", "headrace.en.a.embeddings"):
            assert not await producer.send([Output(topic, b"key", b"no record")])
    finally:
        await producer.stop()
    until_s = time.monotonic() + 120
    while len(cluster.command("headrace-operator", "dead-letters", "list").stdout.splitlines()) < 2:
        assert time.monotonic() < until_s


def test_the_scaler_sees_every_group_and_kedas_scaler_its_offsets(cluster):
    done = cluster.command("headrace-scaler", "lag", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    groups = {one["group"]: one for one in json.loads(done.stdout)["groups"]}
    assert len(groups) == 4 and all(len(one["partitions"]) == 2 for one in groups.values())
    assert groups["headrace.en.a.head"]["members"] == 1
    keda = cluster.admin("headrace-keda")
    for group, topic in (("headrace.en.encoder", "headrace.en.utterances"),
                         ("headrace.en.a.head", "headrace.en.a.embeddings")):
        place = TopicPartition(topic, 0)
        keda.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [place])])[group].result(timeout=30)
        keda.list_offsets({place: admin.OffsetSpec.latest()})[place].result(timeout=30)


def test_a_backfill_replays_to_its_lane(cluster):
    # Its processes run only when a processor is idle (SCHED_IDLE): on a busy machine that takes a while.
    done = cluster.command("headrace-backfill", "backfill", "run", "--id", "all", "--workers", "1", "--ignore-live")
    assert done.returncode == 0, done
    done = cluster.command("headrace-scaler", "backfill", "list")  # who looks at replays needs no right to write
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith("all\tdone")


def test_insights_count_and_an_operator_sees_all(cluster):
    done = cluster.command("headrace-operator", "status")
    assert "acme" not in done.stderr and "refused" not in done.stdout, done
    assert cluster.command("headrace-operator", "usage", "--from", "1h").returncode == 0
    child = next(one for one in cluster.supervisor.children if one.name == "insights")
    assert child.process.poll() is None and child.restarts == 0


@pytest.mark.parametrize("user,reads,writes", [
    ("headrace-client", "headrace.en.a.predictions", "headrace.heads"),
    ("headrace-encoder-en", "headrace.en.a.predictions", "headrace.heads"),
    ("headrace-head-en", "headrace.dead-letters", "headrace.en.utterances"),
    ("headrace-scaler", "headrace.en.a.predictions", "headrace.en.utterances"),
    ("headrace-insights-en", "headrace.en.utterances", "headrace.en.a.predictions"),
    ("headrace-backfill", "headrace.dead-letters", "headrace.en.a.predictions"),
])
async def test_nobody_does_what_is_another_roles(cluster, user, reads, writes):
    broker = load_running(cluster.config(user)).broker
    reader, producer = TopicReader(broker, reads), Producer(broker)
    with pytest.raises(HeadraceError):
        await reader.start()
        await reader.read_to_end()
    await reader.stop()
    try:
        with pytest.raises(HeadraceError):
            refused = await producer.send([Output(writes, b"key", b"value")])
            raise next(iter(refused.values())) if refused else AssertionError(f"{user} wrote to {writes}")
    finally:
        await producer.stop()
