"""The `headrace` command as a user types it: files in, text and exit codes out."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration


def headrace(*args, stdin="", cwd=None):
    command = [sys.executable, "-m", "infra.cli", *args]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, cwd=cwd)


def test_init_writes_a_file_that_config_check_accepts(tmp_path):
    place = str(tmp_path / "headrace.toml")
    assert headrace("--config", place, "init").returncode == 0
    done = headrace("--config", place, "config", "check")
    assert (done.returncode, "1 ring, 1 cell" in done.stdout) == (0, True), done.stderr
    assert headrace("--config", place, "init").returncode == 2


def test_config_check_names_the_line(tmp_path):
    place = tmp_path / "headrace.toml"
    place.write_text('[rings.en]\nlanguages = ["en"]\nencoder = "x"\npartitions = "four"\n[rings.en.cells.a]\n')
    done = headrace("--config", str(place), "config", "check")
    assert done.returncode == 2
    assert "4" in done.stderr and "partitions" in done.stderr


def test_predict_without_a_stack_says_how_to_start_one(tmp_path):
    place = str(tmp_path / "headrace.toml")
    headrace("--config", place, "init")
    done = headrace("--config", place, "predict", "acme", "hello")
    assert done.returncode == 2
    assert "headrace up" in done.stderr


def test_bad_training_lines_are_named(tmp_path):
    place, data = str(tmp_path / "headrace.toml"), tmp_path / "data.jsonl"
    headrace("--config", place, "init")
    good = json.dumps({"text": "on", "intent": "on"})
    bad = json.dumps({"text": "on", "intent": "on", "entities": [{"start": 1, "end": 9, "label": "x"}]})
    data.write_text(f"{good}\n{{\n{bad}\n")
    done = headrace("--config", place, "head", "train", "acme", str(data))
    assert done.returncode == 2
    assert f"{data}:2:" in done.stderr and f"{data}:3:" in done.stderr


@pytest.mark.parametrize("module", ["torch", "transformers", "faust"])
def test_importing_the_client_pulls_nothing_heavy(module):
    code = f"import headrace, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_what_is_not_there_is_one_line_without_a_traceback(tmp_path):
    for args, code in (
        (("encoder", "fetch", "nosuch"), 2), (("--config", str(tmp_path / "none" / "headrace.toml"), "init"), 1)
    ):
        done = headrace(*args)
        (line,) = done.stderr.splitlines()
        assert done.returncode == code and line.startswith("headrace: ") and ("nosuch" in line or "none" in line)


def test_a_broker_that_is_away_is_told_in_one_line(tmp_path):
    place = tmp_path / "headrace.toml"
    place.write_text(
        '[broker]\nkind = "external"\nbootstrap = "127.0.0.1:1"\n[redis]\nkind = "external"\n'
        'url = "redis://127.0.0.1:1/0"\n[rings.en]\nlanguages = ["en"]\nencoder = "x"\n[rings.en.cells.a]\n'
    )
    code = (
        "import sys; from topology.pacing import PACING; object.__setattr__(PACING, 'admin_connect_s', 0.5); "
        f"from infra.cli.main import main; sys.exit(main(['--config', {str(place)!r}, 'topics', 'apply']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and "127.0.0.1:1" in line
