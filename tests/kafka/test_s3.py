"""Heads and files of backfills in an S3 bucket: S3Proxy, a real server of the protocol, in front of a directory."""

import json
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("s3fs")

from head_worker.load import load_head
from head_worker.store import open_store
from headrace import SyncHeadrace
from infra.backfill.files.source import FileSource
from infra.backfill.job import Asked, Part, Span
from infra.backfill.parquet import ParquetTarget, write_refused
from infra.backfill.source import END_OF_FILE
from infra.stack import kafka
from infra.stack.embedded import free_port, listens
from infra.stack.supervise import Supervisor
from tests.rows import row
from tests.small import example, small_stack
from topology import wire
from topology.encoders import cache_dir
from topology.errors import BadHead, Misconfigured, Unavailable
from topology.settings import Heads, Ring, Settings

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
VERSION = "2.6.0"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>headrace</groupId><artifactId>s3</artifactId><version>1</version><dependencies>
<dependency><groupId>org.gaul</groupId><artifactId>s3proxy</artifactId><version>{VERSION}</version></dependency>
</dependencies></project>
"""
KEY, SECRET = "headrace", "a secret of this test"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The URL of an empty bucket; the environment says where it is and who asks, as boto's users know it."""
    home, port = tmp_path_factory.mktemp("s3"), free_port()
    (home / "data" / "tenants").mkdir(parents=True)
    (home / "s3proxy.conf").write_text("\n".join([
        f"s3proxy.endpoint=http://127.0.0.1:{port}", "s3proxy.authorization=aws-v2-or-v4",
        f"s3proxy.identity={KEY}", f"s3proxy.credential={SECRET}", "jclouds.provider=filesystem",
        f"jclouds.filesystem.basedir={home / 'data'}",
    ]))
    jars = kafka.fetched(cache_dir() / f"s3proxy-{VERSION}", POM, f"S3Proxy {VERSION} (43 MB)") / "jars"
    supervisor, patch = Supervisor(home), pytest.MonkeyPatch()
    try:
        child = supervisor.start("s3proxy", [
            "java", "-Xmx128m", "-DLOG_LEVEL=warn", "-cp", f"{jars}/*", "org.gaul.s3proxy.Main",
            "--properties", str(home / "s3proxy.conf"),
        ])
        supervisor.wait_ready(child, 30, lambda: listens(port))
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield "s3://tenants/heads"
    finally:
        patch.undo()
        supervisor.stop()


@pytest.fixture(scope="module")
def running(bucket, tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), store=bucket) as parts:
        yield parts


def headrace(settings, *args):
    config = f"{settings.state_dir}/../headrace.toml"
    command = [sys.executable, "-m", "infra.cli", "--config", config, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def answering(client):
    return client.predict("acme", example(0).text, lang="en", deadline=30).head_version


def test_heads_are_published_served_rolled_back_and_deleted_from_a_bucket(running, bucket, tmp_path):
    settings, _, out = running
    body = json.loads((out / "head.json").read_text())
    (tmp_path / "head.safetensors").write_bytes((out / "head.safetensors").read_bytes())
    (tmp_path / "head.json").write_text(json.dumps({**body, "version": "zz"}))
    with SyncHeadrace(settings) as client:
        for act, wanted in ((("publish", str(tmp_path)), "zz"), (("rollback", "acme"), body["version"])):
            done = headrace(settings, "head", *act)
            assert done.returncode == 0, done.stderr
            end = time.monotonic() + 30
            while (seen := answering(client)) != wanted:
                assert time.monotonic() < end, seen
    listed = [line.split() for line in headrace(settings, "head", "list", "acme").stdout.splitlines()]
    assert listed == [[body["version"], "answers"], ["zz"]]
    assert headrace(settings, "head", "delete", "acme", "--yes").returncode == 0
    assert open_store(Heads(store=bucket), tmp_path / "fresh").versions("en", "acme") == []


def test_a_head_that_is_cut_short_in_the_bucket_is_refused_by_name(running, bucket, tmp_path):
    _, _, out = running
    store = open_store(Heads(store=bucket), tmp_path / "one")
    manifest = store.put(out)
    store._files.pipe_file(
        store._at("en", "acme", manifest.version, "head.safetensors"), (out / "head.safetensors").read_bytes()[:-9]
    )
    with pytest.raises(BadHead, match="sha256"):
        load_head(open_store(Heads(store=bucket), tmp_path / "two").folder("en", "acme", manifest.version))


@pytest.mark.parametrize("change", [
    {"AWS_SECRET_ACCESS_KEY": "another"}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"},
])
def test_a_bucket_that_does_not_answer_is_a_named_error(bucket, tmp_path, monkeypatch, change):
    import s3fs

    for name, value in change.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    store = open_store(Heads(store=bucket), tmp_path / "one")
    asks = (
        lambda: store.folder("en", "acme", "v"), lambda: store.manifest("en", "acme", "v"),
        lambda: store.versions("en", "acme"),
    )
    for ask in asks:
        with pytest.raises(Unavailable, match="tenants/heads/en/acme"):
            ask()
    s3fs.S3FileSystem.clear_instance_cache()


def utterances(records):
    return [wire.decode(wire.Utterance, record.value) for record in records]


async def test_a_backfill_writes_parquet_to_a_bucket_and_reads_it_and_json_lines_from_there(bucket):
    pytest.importorskip("pyarrow")
    import s3fs  # here: an extra

    s3fs.S3FileSystem.clear_instance_cache()
    place = bucket.replace("/heads", "/backfill")
    span, part = Span("headrace.utterances.en", 3, 0, 200), Part(0, 200)
    rows = [row(offset) for offset in range(200)]
    target = ParquetTarget(f"{place}/out", "job-1")
    await target.start()
    for _ in range(2):  # a rerun writes the same
        await target.write(span, part, rows)
        await target.finish(span, part)
    await write_refused(f"{place}/out", span, part, [{"text": one["text"], "tenant": "acme"} for one in rows])
    for pattern, count in (("out/headrace*/**/*.parquet", 200), ("out/_refused/**/*.jsonl", 200)):
        asked = Asked("en", f"{place}/{pattern}")
        source = FileSource(Settings(), Ring("en", ("en",)), asked)
        (found,) = await source.spans(asked)
        assert found.source.startswith(place) and len(found.identity.split(", ")) == 3
        await source.seek(found, 5)
        taken = await source.take(1_000)
        assert taken.position == END_OF_FILE
        assert [one.text for one in utterances(taken.records)] == [one["text"] for one in rows[5:count]]
        await source.stop()
    await target.finish(span, part)  # without rows the file goes
    await write_refused(f"{place}/out", span, part, [])
    with pytest.raises(Misconfigured, match="no file is there"):
        await FileSource(Settings(), Ring("en", ("en",)), asked).spans(Asked("en", f"{place}/out"))


@pytest.mark.parametrize(("change", "error"), [
    ({"AWS_SECRET_ACCESS_KEY": "another"}, Misconfigured),
    ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}, Unavailable),
])
async def test_a_bucket_that_refuses_or_does_not_answer_is_told_apart_by_a_backfill(bucket, monkeypatch, change, error):
    pytest.importorskip("pyarrow")
    import s3fs  # here: an extra

    for name, value in change.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    asked = Asked("en", f"{bucket}/a.csv")
    with pytest.raises(error, match=bucket):
        await ParquetTarget(bucket, "job-1").start()
    with pytest.raises(error, match=bucket):
        await FileSource(Settings(), Ring("en", ("en",)), asked).spans(asked)
    s3fs.S3FileSystem.clear_instance_cache()


async def test_a_bucket_that_is_not_there_is_a_wrong_setting(bucket):
    pytest.importorskip("pyarrow")
    with pytest.raises(Misconfigured, match="nowhere"):
        await ParquetTarget("s3://nowhere/out", "job-1").start()
