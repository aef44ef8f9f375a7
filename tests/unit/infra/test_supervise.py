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
