"""A local Apache Kafka in KRaft mode: jars by Maven, Java 17, one or three brokers on free ports of 127.0.0.1."""

from __future__ import annotations

import base64
import fcntl
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.stack.embedded import free_port, listens
from infra.stack.supervise import Supervisor, die_with_parent
from topology.encoders import cache_dir
from topology.errors import Misconfigured

VERSION = "4.3.1"
START_S = 60.0
FETCH_S = 900
REPLICA_WAIT_MS = 10  # a replica hears so late, at most, what its readers may have: Kafka's 500 made p50 127 ms of 11
NEAREST = "org.apache.kafka.common.replica.RackAwareReplicaSelector"  # fetches go to a replica of the client's rack

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>headrace</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""


@dataclass(frozen=True)
class Listener:
    """How clients reach a broker: its security protocol, the lines of server.properties that it needs, and arguments to
    Kafka's format tool (`--add-scram`, …)."""

    protocol: str = "PLAINTEXT"
    properties: tuple[str, ...] = ()
    format: tuple[str, ...] = ()


def available() -> bool:
    """Whether this machine has Java and Maven."""
    return bool(shutil.which("java") and (shutil.which("mvn") or (jars_dir() / "complete").exists()))


def jars_dir() -> Path:
    """Where Kafka's jars are kept."""
    return cache_dir() / f"kafka-{VERSION}"


def jars(say: Callable[[str], None] = print) -> Path:
    """The directory of Kafka's jars, fetched once. Raises: Misconfigured."""
    if not available():
        raise Misconfigured('kind = "kafka" needs Java 17 and Maven on the PATH; or use "embedded" or "external"')
    return fetched(jars_dir(), POM, f"Apache Kafka {VERSION} (100 MB)", say)


def fetched(folder: Path, pom: str, what: str, say: Callable[[str], None] = print) -> Path:
    """`folder`, with everything that a pom depends on under `jars`, fetched by Maven once. Raises: Misconfigured."""
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _fetch(folder, pom, what, say)
    return folder


def _fetch(folder: Path, pom: str, what: str, say: Callable[[str], None]) -> None:
    say(f"fetching {what} by Maven")
    (folder / "pom.xml").write_text(pom)
    command = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={folder / 'jars'}"], capture_output=True, text=True, timeout=FETCH_S,
        preexec_fn=die_with_parent(),  # else it goes on without the lock
    )
    if done.returncode:
        raise Misconfigured(f"Maven did not fetch {what}:\n{done.stdout[-2000:]}{done.stderr[-500:]}")
    (folder / "complete").touch()


def cluster_id() -> str:
    """A random id as Kafka writes them: base64url, and not beginning with `-`, which its tools take for an option."""
    found = "-"
    while found.startswith("-"):
        found = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return found


def start_brokers(
    supervisor: Supervisor, state: Path, count: int, listener: Listener = Listener(), racks: Sequence[str] = ()
) -> str:
    """Format and start `count` combined broker-controllers. Returns the bootstrap addresses.

    `racks`: the zones that they stand in, in turn; then who reads may read from the replica of its own zone.
    """
    classpath = f"{jars() / 'jars'}/*"
    ports = [(free_port(), free_port()) for _ in range(count)]
    voters = ",".join(f"{i + 1}@127.0.0.1:{controller}" for i, (_, controller) in enumerate(ports))
    heap = "-Xmx512m" if count == 1 else "-Xmx256m"  # of several, which share a machine
    java = ["java", heap, "-XX:+UseSerialGC", "-cp", classpath]  # one machine: no threads beside to collect
    cluster = _cluster_in(state, count)
    children = []
    for number, (port, controller) in enumerate(ports, 1):
        folder = state / f"kafka-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "server.properties"
        lines = _properties(number, port, controller, voters, folder, count, listener)
        if racks:
            lines += [f"broker.rack={racks[(number - 1) % len(racks)]}", f"replica.selector.class={NEAREST}",
                      f"replica.fetch.wait.max.ms={REPLICA_WAIT_MS}"]
        properties.write_text("\n".join([*lines, ""]))
        _format([*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), *listener.format],
                folder)
        child = supervisor.start(f"kafka-{number}", [*java, "kafka.Kafka", str(properties)])
        # What it wrote stays: the system has it. Asked to end, the last two of three wait 15 s for a controller.
        child.stop_signal = signal.SIGKILL
        children.append((child, port))
    for child, port in children:
        supervisor.wait_ready(child, START_S, lambda port=port: listens(port))  # type: ignore[misc]
    return ",".join(f"127.0.0.1:{port}" for port, _ in ports)


def _cluster_in(state: Path, count: int) -> str:
    """The id of the cluster whose data lie there; a new one, and no data, where there is none of so many brokers."""
    note = state / "kafka-cluster"
    told = note.read_text().split() if note.is_file() else []
    if len(told) == 2 and told[1] == str(count) and all(_formatted(state / f"kafka-{n + 1}") for n in range(count)):
        return told[0]
    for folder in state.glob("kafka-[0-9]*"):
        shutil.rmtree(folder, ignore_errors=True)
    state.mkdir(parents=True, exist_ok=True)
    found = cluster_id()
    note.write_text(f"{found} {count}")
    return found


def _formatted(folder: Path) -> bool:
    return (folder / "data" / "meta.properties").is_file()


def _format(command: list[str], folder: Path) -> None:
    """Raises: Misconfigured."""
    if _formatted(folder):
        return
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, preexec_fn=die_with_parent())
    if done.returncode:
        raise Misconfigured(f"Kafka's storage was not formatted:\n{done.stdout}{done.stderr}")


def _properties(
    number: int, port: int, controller: int, voters: str, folder: Path, count: int, listener: Listener
) -> list[str]:
    replicas, protocol, beside = min(3, count), listener.protocol, ""
    if protocol != "PLAINTEXT":  # brokers among themselves need no certificates on one machine
        beside = f",INTERNAL://127.0.0.1:{free_port()}"
    return [
        "process.roles=broker,controller", f"node.id={number}", f"controller.quorum.voters={voters}",
        f"listeners={protocol}://127.0.0.1:{port}{beside},CONTROLLER://127.0.0.1:{controller}",
        f"advertised.listeners={protocol}://127.0.0.1:{port}{beside}", "controller.listener.names=CONTROLLER",
        f"inter.broker.listener.name={'INTERNAL' if beside else protocol}",
        f"listener.security.protocol.map={protocol}:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        f"log.dirs={folder / 'data'}",
        f"offsets.topic.replication.factor={replicas}", f"transaction.state.log.replication.factor={replicas}",
        f"transaction.state.log.min.isr={min(2, replicas)}", "offsets.topic.num.partitions=4",
        "group.initial.rebalance.delay.ms=0", "auto.create.topics.enable=false", *listener.properties,
    ]
