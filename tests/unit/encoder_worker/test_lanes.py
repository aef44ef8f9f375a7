import time
from threading import Lock

from encoder_worker.lanes import MOST, lanes_worth


def test_work_that_only_one_thread_can_do_gets_one_lane():
    lock = Lock()

    def alone() -> None:
        with lock:
            time.sleep(0.002)  # the work itself: it takes as long whatever else this machine computes meanwhile

    assert lanes_worth(alone) == 1


def test_there_are_never_more_lanes_than_processors():
    import os

    assert 1 <= lanes_worth(lambda: sum(range(2_000))) <= min(MOST, os.cpu_count() or 1)
