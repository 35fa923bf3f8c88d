"""Threads that run one compiled function together, each a share of it, and wait for each other between its steps.

A pass has some six steps a layer, each of some microseconds up to a millisecond, so threads wait by looking at a number
in memory, and let others run if that takes long. They are started once, and sleep when there is no job for a while. A
compiled function that is to run so takes (worker, workers, sync) last, releases Python's lock, ends with a meeting, and
gives the same whatever `workers` is.
"""

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from byteproxy.jit import nb

_LOOKS = 2000  # before others may run
_GENERATION = 8  # its place in `sync`, on another line of memory than the count of who is there
_LEFT = 16  # that of whether the others are to be waited for no more
_JOBS = 24  # and that of how many jobs there were
_PATIENCE = 300_000  # looks for a next job, some tenths of a millisecond, before a worker sleeps


def run_parallel(function: Callable[..., Any], arguments: tuple, workers: int) -> Any:
    """What a compiled function gives, run by so many threads; one at a time, whoever calls."""
    if workers == 1:
        return function(*arguments, 0, 1, np.zeros(1, np.int64))
    team = _team(workers)
    with team.lock:
        return team.run(function, arguments)


class _Team:
    """Threads beside the one that calls. Each has a lock that is opened for every job.

    A function ends with a meeting, so nobody is waited for after it; a worker that is late finds its next job there.
    """

    def __init__(self, workers: int) -> None:
        self.lock = threading.Lock()
        self._workers = workers
        self._jobs: list[tuple[Callable[..., Any], tuple] | None] = [None] * workers
        self._sync = np.zeros(4 * _GENERATION, np.int64)
        self._begin = [threading.Lock() for _ in range(workers)]
        for number in range(1, workers):
            self._begin[number].acquire()
            threading.Thread(target=self._work, args=(number,), name=f"byteproxy-{number}", daemon=True).start()

    def run(self, function: Callable[..., Any], arguments: tuple) -> Any:
        try:
            for number in range(1, self._workers):
                self._jobs[number] = (function, arguments)
                self._begin[number].release()
            _announce(self._sync)
            found = function(*arguments, 0, self._workers, self._sync)
            if self._sync[_LEFT]:
                raise RuntimeError("a thread of a pass failed, so what the others computed is worth nothing")
            return found
        except BaseException:  # or an interrupt: nobody knows who is where, so the next call gets other threads
            _team.cache_clear()
            self._sync[_LEFT] = 1
            for one in self._begin[1:]:  # those that sleep wake up and end
                if one.locked():
                    one.release()
            raise

    def _work(self, number: int) -> None:
        taken = 0
        while not self._sync[_LEFT]:
            _await_job(self._sync, taken)
            self._begin[number].acquire()
            taken += 1
            job, self._jobs[number] = self._jobs[number], None
            try:
                if job is not None:
                    job[0](*job[1], number, self._workers, self._sync)
            except BaseException:
                self._sync[_LEFT] = 1  # so that nobody waits for this one
                raise
            del job


@cache
def _team(workers: int) -> _Team:
    return _Team(workers)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_team.cache_clear)  # a child has none of these threads


@nb.njit(cache=True)
def share(count, worker, workers):  # type: ignore[no-untyped-def]
    """From where to before where of `count` things this worker's are."""
    return count * worker // workers, count * (worker + 1) // workers


@nb.njit(cache=True)
def meet(sync, workers):  # type: ignore[no-untyped-def]
    """Wait until all workers are here. What each wrote before, all see after."""
    if workers == 1:
        return
    generation = _read(sync, _GENERATION)
    if _added(sync, 0, 1) == workers - 1:
        _added(sync, 0, -workers)
        _added(sync, _GENERATION, 1)
        return
    looks = 0
    while _read(sync, _GENERATION) == generation:
        looks += 1
        if looks > _LOOKS:
            if _read(sync, _LEFT):
                return
            _let_others()


@nb.njit(cache=True, nogil=True)
def _announce(sync):  # type: ignore[no-untyped-def]
    _added(sync, _JOBS, 1)


@nb.njit(cache=True, nogil=True)
def _await_job(sync, taken):  # type: ignore[no-untyped-def]
    """Look out for a job after those taken, for a while: waking up takes longer than most of a pass."""
    for _ in range(_PATIENCE):
        if _read(sync, _JOBS) > taken:
            return


def _at(context, builder, kind, array, index):  # type: ignore[no-untyped-def]
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


@intrinsic
def _read(typing, array, index):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place = _at(context, builder, array, arguments[0], context.cast(builder, arguments[1], index, types.int64))
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(array, index), generate


@intrinsic
def _added(typing, array, index, number):  # type: ignore[no-untyped-def]
    """Add to a number in memory; gives what it was."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        index_at, added = (
            context.cast(builder, one, kind, types.int64)
            for one, kind in zip(arguments[1:], (index, number), strict=True)
        )
        return builder.atomic_rmw("add", _at(context, builder, array, arguments[0], index_at), added, "seq_cst")

    return types.int64(array, index, number), generate


@intrinsic
def _let_others(typing):  # type: ignore[no-untyped-def]
    """Let another thread have this core, where the system has a function for that."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        if os.name == "posix":
            function = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate
