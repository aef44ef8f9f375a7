"""What a configuration says that cannot be meant."""

from pathlib import Path

import pytest

from topology.errors import Misconfigured
from topology.settings import doubted, parse

RING = '[rings.en]\nlanguages = ["en"]\nencoder = "x"\nworkers = {}\n[rings.en.cells.a]\nworkers = {}\n'


def test_more_workers_than_partitions_are_a_mistake_that_names_its_line_and_the_correction():
    with pytest.raises(Misconfigured, match=r"toml:4: rings.en.workers: .*partitions = 8") as found:
        parse(RING.format(8, 5))
    assert "toml:6: rings.en.cells.a.workers" in str(found.value)


def test_a_worker_for_each_partition_is_none():
    assert parse(RING.format(4, 4)).rings["en"].workers == 4


PLAIN = '[rings.en]\nlanguages = ["en"]\nencoder = "nosuch-encoder"\n'
CELL = "[rings.en.cells.a]\n"


@pytest.mark.parametrize("text, line, words", [
    (PLAIN.replace('["en"]', '["en", "en"]') + CELL, 2, "more than once"),
    (PLAIN + "[rings.en.cells]\n", 4, "needs a cell"),
    ('[broker]\nbootstrap = "kafka:9092"\n' + PLAIN + CELL, 2, 'add kind = "external"'),
    (PLAIN + "partitions = 1000000\n" + CELL, 4, "at most 10,000"),
    (PLAIN + CELL + "partitions = 1000000\n", 5, "at most 10,000"),
])
def test_what_a_file_cannot_mean_is_named_with_its_line(text, line, words):
    with pytest.raises(Misconfigured) as told:
        parse(text, "file")
    assert f"file:{line}: " in str(told.value) and words in str(told.value) and "\n" not in str(told.value)


def test_a_default_may_be_written_down():
    assert parse(PLAIN + "threads = 0\n" + CELL).rings["en"].threads == 0


@pytest.mark.parametrize("text, told", [
    (PLAIN + CELL, ["file:3: rings.en.encoder"]),
    (PLAIN, ["file:1: rings.en: no cell", "file:3: rings.en.encoder"]),
    ("[topics]\nreplication = 3\n" + PLAIN + CELL, ["file:2: topics.replication: 3", "file:5: rings.en.encoder"]),
])
def test_what_a_file_hardly_means_is_told_with_its_line(tmp_path, monkeypatch, text, told):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text(text)
    found = doubted(parse(text, "file"), "file")
    assert [line[: len(begin)] for line, begin in zip(found, told, strict=True)] == told
