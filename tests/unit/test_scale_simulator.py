"""The simulator: the same seed the same figures, nothing lost, and rivals by their own rules."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from infra.autoscale.comparison import CPU_TARGETS, KEDA_S, compare, measured, sized, table, verdict
from infra.autoscale.rivals import CpuTarget, Fixed, Keda, Ours
from infra.autoscale.simulator import Outcome, System, simulate
from infra.autoscale.stage import Speed
from infra.autoscale.tiers import PartitionLoad, Policy, Tier
from infra.autoscale.traces import Trace, arrivals, read_csv, synthetic
from infra.cli.main import main
from topology.errors import Misconfigured

SYSTEM = System(Speed(9_000.0, 0.0003), Speed(2_000.0, 0.0003), parcels=3_000)
START = {"encoder": 1, "head": 1}
TRACES = {one.name: one for one in synthetic(400.0)}


def test_the_same_seed_gives_the_same_figures_and_another_one_others():
    runs = [simulate(SYSTEM, TRACES["step"], Ours(Policy()), seed, START) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("name", TRACES)
def test_every_utterance_is_answered_once_whatever_breaks(name):
    outcome = simulate(SYSTEM, TRACES[name], Ours(Policy()), 3, START)
    assert outcome.lost == 0 and outcome.minutes == 60
    assert outcome.worst_s < 300


def test_a_fixed_fleet_costs_its_size_and_keeps_up_only_when_it_is_large_enough():
    trace = Trace("flat", "", ((0.0, 1_000.0), (1_800.0, 1_000.0)))
    fine = replace(SYSTEM, parcels=20_000)
    small, large = (simulate(fine, trace, Fixed("", {"encoder": n, "head": 1}), 1, {"encoder": n, "head": 1})
                    for n in (1, 3))
    assert (small.replica_hours, large.replica_hours) == (1.0, 2.0)
    assert small.missed_minutes > 25 and large.missed_minutes == 0


def test_who_computes_cannot_do_more_than_its_rate():
    trace = Trace("flat", "", ((0.0, 1_200.0), (600.0, 1_200.0)))
    outcome = simulate(SYSTEM, trace, Fixed("", START), 1, START)
    done_s = 600 * 1_200 * 15 / 9_000  # one encoder needs twice the time: the last one waited for the other half
    assert outcome.worst_s == pytest.approx(done_s - 600, rel=0.1)


def seen(replicas, lag=0, busy=0.5, at_s=0.0, partitions=12):
    loads = (PartitionLoad(0, lag), *(PartitionLoad(n) for n in range(1, partitions)))
    return Tier("encoder/sim", "encoder", "sim", "", at_s, replicas, loads, 400.0, 9_000.0, 15.0, busy)


@pytest.mark.parametrize("replicas, lag, wanted", [
    (1, 100, 1), (1, 109, 1), (1, 150, 2),  # within 10 % nothing changes
    (10, 1_090, 10), (10, 1_150, 12),
    (6, 99_999, 12), (12, 99_999, 12),  # the lag is capped at partitions x threshold
    (1, 99_999, 5), (3, 99_999, 7), (5, 99_999, 10),  # at most 4 more, or twice as many, in one look
])
def test_keda_follows_the_lag_by_its_published_rules(replicas, lag, wanted):
    assert Keda({"encoder": 100, "head": 100}).decide([seen(replicas, lag)]) == {"encoder/sim": wanted}


def test_the_hpa_shrinks_to_the_highest_count_of_its_last_five_minutes():
    scaler, counts = CpuTarget(0.5), []
    for at_s, busy in ((0.0, 0.5), (15.0, 0.05), (300.0, 0.05), (315.0, 0.05)):
        counts.append(scaler.decide([seen(10, busy=busy, at_s=at_s)])["encoder/sim"])
    assert counts == [10, 10, 1, 1]  # at 300 s the wish for 10 is 300 s old


def test_without_a_metric_rivals_hold_as_they_do():
    away = Tier("encoder/sim", "encoder", "sim", replicas=4, partitions=seen(4).partitions, missing="away")
    assert Keda({"encoder": 10, "head": 10}).decide([away]) == {"encoder/sim": 4}
    assert CpuTarget(0.5).decide([away]) == {"encoder/sim": 4}


def test_a_flash_crowd_is_met_sooner_than_by_rivals_that_cost_as_much():
    fine = replace(SYSTEM, parcels=10_000)  # coarse parcels miss minutes by themselves
    found = compare(fine, Policy(), [TRACES["flash crowd"]], 1, lambda setting: None)
    assert [len(tried) for tried in found] == [1, len(KEDA_S), len(CPU_TARGETS), 1, 1]
    ours = found[0][0].outcomes[0]
    for tried in found[1:]:
        for one in tried:
            rival = one.outcomes[0]
            assert rival.missed_minutes > ours.missed_minutes or rival.replica_hours > ours.replica_hours, one.setting
    assert all(tried[0].cost == min(one.cost for one in tried) for tried in found)
    assert len(table(found)) == 2 + 2 * len(found)


def test_the_table_says_where_ours_is_worse():
    def outcome(missed, hours):
        return Outcome("", "", missed, 60, hours, 0, 0, 0.0, 0.0, 0)

    assert verdict(outcome(1, 5.0), outcome(1, 4.0)) == "OURS IS WORSE"
    assert verdict(outcome(1, 5.0), outcome(2, 5.0)) == "ours is better"
    assert verdict(outcome(2, 5.0), outcome(1, 6.0)).startswith("OURS MISSES MORE")


def test_arrivals_follow_the_trace_and_are_the_same_for_every_rival():
    trace = TRACES["ramp"]
    first, again = (arrivals(trace, 7, 12, 15.0, 5_000) for _ in range(2))
    assert first == again and 4_000 < len(first) < 6_000
    for minute in (1, 30, 55):
        came = sum(one.utterances for one in first if minute * 60 <= one.born_s < minute * 60 + 300) / 300
        assert came == pytest.approx(sum(trace.rate(minute * 60 + n) for n in range(300)) / 300, rel=0.1)


def test_fleets_are_sized_for_counts_that_spread_evenly():
    assert sized(SYSTEM, Policy(), 2_600.0) == {"encoder": 12, "head": 2}  # 6.2 encoders: seven do no more than six
    encoder, head = measured()
    assert encoder.work_per_s > 1_000 and head.work_per_s > 100


@pytest.mark.parametrize("text, place", [
    ("0,100\n60,x\n", ":2:"), ("0,100\n0,200\n", ":2:"), ("0,100\n5,-1\n", ":2:"), ("0,100\n5,inf\n", ":2:"),
    ("0,100\n9\n", ":2:"), ("seconds,per_s\n0,100\n", "two lines"), ("", "two lines"), ("0,1\n9e9,1\n", "7 days"),
])
def test_a_csv_that_is_no_trace_is_refused_by_its_line(tmp_path, text, place):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=place):
        read_csv(path)


def test_a_csv_of_ones_own_with_a_heading_unix_times_and_comments_is_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["\ufeffseconds,utterances/s", "1800000000,300", "", "# lunch", "1800000300.5,900.5,noon", "1800000600,300"]
    (tmp_path / "monday.csv").write_text("\n".join(lines), encoding="utf-8")
    trace = read_csv(tmp_path / "monday.csv")
    assert trace.points == ((0.0, 300.0), (300.5, 900.5), (600.0, 300.0)) and trace.rate(150.25) == 600.25
    assert main(["scale", "simulate", "--csv", "monday.csv", "--parcels", "1000", "--json", "out.json",
                 "--plot", "out.png"]) == 0
    assert "| monday | headrace | " in capsys.readouterr().out
    body = json.loads((tmp_path / "out.json").read_text())
    assert [one["scaler"] for one in body["scalers"]][:2] == ["headrace", "KEDA, lag"]
    assert (tmp_path / "out.png").stat().st_size > 10_000
    assert body["ours_over_time"]["monday"][0][2:] == [1, 1]


def test_a_trace_of_ones_own_begins_with_as_many_workers_as_are_said_and_is_told_look_by_look(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat.csv").write_text("0,100\n300,100\n")
    assert main(["scale", "simulate", "--csv", "flat.csv", "--parcels", "1000", "--partitions", "4", "--workers", "2",
                 "--json", "out.json"]) == 0
    looks = json.loads((tmp_path / "out.json").read_text())["ours_over_time"]["flat"]
    assert looks[0][0] == 5.0 and looks[0][2:] == [2, 2] and looks[-1][2:] == [1, 1]


@pytest.mark.parametrize("wrong", [
    ["--trace", "nope"], ["--partitions", "0"], ["--rate", "nan"], ["--hours", "1e9"], ["--csv", "none.csv"],
    ["--start-s", "-1"], ["--tokens", "0"], ["--workers", "0"], ["--workers", "13"],
])
def test_a_wrong_argument_is_named_and_nothing_is_run(wrong, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["scale", "simulate", *wrong])
    except SystemExit as ended:  # what argparse itself refuses
        status = ended.code
    assert status == 2
    assert wrong[0].strip("-") in capsys.readouterr().err or wrong[0] == "--csv" or wrong[0] == "--hours"


def test_the_page_shows_the_table_of_the_result_file_and_the_policy_is_the_default():
    docs = Path(__file__).parents[2] / "docs"
    body = json.loads((docs / "scaling.json").read_text())
    assert "\n".join(body["table"]) in (docs / "SCALING.md").read_text(encoding="utf-8")
    assert body["policy"] == asdict(Policy())  # else: run it again
