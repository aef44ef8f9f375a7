"""What is typed wrongly costs one line that names the flag, before any work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WRONG = [
    ("--epochs", "0", "head", "train", "acme", "x.jsonl"),
    ("--epochs", "1e3", "head", "train", "acme", "x.jsonl"),
    ("--rate", "nan", "head", "train", "acme", "x.jsonl"),
    ("--rate", "-1", "head", "train", "acme", "x.jsonl"),
    ("--seed", "-1", "head", "train", "acme", "x.jsonl"),
    ("--out", "{file}/head", "head", "train", "acme", "x.jsonl"),
    ("--out", "{file}", "head", "train", "acme", "x.jsonl"),
    ("--share", "nan", "head", "canary", "head"),
    ("--deadline", "nan", "predict", "acme", "hello"),
    ("--deadline", "0", "predict", "acme", "hello"),
    ("--watch", "nan", "status"),
    ("--watch", "inf", "lag"),
    ("--metrics-port", "70000", "up"),
    ("--port", "-1", "scaler"),
    ("--metrics-port", "x", "lag"),
    ("--wait", "inf", "cell", "add", "b"),
    ("--floor", "nan", "encoder", "quantize", "nosuch"),
    ("--rate", "nan", "topics", "cost"),
    ("--gb-price", "-inf", "topics", "cost"),
    ("--hours", "nan", "scale", "simulate"),
    ("--json", "{folder}", "scale", "simulate"),
    ("--plot", "{file}/p.png", "scale", "simulate"),
    ("--last", "0", "scale", "history"),
    ("--workers", "-1", "backfill", "run"),
    ("--share", "nan", "backfill", "run"),
    ("--max-per-s", "nan", "backfill", "run"),
    ("--report", "{folder}", "backfill", "run"),
    ("--of", "0", "backfill", "work", "job"),
    ("--limit", "0", "backfill", "compare", "acme@v1", "acme@v2"),
    ("--report", "{folder}/none/page.html", "backfill", "compare", "acme@v1", "acme@v2"),
    ("--max-per-s", "0", "dead-letters", "replay"),
    ("--limit", "-3", "dead-letters", "list"),
    ("--tenants", "nan", "plan", "--tps", "1"),
    ("--tps", "nan", "plan", "--tenants", "1"),
]
# One process for all of them: a second of imports each would be half a minute.
RUN = """
import sys
from pathlib import Path
from infra.cli.main import main
for line in sys.stdin.read().splitlines():
    print("::", file=sys.stderr, flush=True)
    try:
        code = main(line.split(" "))
    except SystemExit as ended:
        code = ended.code
    print(code)
"""


def test_every_flag_with_a_wrong_value_is_named_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    lines = [" ".join([*command, f"{flag}={value}"]).format(file=tmp_path / "file", folder=tmp_path)
             for flag, value, *command in WRONG]
    done = subprocess.run([sys.executable, "-c", RUN], input="\n".join(lines), capture_output=True, text=True,
                          timeout=120, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    said = done.stderr.split("::\n")[1:]
    assert done.stdout.split() == ["2"] * len(WRONG), done.stdout + done.stderr
    for (flag, *_), line, text in zip(WRONG, lines, said, strict=True):
        assert text.count("\n") == 1 and flag in text, (line, text)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_told_before_training(tmp_path):
    tmp_path.chmod(0o500)
    command = [sys.executable, "-m", "infra.cli", "head", "train", "acme", "x", "--out", str(tmp_path / "head")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "permission denied" in done.stderr) == (2, True)
