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


def test_a_stack_on_kafka_comes_back_with_its_topics_and_heads_also_where_a_start_was_killed(tmp_path, monkeypatch):
    def up():
        said = []
        with stack(tmp_path / "headrace.toml", said.append) as (settings, _), SyncHeadrace(settings) as client:
            after = client.predict("acme", example(0).text, lang="en", deadline=60)
            assert (after.head_version, after.intent) == (before.head_version, before.intent)
        return said

    def killed(settings):
        raise KeyboardInterrupt

    with small_stack(tmp_path, kind="kafka") as (settings, _, _), SyncHeadrace(settings) as client:
        before = client.predict("acme", example(0).text, lang="en", deadline=60)
    assert any("topics: 0 created" in line for line in up())
    (tmp_path / "state" / "kafka-cluster").unlink()  # the cluster is made anew, as for another number of brokers
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(kept, "restore", killed)  # its topics are there, its heads are not
        up()
    assert "announced again: 2 heads and placements of before" in up()
