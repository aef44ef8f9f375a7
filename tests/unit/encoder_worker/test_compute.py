"""The batches of a call, from two ends."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from encoder_worker.compute import Computed, Shared

DEADLINE_S = 10


@pytest.fixture
def mate():
    with ThreadPoolExecutor(1) as pool:
        yield pool


class Bench:
    """Computes batches, and remembers which thread did; the mate waits before each until it is `let`."""

    def __init__(self):
        self.let, self.begun = threading.Semaphore(0), threading.Semaphore(0)
        self.here, self.there = [], []

    def __call__(self, batch):
        if threading.current_thread() is threading.main_thread():
            self.here.append(batch)
        else:
            self.begun.release()
            assert self.let.acquire(timeout=DEADLINE_S)
            self.there.append(batch)
        return Computed(batch, None, 0.0, 0.0, 0)


def batches_of(computed):
    return [one.batch for one in computed]


async def test_the_loop_takes_the_front_and_the_thread_the_back(mate):
    bench = Bench()
    shared = Shared(["a", "b"], bench, mate)
    assert bench.begun.acquire(timeout=DEADLINE_S)
    assert shared.more and batches_of(shared.take()) == ["a"]
    assert not shared.more and shared.waits
    bench.let.release()
    assert batches_of(await shared.rest()) == ["b"]
    assert (bench.here, bench.there) == (["a"], ["b"])


async def test_the_last_of_many_is_left_to_the_thread(mate):
    bench = Bench()
    shared = Shared(["a", "b", "c", "d"], bench, mate)
    assert bench.begun.acquire(timeout=DEADLINE_S)  # with d
    assert batches_of(shared.take()) == ["a"] and batches_of(shared.take()) == ["b"]
    assert not shared.more and shared.waits
    bench.let.release(2)
    assert sorted(batches_of(await shared.rest())) == ["c", "d"]


async def test_what_the_thread_has_computed_is_given_with_the_loops_next(mate):
    bench = Bench()
    shared = Shared(["a", "b", "c", "d"], bench, mate)
    bench.let.release()
    for _ in "dc":
        assert bench.begun.acquire(timeout=DEADLINE_S)
    assert batches_of(shared.take()) == ["a", "d"]
    bench.let.release()
    shared.stop()
    assert batches_of(await shared.rest()) == ["c"]
    assert bench.here == ["a"]  # b was begun by nobody after the stop


async def test_a_thread_that_is_busy_elsewhere_is_not_waited_for(mate):
    busy = threading.Event()
    mate.submit(busy.wait, DEADLINE_S)
    bench = Bench()
    shared = Shared(["a", "b"], bench, mate)
    assert batches_of(shared.take()) + batches_of(shared.take()) == ["a", "b"]
    assert not shared.more and not shared.waits
    busy.set()
    mate.shutdown()
    assert bench.there == []


async def test_what_goes_wrong_on_the_thread_is_raised_to_who_waits(mate):
    begun = threading.Event()

    def compute(batch):
        begun.set()
        if batch == "b":
            raise ValueError("no such token")
        return Computed(batch, None, 0.0, 0.0, 0)

    shared = Shared(["a", "b"], compute, mate)
    assert begun.wait(DEADLINE_S)
    assert batches_of(shared.take()) == ["a"]
    assert shared.waits
    with pytest.raises(ValueError, match="no such token"):
        await shared.rest()
