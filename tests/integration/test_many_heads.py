"""`headrace head train DIRECTORY`: many tenants, one of them broken, begun again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from head_worker.load import load_head
from infra.cli.main import main
from infra.many_heads import Order, Several, train_many
from infra.training.fit import Target
from infra.training.recipe import Recipe
from tests.small import example, small_encoder
from topology.addresses import load_placed

pytestmark = pytest.mark.integration


@pytest.fixture
def home(tmp_path, monkeypatch):
    encoder = tmp_path / "encoder"
    small_encoder(encoder)
    (tmp_path / "headrace.toml").write_text(
        f'[rings.en]\nlanguages = ["en"]\nencoder = "{encoder}"\nprecision = "float32"\n[rings.en.cells.a]\n')
    data = tmp_path / "data"
    data.mkdir()
    for tenant in ("acme", "beta", "gamma"):
        lines = [example(i) for i in range(40)]
        (data / f"{tenant}.jsonl").write_text("".join(
            json.dumps({"text": one.text, "intent": one.intent}) + "\n" for one in lines))
    (data / "broken.jsonl").write_text(
        '{"text": "only one", "intent": "on"}\n{"text": "x", "intent": "out_of_scope"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_tenant_that_cannot_be_trained_stops_no_other_and_what_is_done_is_not_done_again(home, capsys):
    command = ["head", "train", "data", "--out", "heads", "--size", "small", "--epochs", "2"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "broken was not trained: 1 example in scope: too few" in said.out
    assert "3 of 4 tenants trained, 0 had such a head, 1 failed" in said.out and "not trained: broken" in said.err
    versions = {name: load_head(home / "heads" / f"{name}-head").manifest.version for name in ("acme", "beta", "gamma")}

    with (home / "data" / "beta.jsonl").open("a") as file:
        file.write('{"text": "one more line", "intent": "on"}\n')
    assert main(command) == 1
    assert "1 of 4 tenants trained, 2 had such a head, 1 failed" in capsys.readouterr().out
    after = {name: load_head(home / "heads" / f"{name}-head").manifest.version for name in versions}
    assert [name for name in versions if versions[name] != after[name]] == ["beta"]

    (home / "test.jsonl").write_text("".join(json.dumps({"text": one.text, "intent": one.intent}) + "\n"
                                             for one in map(example, range(40, 60))))
    assert main([*command, "--test", "test.jsonl"]) == 1
    told = capsys.readouterr().out
    assert "0 of 4 tenants trained, 3 had such a head, 1 failed" in told
    assert told.count("its head is of the same data; of others, 20 lines in scope: intent accuracy") == 3


def test_two_files_of_one_tenant_are_named_and_not_trained_over_each_other(home, capsys):
    (home / "data" / "acme.csv").write_text("text,intent\nhello,greet\nbye,leave\n")
    assert main(["head", "train", "data", "--out", "heads", "--size", "small", "--epochs", "2"]) == 1
    said = capsys.readouterr()
    assert "headrace head train acme data/acme.csv data/acme.jsonl" in said.out
    assert not (home / "heads" / "acme-head").exists()
    assert "2 of 5 tenants trained, 0 had such a head, 3 failed" in said.out


def test_a_process_that_is_killed_costs_the_head_that_it_was_killed_by_and_no_other(home, monkeypatch, tmp_path):
    settings = load_placed(home / "headrace.toml")

    def order(tenant, lines):
        return tenant, lambda: Order(tenant, lines, None, None, tmp_path / tenant, Target("", "", ""))

    orders = [order("acme", [example(i) for i in range(40)]), order("kills", [example(i) for i in range(30)]),
              order("beta", [example(i) for i in range(40)])]
    several = Several(3)
    monkeypatch.setattr("infra.many_heads._job", killed_by_kills)
    told = list(train_many(settings, settings.rings["en"], orders, Recipe(epochs=1), several))
    assert several.failed == ["kills"] and several.trained == 2
    assert any("kills was not trained: the process that trained it was killed" in line for line in told)


def killed_by_kills(order, *rest):
    if order.tenant == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    return order.tenant


def test_ctrl_c_ends_it_and_the_same_command_goes_on(home):
    for number in range(40):
        (home / "data" / f"t{number}.jsonl").write_text((home / "data" / "acme.jsonl").read_text())
    command = [Path(sys.executable).with_name("headrace"), "head", "train", "data", "--out", "heads", "--epochs", "40"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=home, start_new_session=True)
    first = running.stdout.readline()
    while "was not trained" in first:
        first = running.stdout.readline()
    os.killpg(running.pid, signal.SIGINT)
    rest, _ = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "of 44 tenants trained" not in rest
    assert load_head(home / "heads" / f"{first.partition(':')[0]}-head")
