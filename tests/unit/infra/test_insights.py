"""Windows, what they mean, and a ledger that counts each record once, whatever is read again."""

import dataclasses
import random
from collections import Counter

import pytest

pytest.importorskip("faust")

from infra.insights.driver import consumer_options, producer_options
from infra.insights.export import files_of, place_of
from infra.insights.gauges import hours_of
from infra.insights.ledger import Bounds, Partition, position_key
from infra.insights.measures import (
    Baseline,
    baseline_of,
    confidence,
    confidence_drift,
    expected_intents,
    label_shift,
    quantile_ms,
)
from infra.insights.usage import span_of
from infra.insights.windows import GRAINS, LIMITS_MS, OTHERS, UNREADABLE, Key, Window, rank_of, said_by, summed
from topology import settings as all_settings
from topology import topics, wire
from topology.connections import Sasl, Tls
from topology.errors import Misconfigured
from topology.heads import HeadManifest
from topology.pacing import PACING
from topology.secrets import Secret
from topology.settings import Broker
from topology.topics import wanted

NOW_S = 1_790_000_000
DAY_S = 86_400


def prediction(tenant="acme", time_s=NOW_S, error="", **more):
    stages = {} if error else {"submitted": time_s * 1_000_000, "received": time_s * 1_000_000 + 1_500,
                               "encoded": time_s * 1_000_000 + 9_500, "predicted": time_s * 1_000_000 + 11_000}
    defaults = {} if error else {"intent": "on", "confidence": 0.5, "head_version": "v1"}
    return wire.Prediction("id", tenant, "en", "en", "text", error=error, stages=stages, **{**defaults, **more})


class Log:
    """A partition of a topic, and a store that is written as the changelog is: windows first, then the position."""

    def __init__(self, records):
        self.records, self.store = records, {}

    def ledger(self, start=0, changelog_start=0, pacing=PACING):
        self.tally = Counter()
        return Partition(0, self.store, Bounds(changelog_start, start, len(self.records)), self.tally, pacing)

    def read(self, ledger, until):
        for offset in range(ledger.position.offset + 1, until):
            ledger.count(offset, NOW_S * 1_000, self.records[offset])

    def write(self, ledger, upto=None):
        """Some of the changes, or all of them and the position."""
        before = dict(self.store)
        changes = ledger.changes()
        self.store.clear()
        self.store.update(before)
        self.store.update((key.to_bytes(), value) for key, value in changes[:upto])
        if upto is None:
            self.store[position_key(0).to_bytes()] = ledger.position.to_bytes()

    def windows(self, grain="day"):
        found = {}
        for data, value in self.store.items():
            key = Key.from_bytes(data)
            if key.grain == grain:
                found[key.tenant, key.start_s] = value
        return found


def some_log(count=400, seed=1):
    dice = random.Random(seed)
    return [wire.encode(prediction(
        f"t{dice.randrange(5)}", NOW_S - dice.randrange(2 * 3_600), error=dice.choice(("", "", "", "overloaded")),
    )) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_crashes_anywhere_and_half_written_counts_change_nothing(seed):
    dice, log, whole = random.Random(seed), Log(some_log()), Log(some_log())
    ledger = whole.ledger()
    whole.read(ledger, 400)
    whole.write(ledger)
    for _ in range(30):
        ledger = log.ledger()
        log.read(ledger, min(400, ledger.position.offset + 1 + dice.randrange(60)))
        log.write(ledger, dice.choice((None, dice.randrange(20))))
    ledger = log.ledger()
    log.read(ledger, 400)
    log.write(ledger)
    for grain in GRAINS:
        assert log.windows(grain) == whole.windows(grain)
    assert sum(Window.from_bytes(value).utterances for value in log.windows().values()) == 400


@pytest.mark.parametrize("seed", range(10))
def test_windows_that_the_changelog_lost_are_counted_anew_and_the_others_not_twice(seed):
    dice, log = random.Random(seed), Log(some_log())
    ledger = log.ledger()
    log.read(ledger, 400)
    log.write(ledger)
    whole = dict(log.store)
    for key in dice.sample(sorted(log.store), len(log.store) // 2):
        del log.store[key]
    ledger = log.ledger(changelog_start=7)
    assert ledger.position.offset == -1
    log.read(ledger, 200)
    log.write(ledger)
    ledger = log.ledger(changelog_start=7)  # restarted in the middle of it
    assert ledger.position.offset in (199, 399)
    log.read(ledger, 400)
    log.write(ledger)
    position = position_key(0).to_bytes()
    assert {k: v for k, v in log.store.items() if k != position} == {k: v for k, v in whole.items() if k != position}


def test_a_topic_made_anew_is_counted_from_its_beginning_beside_what_was_counted():
    log = Log(some_log(100))
    ledger = log.ledger()
    log.read(ledger, 100)
    log.write(ledger)
    log.records = some_log(40, seed=2)
    ledger = log.ledger()
    log.read(ledger, 40)
    log.write(ledger)
    days = [Window.from_bytes(v) for k, v in log.store.items() if Key.from_bytes(k).grain == "day"]
    assert summed(days).utterances == 140
    assert log.ledger().position.offset == 39
    del log.store[position_key(0).to_bytes()]  # lost with the changelog's beginning
    assert log.ledger().position.log == 1


def test_a_topic_made_anew_is_known_by_its_id_also_when_it_has_more_records_than_the_one_before():
    store, few, many = {}, some_log(50), some_log(100, seed=2)
    for records, name in ((few, "a"), (many, "b"), (many, "b")):
        ledger = Partition(0, store, Bounds(0, 0, len(records), name), Counter())
        for offset in range(ledger.position.offset + 1, len(records)):
            ledger.count(offset, NOW_S * 1_000, records[offset])
        store |= {key.to_bytes(): value for key, value in ledger.changes()}
        store[position_key(0).to_bytes()] = ledger.position.to_bytes()
    days = [Window.from_bytes(v) for k, v in store.items() if Key.from_bytes(k).grain == "day"]
    assert summed(days).utterances == 150


def test_windows_that_began_before_the_topic_does_are_marked_partial():
    log = Log(some_log(100))
    ledger = log.ledger(start=50)
    log.read(ledger, 100)
    log.write(ledger)
    assert {Window.from_bytes(value).partial for value in log.windows().values()} == {True}
    ledger = Log(some_log(10)).ledger()
    assert ledger.count(0, NOW_S * 1_000, some_log(1)[0]) is not None
    assert not any(window.partial for _, window in ledger.windows())


def test_of_two_values_the_one_that_counts_more_is_right_also_when_a_frozen_process_wrote_last():
    early, late = Window(), Window()
    said = said_by(prediction(), NOW_S * 1_000)
    early.add(said, 5)
    late.add(said, 5)
    late.add(said, 6)
    assert rank_of(late.to_bytes()) > rank_of(early.to_bytes())
    ledger = Log(some_log()).ledger()
    old = dataclasses.replace(ledger.position, offset=300)
    for newer in (dataclasses.replace(old, offset=3, log=1), dataclasses.replace(old, offset=3, changelog_start=9)):
        assert rank_of(newer.to_bytes()) > rank_of(old.to_bytes())


def test_tenants_that_clients_made_up_share_a_row_and_those_with_predictions_never_do():
    pacing = dataclasses.replace(PACING, insights_tenants=3)
    records = [wire.encode(prediction(f"made-up-{i}", error="unknown_tenant")) for i in range(50)]
    records += [wire.encode(prediction(f"real-{i}")) for i in range(10)]
    log = Log(records)
    ledger = log.ledger(pacing=pacing)
    log.read(ledger, 30)
    log.write(ledger)
    ledger = log.ledger(pacing=pacing)  # a restart opens no new rows
    log.read(ledger, 60)
    log.write(ledger)
    counts = {tenant: Window.from_bytes(value).utterances for (tenant, _), value in log.windows().items()}
    assert counts.pop(OTHERS) == 47
    assert sorted(counts) == ["made-up-0", "made-up-1", "made-up-2", *(f"real-{i}" for i in range(10))]


def test_a_record_that_is_none_and_times_that_cannot_be_are_counted_when_they_were_written():
    ledger = Log([b""] * 5).ledger()
    assert ledger.count(0, NOW_S * 1_000, b"\xc1").tenant == UNREADABLE
    assert ledger.count(1, NOW_S * 1_000, None).tenant == UNREADABLE
    for time_s in (NOW_S + 3_600, -5):
        assert said_by(prediction(time_s=time_s), NOW_S * 1_000).time_us == NOW_S * 1_000_000
    assert said_by(prediction(error="overloaded"), NOW_S * 1_000).time_us == NOW_S * 1_000_000
    assert said_by(prediction(time_s=NOW_S - 50), NOW_S * 1_000).time_us == (NOW_S - 50) * 1_000_000


def test_windows_are_dropped_by_whole_files_once_they_are_not_kept():
    for grain in GRAINS.values():
        start = NOW_S // grain.file_s * grain.file_s
        ends = start + grain.file_s + grain.kept_s
        for at in (start, start + grain.file_s - grain.seconds):
            assert not grain.is_over(at, ends - 1)
            assert grain.is_over(at, ends)
    late = Log([wire.encode(prediction(time_s=NOW_S - 30 * DAY_S))])
    ledger = late.ledger()
    assert ledger.count(0, NOW_S * 1_000, late.records[0]).tenant == "acme"
    assert [key.grain for key, _ in ledger.windows()] == ["day"]
    assert late.tally["late"] == 2


def test_names_in_a_window_are_bounded():
    window = Window()
    for offset in range(3 * PACING.insights_names):
        window.add(said_by(prediction(intent=f"i{offset}"), NOW_S * 1_000), offset)
    assert len(window.intents) == PACING.insights_names + 1
    assert sum(window.intents.values()) == window.predictions == 3 * PACING.insights_names


def manifest(**metrics):
    return HeadManifest("acme", "en", "v1", "s", 8, ("on", "off"), ("O",), "x", metrics=metrics)


def test_drift_is_what_confidence_lost_against_the_heads_own_evaluation():
    known = baseline_of(manifest(calibration_bins=[[0.9, 0.95, 30], [0.6, 0.5, 10]],
                                 confusion=[["on", "on", 18], ["off", "on", 2], ["off", "off", 20]]))
    assert known == Baseline((0.9 * 30 + 0.6 * 10) / 40, {"on": 20, "off": 20})
    window = Window()
    for offset, sure in enumerate((0.5, 0.7)):
        window.add(said_by(prediction(confidence=sure), NOW_S * 1_000), offset)
    assert confidence(window) == pytest.approx(0.6)
    assert confidence_drift(window, {"v1": known}) == pytest.approx(0.6 - 0.825)
    assert label_shift(window.intents, expected_intents(window, {"v1": known})) == pytest.approx(0.5)
    assert confidence_drift(window, {}) is None


@pytest.mark.parametrize("metrics", [
    {}, {"calibration_bins": 5, "confusion": "x"}, {"confusion": [[1, 2], [1, 2, "n"]]},
    {"calibration_bins": [[None, 1, 2], ["a", 0, 0]]},
])
def test_a_head_without_an_evaluation_has_no_baseline(metrics):
    assert baseline_of(manifest(**metrics)) == Baseline(None, {})


def test_label_shift_is_the_share_that_changed():
    assert label_shift({"a": 10}, {"a": 99}) == 0
    assert label_shift({"a": 1}, {"b": 1}) == 1
    assert label_shift({"a": 3, "b": 1}, {"a": 1, "b": 1}) == pytest.approx(0.25)
    assert label_shift({}, {"a": 1}) is None


def test_quantiles_are_bounds_and_beyond_the_last_one_unknown():
    counts = [0] * (len(LIMITS_MS) + 1)
    assert quantile_ms(counts, 0.5) is None
    counts[3], counts[6] = 9, 1
    assert (quantile_ms(counts, 0.5), quantile_ms(counts, 0.9), quantile_ms(counts, 0.99)) == (10, 10, 100)
    counts[-1] = 100
    assert quantile_ms(counts, 0.99) == float("inf")


def test_a_tenant_whose_hour_is_spread_over_partitions_is_one():
    window = Window(predictions=3, sure={"v1": [3, 3_000_000]}, intents={"on": 3}, latency={"all": [1] * 13})
    hours = hours_of([(Key(p, 0, "hour", 3_600, "acme"), window) for p in range(4)])
    assert hours["acme"][3_600].predictions == 12
    assert hours["acme"][3_600].latency["all"] == [4] * 13


def test_a_span_takes_the_largest_windows_that_fit_and_whole_ones_where_none_does():
    day, hour = NOW_S // DAY_S * DAY_S, NOW_S // 3_600 * 3_600
    assert span_of(day - 5 * DAY_S, day, NOW_S).grain.name == "day"
    assert span_of(day - DAY_S, NOW_S, NOW_S).grain.name == "day"
    assert span_of(hour - 3_600, hour, NOW_S).grain.name == "hour"
    assert span_of(NOW_S - 900, NOW_S - 60, NOW_S).grain.name == "minute"
    ago = span_of(NOW_S - 7 * DAY_S - 11, NOW_S, NOW_S)
    assert (ago.grain.name, ago.from_s % DAY_S, ago.to_s % DAY_S) == ("day", 0, 0)
    assert ago.from_s <= NOW_S - 7 * DAY_S - 11
    assert ago.to_s >= NOW_S


def test_files_hold_what_is_dropped_together_and_only_those_that_changed():
    window = Window()
    found = list(files_of([(Key(0, 0, "minute", 3_600 + 60 * i, "acme"), window) for i in range(70)],
                          {("minute", 3_600)}))
    assert [(place, len(some)) for place, some in found] == [((0, "minute", 3_600), 60)]
    assert place_of("en", "a", 3, "minute", NOW_S // 3_600 * 3_600).startswith("minute/en.a/partition-00003/2026-09-")


RINGS = '[rings.en]\nlanguages = ["en"]\nencoder = "x"\n[rings.en.cells.a]\npartitions = 7\n'


def test_topics_apply_creates_a_changelog_of_the_same_partitions_as_what_is_counted():
    specs = {spec.name: spec for spec in wanted(all_settings.parse(RINGS))}
    changelog = specs[topics.insights("headrace", "en", "a")]
    assert changelog.partitions == specs[topics.predictions("headrace", "en", "a")].partitions == 7
    assert changelog.configs["cleanup.policy"] == "compact"


def test_a_password_in_the_export_url_is_refused():
    with pytest.raises(Misconfigured, match=r"insights\.export"):
        all_settings.parse('[insights]\nexport = "s3://me:secret@bucket/x"\n' + RINGS)


async def test_what_the_settings_say_of_security_reaches_fausts_consumer_and_producer(monkeypatch):
    monkeypatch.setenv("HEADRACE_TEST_SECRET", "s3cret")
    broker = Broker(kind="external", bootstrap="kafka:9093", tls=Tls(),
                    sasl=Sasl("SCRAM-SHA-512", "alice", Secret("env:HEADRACE_TEST_SECRET")))
    for options in (consumer_options(broker, "group", object()), producer_options(broker)):
        assert options["bootstrap_servers"] == "kafka:9093"
        assert options["security_protocol"] == "SASL_SSL"
        assert options["ssl_context"].check_hostname
        assert (options["sasl_mechanism"], options["sasl_plain_username"], options["sasl_plain_password"]) == (
            "SCRAM-SHA-512", "alice", "s3cret")
    assert consumer_options(broker, "group", object())["isolation_level"] == "read_committed"
    assert producer_options(broker)["acks"] == "all"
    assert producer_options(Broker(bootstrap="x:1"))["security_protocol"] == "PLAINTEXT"
