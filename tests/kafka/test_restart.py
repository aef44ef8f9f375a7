"""Apache Kafka under `headrace up` keeps its data from one start to the next."""

import pytest

pytest.importorskip("torch")

from headrace import SyncHeadrace
from infra import kept
from infra.stack import kafka
from infra.stack.up import stack
from tests.built import needs_redis
from tests.small import example, small_stack

pytestmark = [
    pytest.mark.kafka, needs_redis, pytest.mark.timeout(600),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]


def test_a_stack_on_kafka_comes_back_with_its_topics_and_heads(tmp_path):
    said = []
    with small_stack(tmp_path, kind="kafka") as (settings, _, _), SyncHeadrace(settings) as client:
        before = client.predict("acme", example(0).text, lang="en", deadline=60)
    with stack(tmp_path / "headrace.toml", said.append) as (settings, _), SyncHeadrace(settings) as client:
        after = client.predict("acme", example(0).text, lang="en", deadline=60)
        assert (after.head_version, after.intent) == (before.head_version, before.intent)
    assert any("topics: 0 created" in line for line in said), said


def test_a_start_that_is_killed_between_its_topics_and_its_heads_forgets_no_head(tmp_path, monkeypatch):
    said = []
    with small_stack(tmp_path, kind="kafka") as (settings, _, _), SyncHeadrace(settings) as client:
        before = client.predict("acme", example(0).text, lang="en", deadline=60)
    (tmp_path / "state" / "kafka-cluster").unlink()  # the cluster is made anew, as for another number of brokers

    def killed(settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(kept, "restore", killed)
        with stack(tmp_path / "headrace.toml", said.append):
            pass
    with stack(tmp_path / "headrace.toml", said.append) as (settings, _), SyncHeadrace(settings) as client:
        assert client.predict("acme", example(0).text, lang="en", deadline=60).head_version == before.head_version
    assert [line for line in said if "announced again" in line] == ["announced again: 1 head or placement of before"]
