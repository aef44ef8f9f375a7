"""Training that is watched, and ended before it is done."""

import sys

import pytest

pytest.importorskip("torch")

from head_worker.load import load_head
from infra import many_heads as several
from infra.cli import bar
from infra.cli.main import main
from infra.cli.train import _may_keep
from infra.training.fit import Hooks, Target, fit
from infra.training.model import Size
from infra.training.recipe import Recipe
from tests.shop import CONFIG, plenty, write
from tests.unit.infra.test_figures_hold import labelled

TARGET, SMALL = Target("acme", "en", "s"), Recipe(epochs=8, size=Size(width=0, pool=8, layer=False))


def rows(count):
    return [labelled(("on", "off")[i % 2], i) for i in range(count)]


def ctrl_c_after(epochs):
    told = []

    def progress(share, scores):
        told.append((share, scores))
        if len(told) == epochs:
            raise KeyboardInterrupt

    return progress


def test_ctrl_c_writes_the_best_epoch_so_far_where_that_is_wanted(tmp_path):
    asked = []

    def may_keep(epoch, scores):
        asked.append((epoch, scores))
        return True

    manifest = fit(TARGET, rows(80), rows(120)[80:], tmp_path, SMALL, Hooks(ctrl_c_after(3), may_keep))
    assert len(asked) == 1 and 1 <= asked[0][0] <= 3 and "intent_accuracy" in asked[0][1]
    assert load_head(tmp_path).manifest.version == manifest.version


def test_ctrl_c_writes_nothing_where_it_is_not_wanted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(TARGET, rows(80), rows(120)[80:], tmp_path, SMALL, Hooks(ctrl_c_after(3)))
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_folds_at_their_next_epoch(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(TARGET, rows(80), None, tmp_path, Recipe(epochs=5_000, size=SMALL.size), Hooks(ctrl_c_after(3)))
    assert not list(tmp_path.iterdir())


def test_the_share_that_is_done_grows_to_one(tmp_path):
    shares = []
    fit(TARGET, rows(60), None, tmp_path, SMALL, Hooks(lambda share, scores: shares.append(share), threads=1))
    assert shares == sorted(shares) and shares[-1] == 1


@pytest.mark.parametrize("written", [False, True])
def test_ctrl_c_of_a_file_says_whether_a_head_was_written(home, capsys, monkeypatch, written):
    def trained(args, tenant, out):
        if written:
            (out / "head.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr("infra.cli.train._train_one", trained)
    (home / "acme-head").mkdir()
    assert main(["head", "train", "acme", "acme.jsonl"]) == 130
    told = "1 head is written" if written else "nothing was written"
    assert capsys.readouterr().err == f"headrace: interrupted: {told}\n"


def test_ctrl_c_of_a_directory_says_how_many_heads_are_written_and_the_same_command_goes_on(home, capsys, monkeypatch):
    (home / "data").mkdir()
    for tenant in ("acme", "globex", "initech"):
        write(home / f"data/{tenant}.jsonl", *plenty("on"), *plenty("off"))
    train_many = several.train_many

    def pressed(*given):
        trained = train_many(*given)
        yield next(trained)
        trained.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(several, "train_many", pressed)
    assert main(["head", "train", "data", "--epochs", "1"]) == 130
    count = len(list(home.glob("*-head/head.json")))
    words = "1 head is" if count == 1 else f"{count} heads are"
    assert count and f"headrace: interrupted: {words} written; the same command goes on\n" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [["velo.jsonl"], ["velo.jsonl", "more.csv"]])
def test_a_forgotten_tenant_is_told_with_the_command_that_is_meant(home, capsys, typed):
    (home / "velo.jsonl").write_text("")
    assert main(["head", "train", *typed]) == 2
    assert f"headrace head train TENANT {' '.join(typed)}\n" in capsys.readouterr().err


@pytest.mark.parametrize("name, known", [
    ("e5-smal", "; did you mean 'e5-small'?"), ("E5-Small", "; did you mean 'e5-small'?"),
    ("minilm", "; did you mean 'minilm-l6'?"), ("e5-small", ": headrace encoder fetch e5-small"),
    ("our-own-bert", ": headrace encoder fetch our-own-bert"),
])
def test_an_encoder_that_is_mistyped_is_told_by_the_name_that_is_known(home, capsys, monkeypatch, name, known):
    monkeypatch.setenv("HEADRACE_CACHE", str(home / "cache"))
    (home / "headrace.toml").write_text(CONFIG.format(encoder=name))
    write(home / "acme.jsonl", *plenty("on"), *plenty("off"))
    assert main(["head", "train", "acme", "acme.jsonl"]) == 2
    assert f"encoder {name!r} is not prepared{known}" in capsys.readouterr().err
    if "mean" in known:
        assert main(["encoder", "fetch", name]) == 2 and known in capsys.readouterr().err


def test_without_a_terminal_the_best_epoch_is_kept_and_said(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", open("/dev/null"))  # noqa: PTH123, SIM115
    assert _may_keep(7, {"intent_accuracy": 0.93, "span_f1": 0.8})
    assert "the best epoch so far is the 7., with intents 93.0%, spans 80.0%" in capsys.readouterr().err


def test_without_a_terminal_a_line_says_how_far_it_is_every_few_seconds(monkeypatch, capsys):
    now_s = iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr(bar.time, "monotonic", lambda: next(now_s))
    with bar.shown("training acme") as show:
        for share in (0.1, 0.5, 0.6):
            show(share, "intents 90 %")
    assert capsys.readouterr().err == "training acme: 50%, intents 90 %, about 6 s left\n"
