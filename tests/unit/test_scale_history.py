"""The last decisions are kept, bounded, and can be read whatever stands in the file."""

from infra.autoscale.history import KEPT, NAME, History, read
from infra.autoscale.tiers import Advice
from infra.cli.main import main


def advice(at_s, replicas=2, running=2, why="stay at 2", **more):
    return Advice(more.pop("tier", "encoder/en"), at_s, replicas, running, why, **more)


def test_a_decision_that_stays_the_same_is_one_line_with_its_newest_reason(tmp_path):
    history = History(tmp_path)
    for at_s in range(0, 300, 5):
        history.note([advice(float(at_s), why=f"stay at 2: {at_s}/s come"), advice(float(at_s), tier="head/en/a")])
    history.note([advice(300.0, 3, why="2 -> 3"), advice(300.0, tier="head/en/a")])
    first, heads, last = read(tmp_path)
    assert (first.tier, first.since_s, first.times, first.why) == ("encoder/en", 0.0, 60, "stay at 2: 295/s come")
    assert (heads.tier, last.replicas, last.running) == ("head/en/a", 3, 2)


def test_held_again_and_another_report_are_lines_of_their_own(tmp_path):
    history = History(tmp_path)
    history.note([advice(0.0)])
    history.note([advice(5.0, held=True)])
    history.note([advice(10.0, reports=("partition 0 stands still with 5 records",))])
    history.note([advice(75.0, reports=("partition 0 stands still with 9 records",))])
    assert [one.times for one in read(tmp_path)] == [1, 1, 2]


def test_the_file_is_bounded_and_goes_on_after_a_restart(tmp_path):
    for start in (0, KEPT):
        history = History(tmp_path)
        for at_s in range(start, start + KEPT):
            history.note([advice(float(at_s), at_s % 2 + 1)])
    lines = read(tmp_path)
    assert len(lines) == KEPT and lines[-1].at_s == 2 * KEPT - 1
    assert [place.name for place in tmp_path.iterdir()] == [NAME]


def test_lines_that_cannot_be_read_are_passed_over(tmp_path):
    History(tmp_path).note([advice(1.0)])
    place = tmp_path / NAME
    place.write_bytes(b'{"tier": 1}\n[]\n\xff\xfe{"\n' + place.read_bytes() + b'{"tier":"x"')
    assert [one.at_s for one in read(tmp_path)] == [1.0]


def test_history_prints_when_which_and_why(tmp_path, capsys):
    config = tmp_path / "headrace.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n[rings.en]\nlanguages = ["en"]\nencoder = "demo"\n')
    assert main(["--config", str(config), "scale", "history"]) == 0
    assert "nothing was decided" in capsys.readouterr().out
    History(tmp_path).note([advice(1.0, 4, why="2 -> 4: late", reports=("partition 0 stands still",))])
    assert main(["--config", str(config), "scale", "history", "--tier", "encoder/en"]) == 0
    printed = capsys.readouterr().out
    assert "encoder/en: 2 -> 4: late" in printed and "! partition 0 stands still" in printed
