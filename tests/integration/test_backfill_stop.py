"""`headrace backfill run` before there is a broker: Ctrl-C ends it, and paths mean the same from everywhere."""

import signal
import subprocess
import sys

from infra.cli.backfill import _anywhere

CONFIG = """
[broker]
kind = "external"
bootstrap = "127.0.0.1:9"
[redis]
kind = "external"
url = "redis://127.0.0.1:9/0"
[rings.en]
languages = ["en"]
encoder = "x"
[rings.en.cells.a]
"""
WAITS = """
import asyncio.unix_events as events, infra.cli.main as main, sys
loop, add = events._UnixSelectorEventLoop, events._UnixSelectorEventLoop.add_signal_handler
def listening(*args):
    add(*args)
    print("ready", flush=True)
loop.add_signal_handler = listening
sys.exit(main.main())
"""


def test_ctrl_c_ends_a_run_that_waits_for_its_broker(tmp_path):
    config = tmp_path / "headrace.toml"
    config.write_text(CONFIG)
    command = [sys.executable, "-c", WAITS, "--config", str(config), "backfill", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        told = process.stdout.read()
        assert process.wait(30) == 130 and "the same command goes on" in told


def test_a_directory_is_named_so_that_a_job_may_go_on_from_another_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _anywhere("out") == str(tmp_path / "out") and _anywhere("calls-*.jsonl") == str(tmp_path / "calls-*.jsonl")
    assert _anywhere("s3://bucket/out") == "s3://bucket/out" and _anywhere("/out") == "/out"
