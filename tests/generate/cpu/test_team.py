"""Threads that run one function: each step sees all of the step before, and trouble leaves nobody waiting."""

import os
import threading

import numba as nb
import numpy as np
import pytest
from tests.waiting import GUARD_SECONDS, until

from byteproxy.generate.cpu.team import meet, run_parallel, share


@nb.njit(cache=True, nogil=True)
def waves(values, steps, worker, workers, sync):
    """Each step every value becomes the sum of all, modulo a prime; worker by worker from one array to the other."""
    other = values.shape[1]
    for step in range(steps):
        begin, end = share(other, worker, workers)
        total = 0
        for index in range(other):
            total += values[step % 2, index] * (index + 1)
        for index in range(begin, end):
            values[(step + 1) % 2, index] = (total + index) % 7919
        meet(sync, workers)
    return values[steps % 2].copy()


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_every_step_sees_all_of_the_step_before(workers):
    start = np.arange(34).reshape(2, 17)
    wanted = run_parallel(waves, (start.copy(), 600), 1)
    for _ in range(3):
        assert (run_parallel(waves, (start.copy(), 600), workers) == wanted).all()
    assert len(set(wanted.tolist())) == 17


def test_callers_take_turns():
    start, found = np.arange(34).reshape(2, 17), []
    callers = [
        threading.Thread(target=lambda: found.append(run_parallel(waves, (start.copy(), 500), 2))) for _ in range(4)
    ]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    wanted = run_parallel(waves, (start.copy(), 500), 1)
    assert len(found) == 4
    assert all((one == wanted).all() for one in found)


@nb.njit(cache=True, nogil=True)
def waited(sync, workers):
    meet(sync, workers)


def gone(before):
    """Whether there are as few threads again."""
    return until(lambda: threading.active_count() <= before)


def test_an_interrupt_leaves_nobody_waiting():
    before, there, left = threading.active_count(), threading.Event(), threading.Event()

    def job(worker, workers, sync):
        if worker == 0:
            assert there.wait(GUARD_SECONDS)
            raise KeyboardInterrupt
        there.set()
        waited(sync, workers)
        left.set()

    with pytest.raises(KeyboardInterrupt):
        run_parallel(job, (), 4)
    assert left.wait(GUARD_SECONDS)
    assert gone(before)
    start = np.arange(34).reshape(2, 17)
    assert (run_parallel(waves, (start.copy(), 50), 4) == run_parallel(waves, (start.copy(), 50), 1)).all()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_fails_is_no_result_and_no_wait():
    before = threading.active_count()

    def job(worker, workers, sync):
        if worker == 1:
            raise MemoryError
        waited(sync, workers)
        return "half of it"

    with pytest.raises(RuntimeError, match="a thread of a pass failed"):
        run_parallel(job, (), 6)
    assert gone(before)
    start = np.arange(34).reshape(2, 17)
    assert (run_parallel(waves, (start.copy(), 50), 6) == run_parallel(waves, (start.copy(), 50), 1)).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    start = np.arange(34).reshape(2, 17)
    wanted = run_parallel(waves, (start.copy(), 50), 2)
    child = os.fork()
    if child == 0:
        os._exit(0 if (run_parallel(waves, (start.copy(), 50), 2) == wanted).all() else 1)
    ended = []
    try:
        until(lambda: ended.append(os.waitpid(child, os.WNOHANG)) or ended[-1][0])
    finally:
        if not ended[-1][0]:
            os.kill(child, 9)
            os.waitpid(child, 0)
    assert ended[-1] == (child, 0)
