"""What a configuration says that cannot be meant."""

import pytest

from topology.errors import Misconfigured
from topology.settings import parse

RING = '[rings.en]\nlanguages = ["en"]\nencoder = "x"\nworkers = {}\n[rings.en.cells.a]\nworkers = {}\n'


def test_more_workers_than_partitions_are_a_mistake_that_names_its_line_and_the_correction():
    with pytest.raises(Misconfigured, match=r"toml:4: rings.en.workers: .*partitions = 8") as found:
        parse(RING.format(8, 5))
    assert "toml:6: rings.en.cells.a.workers" in str(found.value)


def test_a_worker_for_each_partition_is_none():
    assert parse(RING.format(4, 4)).rings["en"].workers == 4
