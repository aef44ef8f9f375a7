"""`headrace render kubernetes`: what it refuses and how it says so, how things are named, and what it writes over."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.cli.main import main
from infra.kubernetes import redis, sizes, tree
from infra.kubernetes.check import advice, check
from infra.kubernetes.fleet import Fleet, resource_name
from infra.kubernetes.folder import LIST, write
from infra.kubernetes.text import Noted, document
from topology.errors import Misconfigured

TOML = Path(tree.__file__).with_name("example.toml").read_text()
FOREIGN = """
state_dir = "/var/lib/headrace"
[broker]
kind = "external"
bootstrap = "kafka-1.example.com:9094,kafka-2.example.com:9095"
[broker.tls]
ca = "broker-ca/ca.crt"
[broker.sasl]
mechanism = "SCRAM-SHA-512"
user = "headrace"
password = "env:KAFKA_PASSWORD"
[redis]
kind = "external"
url = "rediss://redis.example.com:6380/0"
password = "file:/etc/headrace/redis/password"
[heads]
store = "s3://bucket/heads"
[rings.en]
languages = ["en"]
encoder = "minilm-l6"
"""


def changed(old, new):
    assert old in TOML
    return Fleet(TOML.replace(old, new))


@pytest.mark.parametrize("old,new,told", [
    (TOML[TOML.index("[broker]"):TOML.index("[redis]")], "", 'broker.kind: "embedded" is of one machine: set kind = '
     '"external", and bootstrap = "headrace-kafka-bootstrap:9093"'),
    ('state_dir = "/var/lib/headrace"', 'state_dir = "state"', 'state_dir: .* set state_dir = "/var/lib/headrace"'),
    ('"s3://example-bucket/heads"', '"/srv/heads"', "heads.store: pods share no directory: set a URL such as"),
    ("[insights]", '[insights]\nexport = "out"', "insights.export: .* set a URL"),
    ('encoder = "mpnet-6"', 'encoder = "sentence-transformers/x"', "rings.en.encoder: .* a prepared name"),
    ('ca = "/etc/headrace/kafka-ca/ca.crt"', 'ca = "/run/ca.crt"', r'broker.tls.ca: .*"/etc/headrace/kafka-ca/ca.crt"'),
    ('key = "/etc/headrace/kafka/user.key"\n', "", 'broker.tls.key: .* set key = "/etc/headrace/kafka/user.key"'),
    ("bootstrap:9093", "bootstrap:9092", "broker.bootstrap: .* listens at 9093"),
    ("[broker.tls]", '[broker.sasl]\nmechanism = "PLAIN"\nuser = "u"\npassword = "env:P"\n[broker.tls]',
     "broker.sasl: .* leave the table out"),
    ("min_insync_replicas = 2", "min_insync_replicas = 3", "topics.min_insync_replicas: 3 of 3: .* set one less"),
    ('password = "file:/etc/headrace/redis/password"\n', "", "redis.password: .* asks for one: set password ="),
    ('password = "file:/etc/headrace/redis/password"', 'password = "file:/etc/headrace/redis/password"\nuser = "bob"',
     "redis.user: .* leave it out"),
    ('"redis://headrace-redis', '"rediss://headrace-redis', "redis.url: .* speaks no TLS"),
])
def test_what_pods_could_not_run_is_refused_with_its_correction(old, new, told):
    with pytest.raises(Misconfigured) as refused:
        check(changed(old, new))
    assert re.search(told, str(refused.value)), refused.value


def test_every_mistake_is_told_at_once():
    fleet = Fleet(TOML.replace('"s3://example-bucket/heads"', '"heads"').replace('"/var/lib/headrace"', '"x"'),
                  namespace="A B", registry="https://x", tag="a b")
    with pytest.raises(Misconfigured) as refused:
        check(fleet)
    told = {line.partition(":")[0] for line in str(refused.value).splitlines()}
    assert {"state_dir", "heads.store", "--namespace", "--tag"} <= told


def test_kafka_and_redis_of_others_are_reached_and_not_rendered():
    fleet = Fleet(FOREIGN)
    check(fleet)
    files = tree.files(fleet, "1.0")
    assert not [path for path in files if "kafka/" in path.replace("keda-kafka", "") or "redis" in path]
    policies = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(files["base/network.yaml"])}
    assert [p["port"] for p in policies["kafka"]["egress"][0]["ports"]] == [9094, 9095]
    assert [p["port"] for p in policies["redis"]["egress"][0]["ports"]] == [6380]
    deployment = next(yaml.safe_load_all(files["base/encoder-en.yaml"]))["spec"]["template"]["spec"]
    secrets = {v["name"]: v["secret"]["secretName"] for v in deployment["volumes"] if "secret" in v}
    assert secrets == {"broker-ca": "headrace-broker-ca", "redis": "headrace-redis"}
    env = {one["name"]: one.get("valueFrom") for one in deployment["containers"][0]["env"]}
    assert env["KAFKA_PASSWORD"] == {"secretKeyRef": {"name": "headrace-env", "key": "KAFKA_PASSWORD"}}
    assert "headrace-env" in files["README.md"] and "jobs/topics.yaml" in files["README.md"]


def test_a_person_is_told_what_could_be_better():
    told = list(advice(Fleet(FOREIGN)))
    assert told[0].startswith("topics.replication: overlays/production is left out")
    assert any(line.startswith('rings.en.device: "auto"') for line in told)
    assert any(line.startswith("head/en/a: 1 of 3 zones") for line in told)
    assert not list(advice(Fleet(TOML)))


def test_no_two_workloads_share_a_name():
    names = ["a", "b", "a-b", "a_b", "-", "_", "a-", "b-c", "c", "backfill", "x" * 60, "x" * 59 + "y"]
    found = [resource_name("head", ring, cell) for ring in names for cell in names]
    found += [resource_name("encoder", ring) for ring in names]
    found += [f"{name}-backfill" for name in found]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) and len(name) <= 48 for name in found)
    assert resource_name("head", "en", "a") == "head-en-a"


def test_odd_names_of_rings_cells_and_prefixes_are_still_names_to_kubernetes():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    fleet = Fleet(f'prefix = "_Nlu.x"\n{TOML}'.replace("_Nlu", "_nlu").replace("rings.en", "rings.-en_gb-")
                  .replace("cells.a", "cells._"))
    check(fleet)
    for path, text in tree.files(fleet, "1.0").items():
        if path.endswith(".yaml") and "kustomization" not in path:
            for one in yaml.safe_load_all(text):
                assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
                                    one["metadata"]["name"]), path
                if path.startswith("base/"):
                    kubernetes_validate.validate(one, "1.37", strict=True)


def test_what_somebody_else_wrote_is_not_written_over(tmp_path):
    place = tmp_path / "k8s"
    assert write(place, {"a/b.yaml": "1\n", "c.yaml": "2\n"}) == [f"new\t{place}/a/b.yaml", f"new\t{place}/c.yaml"]
    assert write(place, {"a/b.yaml": "1\n", "d.yaml": "3\n"}) == [f"new\t{place}/d.yaml", f"removed\t{place}/c.yaml"]
    (place / "a" / "b.yaml").write_text("mine\n")
    (place / "notes").write_text("mine too\n")
    with pytest.raises(Misconfigured, match=r"a/b.yaml, notes; give another directory, or --force"):
        write(place, {"a/b.yaml": "4\n"})
    assert (place / "a" / "b.yaml").read_text() == "mine\n" and (place / "d.yaml").exists()
    write(place, {"a/b.yaml": "4\n"}, force=True)
    assert (place / "a" / "b.yaml").read_text() == "4\n" and (place / "notes").read_text() == "mine too\n"


def test_a_list_of_files_leads_nowhere_else(tmp_path):
    place, victim = tmp_path / "k8s", tmp_path / "victim"
    victim.write_text("kept\n")
    write(place, {"a.yaml": "1\n"})
    (place / LIST).write_text(json.dumps({"../victim": "0", str(victim): "0", "a.yaml": json.loads(
        (place / LIST).read_text())["a.yaml"]}))
    write(place, {"b.yaml": "1\n"})
    assert victim.exists() and not (place / "a.yaml").exists()


def test_text_is_what_was_meant_whatever_it_is():
    odd = ["", "yes", "No", "null", "~", "1.0", "1e3", "0x1f", "12:30", "1_000", "a: b", "a#b", "- x", "--flag",
           "-m", "{x}", "[x]", "ä\u2028b😀", "a\nb", " a", "a\nb\n", "a\n b\n", "x\ny\n\n", "\ta\nb\n", "'", '"',
           "@", "%", "*a", "&a", "!a", "4Gi", "10m", "../../base", "a,b", "/etc/x", "2026-11-27", "=", "<<", "on"]
    meant = {"list": odd, "map": {one: one for one in odd}, "deep": [[], {}, [[{"a": [1, True, None, 1.5]}]]],
             "long": ["word" * 40, {"key": "value" * 40}]}
    assert yaml.safe_load(document([meant], "a header\nof two lines")) == meant
    assert yaml.safe_load(document([{"a": Noted("4Gi", "why"), "b": [{"c": Noted(3, "x")}]}], "")) == {
        "a": "4Gi", "b": [{"c": 3}]}


def test_redis_has_room_for_the_replies_that_it_keeps():
    settings = Fleet(TOML).settings
    per_s = (6 * sizes.ENCODER_PER_S + 3 * sizes.GPU_PER_S) * settings.autoscale.utilization
    assert sizes.redis_mb(settings) == round(256 + 2 * 64 + per_s * 300 * 1_300 / 1e6)
    assert f"maxmemory {sizes.redis_mb(settings)}mb" in redis.scripts(Fleet(TOML))["redis.sh"]


def test_the_scripts_of_redis_are_scripts():
    if not shutil.which("sh"):
        pytest.skip("left out: there is no sh")
    for name, text in redis.scripts(Fleet(TOML)).items():
        if name.endswith(".sh"):
            done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, timeout=30)
            assert done.returncode == 0, (name, done.stderr)


def test_haproxy_takes_its_configuration(tmp_path):
    if not shutil.which("haproxy"):
        pytest.skip("left out: haproxy is not on this machine")
    (tmp_path / "haproxy.cfg").write_text(redis.scripts(Fleet(TOML))["haproxy.cfg"])
    done = subprocess.run(["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "REDIS_PASSWORD": "x"})
    assert done.returncode == 0, done.stderr


def test_the_command_says_what_it_wrote_and_what_is_next(tmp_path, capsys):
    config, place = tmp_path / "headrace.toml", tmp_path / "k8s"
    config.write_text(TOML)
    command = ["--config", str(config), "render", "kubernetes", str(place), "--tag", "7"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert f"new\t{place}/base/encoder-en.yaml" in out and f"next: {place}/README.md" in out
    assert main(command) == 0
    assert "0 of them new, changed or removed" in capsys.readouterr().out
    config.write_text(TOML.replace("workers = 6", "workers = 5"))
    assert main(command) == 0
    assert f"changed\t{place}/base/encoder-en.yaml" in capsys.readouterr().out
    config.write_text(TOML.replace('kind = "external"', 'kind = "local"'))
    assert main(command) == 2
    assert main(["--config", str(tmp_path / "none.toml"), "render", "kubernetes", str(place)]) == 2
    assert "none.toml: cannot be read" in capsys.readouterr().err
