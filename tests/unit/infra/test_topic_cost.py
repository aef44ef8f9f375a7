"""What topics cost: the arithmetic, over traffic that is passed in."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from infra.cli.config import _kept_embeddings
from infra.topic_cost import costs, kept_embeddings, reckoned, summed
from infra.zone_cost import crossings
from topology import topics
from topology.errors import Misconfigured
from topology.settings import parse
from topology.stream.records import Record
from topology.stream.traffic import Traffic, size_of

TOML = """
[topics]
replication = 3
retention_hours = 48
[rings.en]
languages = ["en"]
encoder = "none"
{hours}
[rings.en.cells.a]
weight = 3.0
[rings.en.cells.b]
[rings.fr]
languages = ["fr"]
encoder = "none"
"""
SETTINGS = parse(TOML.format(hours=""))


def by_topic(found):
    return {one.topic: one for one in found}


def test_a_topic_costs_its_rate_times_its_bytes_and_keeps_that_for_its_retention_and_replicas():
    name = topics.utterances("headrace", "en")
    one = by_topic(costs(SETTINGS, {name: Traffic(9, 9, 250.0, 40.0)}))[name]
    assert (one.measured, one.bytes_each, one.per_s, one.bytes_an_utterance) == (True, 250.0, 40.0, 250.0)
    assert one.gb_a_day == pytest.approx(40 * 250 * 86_400 / 1e9)
    assert one.kept_gb == pytest.approx(one.gb_a_day * 2 * 3)


def test_every_topic_that_is_asked_for_has_its_cost_and_sums_are_by_ring():
    found = costs(SETTINGS, {}, rate=100)
    assert sorted(one.topic for one in found) == sorted(spec.name for spec in topics.wanted(SETTINGS))
    sums = summed(found)
    assert list(sums) == ["en", "fr", ""]
    assert sums["en"].gb_a_day == pytest.approx(sum(one.gb_a_day for one in found if one.ring == "en"))
    assert sums["en"].bytes_an_utterance == pytest.approx(sum(reckoned(SETTINGS.rings["en"]).values()))
    assert (sums["en"].measured, sums[""].gb_a_day) == (False, 0.0)


def test_a_rate_is_shared_out_to_cells_by_weight_and_replays_have_none_of_it():
    found = by_topic(costs(SETTINGS, {}, rate=100))
    rates = [found[topics.embeddings("headrace", "en", cell)].per_s for cell in "ab"]
    assert rates == [75.0, 25.0]
    assert found[topics.embeddings("headrace", "en", "a", "backfill")].per_s == 0.0


def test_measured_records_an_utterance_count_and_not_the_cells_weights():
    traffic = {topics.utterances("headrace", "en"): Traffic(9, 9, 200.0, 10.0),
               topics.predictions("headrace", "en", "a"): Traffic(9, 9, 400.0, 9.0),
               topics.predictions("headrace", "en", "b"): Traffic(9, 9, 600.0, 1.0)}
    found = by_topic(costs(SETTINGS, traffic))
    assert found[topics.predictions("headrace", "en", "a")].bytes_an_utterance == pytest.approx(360)
    assert found[topics.predictions("headrace", "en", "b")].bytes_an_utterance == pytest.approx(60)


def test_a_compacted_topic_keeps_what_is_there():
    name = topics.heads("headrace")
    one = by_topic(costs(SETTINGS, {name: Traffic(1_000_000, 100, 300.0, 0.0)}))[name]
    assert (one.gb_a_day, one.kept_gb) == (0.0, pytest.approx(0.3 * 3))


def test_a_made_up_utterance_has_the_sizes_of_the_published_figures():
    sizes = reckoned(SETTINGS.rings["en"])
    assert 150 < sizes["utterances"] < 500 and 300 < sizes["predictions"] < 900
    assert 12_000 < sizes["embeddings"] < 13_000


@pytest.mark.parametrize(("key", "value", "headers"), [
    (b"key", b"v" * 100, (("name", b"ab"), ("ab", b"x" * 70))), (None, b"", ()), (b"k" * 64, b"v" * 20_000, ()),
])
def test_a_record_counts_as_many_bytes_as_a_batch_of_it_alone_has(key, value, headers):
    batch = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
    batch.append(0, 1_800_000_000_000, key, value, list(headers))
    assert size_of(Record("t", 0, 0, key, value, headers)) == len(batch.build())


def test_how_long_embeddings_are_kept_is_a_rings_own_and_the_lane_of_replays_keeps_an_hour():
    settings = parse(TOML.format(hours="embeddings_hours = 36.5"))
    kept = {spec.name: spec.configs.get("retention.ms") for spec in topics.wanted(settings)}
    for cell in "ab":
        assert kept[topics.embeddings("headrace", "en", cell)] == str(int(36.5 * 3_600_000))
        assert kept[topics.embeddings("headrace", "en", cell, "backfill")] == "3600000"
    assert kept[topics.embeddings("headrace", "fr", "a")] == "3600000"
    a_day, in_all = kept_embeddings(settings, settings.rings["en"], 100)
    assert in_all == pytest.approx(a_day * 36.5 / 24 * 3)
    (line,) = _kept_embeddings(settings)
    assert line.startswith("ring en keeps embeddings for 36.5 h: for each 100 utterances/s ") and "GB in all" in line
    assert _kept_embeddings(SETTINGS) == []


@pytest.mark.parametrize("wrong", ["0", "-1", '"1h"', "inf"])
def test_a_time_that_embeddings_cannot_be_kept_for_is_told_with_its_line(wrong):
    with pytest.raises(Misconfigured, match=r"rings\.en\.embeddings_hours"):
        parse(TOML.format(hours=f"embeddings_hours = {wrong}"))


def test_what_crosses_zones_is_two_thirds_of_writes_and_fetches_and_both_other_replicas():
    (en, _) = crossings(SETTINGS, costs(SETTINGS, {}, rate=100))
    sizes = reckoned(SETTINGS.rings["en"])
    every = sum(sizes.values())
    read = sizes["utterances"] + sizes["embeddings"]  # nobody of ours reads predictions
    assert (en.per_s, en.written, en.replicated) == (100, pytest.approx(2 / 3 * every), pytest.approx(2 * every))
    assert en.fetched == pytest.approx(2 / 3 * read)
    saved = en.gb_a_day(100, nearest=False) - en.gb_a_day(100, nearest=True)
    assert saved == pytest.approx(2 / 3 * read * 100 * 86_400 / 1e9)
