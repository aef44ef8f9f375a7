"""The plan: its formulas redone by hand, what it refuses, and what breaks first."""

import json
import re

import pytest

from infra.cli.main import main
from infra.plan.asked import Asked, read_languages
from infra.plan.fleet import plan
from infra.plan.limits import first, limits
from infra.plan.page import as_json, page
from infra.plan.prices import BUILT_IN, read_prices
from infra.plan.rates import WANTED, built_in, gather, read_rates
from infra.plan.sheet import Sheet, evenly
from infra.topic_cost import costs
from topology.errors import Misconfigured
from topology.settings import parse

RATES = built_in()
CURRENCY, PRICES = read_prices()


def planned(tenants=100_000, tps=1_000.0, languages="en", **asked):
    return plan(Asked(tenants, tps, read_languages(languages), **asked), RATES, CURRENCY, PRICES)


def lines(found):
    return [line for sheet in (*(part.sheet for part in found.parts), found.fleet, found.cost, found.whole)
            for line in sheet.lines]


def redone(numbers):
    """What somebody else's calculator makes of the printed numbers."""
    functions = {"ceil": __import__("math").ceil, "max": max, "min": min, "evenly": evenly}
    return eval(numbers.replace(",", "").replace(";", ",").replace("×", "*"), {"__builtins__": {}}, functions)


@pytest.mark.parametrize("languages", ["en", "en:3,de,fr"])
def test_every_line_is_what_its_printed_numbers_give(languages):
    found = lines(planned(languages=languages, replays_share=0.3))
    assert len(found) > 60
    for line in found:
        assert redone(line.numbers) == pytest.approx(line.value, rel=0.02), line


def test_the_formulas_agree_with_a_plan_made_on_paper():
    found, rate = planned(tenants=50_000, tps=2_000.0), RATES.values()
    ring, busy = found.parts[0].sheet, found.fleet["busy"]
    assert (ring["active"], ring["cells"]) == (5_000, 5)
    assert ring["encoder_cores"] == pytest.approx(2_000 * rate["encoder_us"] / 1e6 / busy * 1.5)
    assert ring["head_workers"] == 5 * max(3, -(-2_000 * rate["head_us"] / 1e6 / busy * 1.5 // 5))
    assert ring["heads_gb"] == pytest.approx(5_000 * rate["head_mb"] / 1_000 * 1.5)
    assert ring["partitions"] == 2 * ring["ring_partitions"] + 5 * 5 * ring["cell_partitions"]
    assert found.fleet["reply_gb"] == pytest.approx(2_000 * rate["reply_bytes"] * (0.1 * 3_600 + 0.9 * 300) / 1e9)
    assert found.cost["total"] == pytest.approx(sum(
        found.cost[name] for name in ("encoders", "heads", "broker_cost", "disks", "redis", "network", "store")
    ))


def test_disks_hold_what_the_topics_of_such_a_headrace_toml_cost():
    ring = "[rings.en]\nlanguages = ['en']\nencoder = 'none'\n[rings.en.cells.a]\n[rings.en.cells.b]"
    settings = parse(f"[topics]\nreplication = 3\n{ring}")
    kept_gb = sum(one.kept_gb for one in costs(settings, {}, rate=500.0))
    disk_gb = planned(2_000, 500.0).fleet
    assert disk_gb["disk_gb"] - disk_gb["registry_disk_gb"] == pytest.approx(kept_gb)


def test_rings_of_the_same_share_are_told_once_and_counted_each():
    found = planned(tenants=99_000, languages="en-GB,en-US,de,fr")  # two variants of English share a ring
    assert [(part.rings, part.sheet["tenants"]) for part in found.parts] == [(["en"], 49_500), (["de", "fr"], 24_750)]
    assert found.fleet["cells"] == 5 + 2 * 3


def test_a_zone_lost_is_paid_for_and_one_zone_alone_has_no_spare():
    assert planned(zones=1).fleet["spare"] == 1
    assert planned(zones=3).fleet["encoder_cores"] == pytest.approx(planned(zones=1).fleet["encoder_cores"] * 1.5)
    assert planned(fetch_share=0.0).cost["network"] < planned().cost["network"]


def test_replays_fill_idle_cores_first_and_are_paid_for_beyond():
    assert planned(replays_share=0.01).fleet["more_cores"] == 0
    assert planned(replays_share=5.0).fleet["more_cores"] > 0
    assert planned(replays_share=5.0).fleet["prediction_disk_gb"] > planned().fleet["prediction_disk_gb"]


def test_a_looser_objective_is_cheaper_and_one_that_was_never_held_is_refused():
    assert planned(objective_ms=60.0).fleet["encoder_cores"] < planned(objective_ms=35.0).fleet["encoder_cores"]
    with pytest.raises(Misconfigured, match="least p90 measured"):
        planned(objective_ms=1.0)


@pytest.mark.parametrize("tenants, tps, name", [
    (1_000, 1e6, "the largest tenant"), (10**7, 1e5, "Redis' thread"), (10**8, 100, "registry"),
])
def test_what_breaks_first_is_named_with_its_number(tenants, tps, name):
    found = planned(tenants, tps)
    assert name in first(found).name
    assert first(found).said().startswith("BREAKS")
    assert [one.times for one in limits(found)] == sorted((one.times for one in limits(found)), reverse=True)


def test_a_small_fleet_breaks_nothing():
    assert all(one.times <= 1 for one in limits(planned(1_000, 100)))


@pytest.mark.parametrize("asked", [
    {"tenants": 0}, {"tps": float("nan")}, {"tps": -1.0}, {"tokens": 0}, {"active_share": 1.5}, {"zones": 0},
    {"embeddings_hours": 0}, {"languages": "en:x"}, {"languages": ","}, {"replays_share": -0.5}, {"tps": float("inf")},
    {"active_share": 0}, {"active_share": -1}, {"replays_share": -1}, {"asked_later_share": -1}, {"fetch_share": -0.5},
])
def test_what_cannot_be_planned_is_refused_by_the_options_name(asked):
    name = next(iter(asked)).replace("_", "-")
    with pytest.raises(Misconfigured, match=f"--{name}"):
        planned(**asked)


def test_a_price_table_of_ones_own_is_used_and_a_wrong_one_is_named(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(re.sub(r"hour = [0-9.]+", "hour = 0", BUILT_IN.read_text()).replace("USD", "EUR"))
    currency, prices = read_prices(own)
    assert (currency, prices["head_hour"], prices["gb_disk_month"]) == ("EUR", 0, PRICES["gb_disk_month"])
    wrongs = {"vcpu = 8": "worker_vcpu", "memory_gb = 64": "head_memory_gb", "hour = 0.40": "worker_hour"}
    for wrong, name in wrongs.items():
        own.write_text(BUILT_IN.read_text().replace(f"{wrong}\n", wrong.partition("=")[0] + "= 'much'\n"))
        with pytest.raises(Misconfigured, match=name):
            read_prices(own)
    own.write_text("currency = 'USD'\n")
    with pytest.raises(Misconfigured, match=r"own\.toml: .* is missing"):
        read_prices(own)


def test_rates_of_ones_own_take_the_place_of_the_built_in_ones_and_are_named(tmp_path):
    own = {"benchmark": "memory", "at": "2030-01-01", "hardware": {"processor": "mine", "cores": 64},
           "bytes_per_head": 1e6, "heads": 10, "worker_mb": 100.0, "encoder_worker_mb": 50.0}
    (tmp_path / "mine.json").write_text(json.dumps(own))
    rates = read_rates([tmp_path])
    assert rates.figures["head_mb"].value == 1.0
    assert "mine.json, mine" in rates.figures["head_mb"].source
    assert rates.figures["encoder_us"] == RATES.figures["encoder_us"]
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(Misconfigured, match=r"mine\.json"):
        read_rates([tmp_path / "mine.json"])


def test_texts_that_were_said_before_and_broken_results_give_no_rates():
    pipeline = {"benchmark": "pipeline", "at": "2030", "settings": {"repeated": 0.3},
                "uniform": {"cpu_us_per_utterance": {"encoder": 1.0}}}
    assert gather({"a.json": pipeline, "b.json": {"benchmark": "memory", "bytes_per_head": "x"}}).figures == {}
    light = {"light_load": {}}
    for broken in ({}, light, {"light_load": 1, "uniform": 2}, {**light, "uniform": {"curve": [1]}}):
        assert not gather({"c.json": {"benchmark": "pipeline", **broken}}).curve


def test_every_figure_has_a_source_and_every_page_says_them(capsys):
    assert RATES.figures.keys() == WANTED.keys()
    assert all(re.search(r"\.json, .+, \d{4}-\d\d-\d\d$", one.source) for one in RATES.figures.values())
    assert main(["plan", "--tenants", "1000", "--tps", "100"]) == 0
    told = capsys.readouterr().out
    assert all(one.source in told for one in RATES.figures.values())
    assert "not facts" in told


def test_a_program_reads_the_same_plan(capsys):
    assert main(["plan", "--tenants", "100000", "--tps", "1000", "--languages", "en", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = planned()
    assert told["cost"]["total"]["value"] == found.cost["total"]
    assert told["first"] == first(found).name
    assert told == json.loads(json.dumps(as_json(found, RATES, PRICES)))
    assert any("what breaks first" in line for line in page(found, RATES, PRICES, "mine"))


def test_a_formula_is_only_arithmetic():
    sheet = Sheet({"a": 2})
    assert sheet.put("b", "ceil(a * 1.2) - (a - 1)") == 2
    assert sheet.lines[0].numbers == "ceil(2 × 1.2) - (2 - 1)"
    for wrong in ("a ** 99", "__import__('os')", "a if a else 1"):
        with pytest.raises((ValueError, KeyError)):
            sheet.put("c", wrong)
