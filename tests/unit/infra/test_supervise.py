"""What the state directory of a running stack tells of its processes."""

import sys

from infra.stack.supervise import Supervisor, processes_of


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
        supervisor.restart_ended()
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
