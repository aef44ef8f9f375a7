"""What the state directory of a running stack tells of its processes."""

import subprocess
import sys
import time

import pytest

from infra.stack.supervise import Supervisor, is_running, processes_of

PARENT = """
import subprocess, sys
from infra.stack.supervise import die_with_parent
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], preexec_fn=die_with_parent())
print(child.pid, flush=True)
child.wait()
"""
LATE = """
import os
from infra.stack.supervise import die_with_parent
mark = die_with_parent()
if os.fork() == 0:  # whose own child has another parent than `mark` was made by: as where that one is gone
    if os.fork() == 0:
        mark()
        print("goes on")
    os.wait()
    os._exit(0)
os.wait()
"""


def test_the_state_directory_tells_what_runs_and_how_often_it_was_restarted(tmp_path):
    assert processes_of(tmp_path) == []
    supervisor = Supervisor(tmp_path)
    try:
        child = supervisor.start("worker", [sys.executable, "-c", "import signal; signal.pause()"])
        (first,) = processes_of(tmp_path)
        assert (first.name, first.pid, first.restarts, first.running) == ("worker", child.process.pid, 0, True)
        child.process.kill()
        child.process.wait()
        assert not processes_of(tmp_path)[0].running
        (line,) = supervisor.told(supervisor.restart_ended())
        assert "killed by signal 9" in line, "it could not say so itself"
        (second,) = processes_of(tmp_path)
        assert (second.pid, second.restarts, second.running) == (child.process.pid, 1, True)
        assert second.started_s > first.started_s
    finally:
        supervisor.stop()
    assert processes_of(tmp_path) == []


def test_a_process_that_ends_again_and_again_is_told_of_once_until_it_was_ready(tmp_path):
    supervisor = Supervisor(tmp_path)
    try:
        child = supervisor.start("worker", [sys.executable, "-c", "print('the broker is away'); raise SystemExit(75)"])
        told = []
        for ready in (False, False, False, True, False):
            child.process.wait(60)
            if ready:
                child.ready.touch()
            told.append(supervisor.told(supervisor.restart_ended()))
        said = ["restarted: worker (its last line: 'the broker is away')"]
        assert told == [said, [], [], said, []]
    finally:
        supervisor.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="left out: only Linux tells a child that its parent is gone")
def test_a_child_ends_with_its_parent_also_where_that_was_killed_or_was_gone_already():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 60
    while is_running(child):
        assert time.monotonic() < end
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
