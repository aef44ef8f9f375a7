"""The Kafka of compose.yaml, with its own settings, and the topics of its headrace.toml."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra.stack import kafka
from infra.stack.embedded import free_port, listens
from infra.stack.supervise import Supervisor

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]


def properties(environment, folder, ports):
    """server.properties as the image makes it: KAFKA_A_B is a.b."""
    told = "\n".join(f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}"
                     for name, value in environment.items() if name != "KAFKA_HEAP_OPTS")
    for old, new in ports.items():
        told = told.replace(f":{old}", f":{new}")
    return told.replace("//kafka:", "//127.0.0.1:").replace("/var/lib/kafka/data", str(folder / "data"))


def test_the_broker_starts_and_its_topics_are_as_wanted_however_often_they_are_applied(tmp_path):
    ports = {port: free_port() for port in (29092, 9092, 9093)}
    environment = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["kafka"]["environment"]
    file = tmp_path / "server.properties"
    file.write_text(properties(environment, tmp_path, ports))
    java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{kafka.jars() / 'jars'}/*"]
    format_ = [*java, "kafka.tools.StorageTool", "format", "-t", kafka.cluster_id(), "-c", str(file)]
    subprocess.run(format_, check=True, capture_output=True, timeout=60)
    supervisor = Supervisor(tmp_path)
    try:
        child = supervisor.start("kafka", [*java, "kafka.Kafka", str(file)])
        supervisor.wait_ready(child, kafka.START_S, lambda: all(listens(port) for port in ports.values()))
        text = (ROOT / "infra" / "docker" / "headrace.toml").read_text()
        for listener in (9092, 29092):
            config = tmp_path / "headrace.toml"
            config.write_text(text.replace("kafka:9092", f"127.0.0.1:{ports[listener]}")
                              .replace("/var/lib/headrace", str(tmp_path / "state")))
            command = [sys.executable, "-m", "infra.cli", "--config", str(config), "topics", "apply"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100,
                                  env={**os.environ, "REDIS_PASSWORD": "x"})
            told = dict(line.split("\t") for line in done.stdout.splitlines())
            assert done.returncode == 0, done.stdout + done.stderr
            assert set(told.values()) == {"created" if listener == 9092 else "as wanted"}
    finally:
        supervisor.stop()
