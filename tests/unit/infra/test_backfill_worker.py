"""What a replay makes of a head store that is away."""

import asyncio
from dataclasses import replace

import pytest

from infra.backfill.job import Span
from infra.backfill.worker import Score
from tests.unit.head_worker.test_cache import put
from tests.unit.head_worker.test_worker import SETTINGS, embedding
from topology.errors import Unavailable
from topology.stream.records import Record

SPAN = Span("embeddings", 0, 0, 1)


def rows_with(tmp_path, store):
    settings = replace(SETTINGS, state_dir=str(tmp_path / "state"), heads=replace(SETTINGS.heads, store=store))
    score = Score(settings, settings.rings["en"], [put(tmp_path / "heads", "acme")])
    return asyncio.run(score.rows(SPAN, [Record("embeddings", 0, 0, b"acme", embedding("one"))]))


def test_a_head_store_that_is_away_refuses_no_record_of_a_replay(tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    (row,) = rows_with(tmp_path, str(tmp_path / "heads"))
    assert not row["error"]
    with pytest.raises(Unavailable, match="acme"):
        rows_with(tmp_path / "away", "s3://bucket/heads")
