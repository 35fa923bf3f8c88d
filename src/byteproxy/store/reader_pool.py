"""Processes that read for a run and end with it.

They are spawned, because forking a process with threads is unsafe; each costs its imports. Each watches a pipe whose
other end only the run holds, so it ends at once when the run ends or is killed. They share the run's lock on the
folder, so nobody else writes there meanwhile.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from byteproxy.corpus.records import Unit
from byteproxy.errors import InputError
from byteproxy.progress import Progress
from byteproxy.store.staging import Staged, Staging

TELL_SECONDS = 0.1
_held: list[object] = []  # what must stay open as long as the process lives
_behind: list[Any] = []  # in a process of the pool, the shared array


def stage_units(
    units: Sequence[Unit],
    staging: Staging,
    workers: int,
    lock: int,
    take: Callable[[Staged], None],
    progress: Progress,
) -> None:
    """Stage every unit, in this process or in several; `take` gets what each became, in the units' order.

    lock: the descriptor of the folder's lock. progress: bytes read from disk, of all, with the records so far.
    """
    waiting: dict[int, Staged] = {}
    taken = 0
    with closing(_as_staged(units, staging, workers, lock, _ProgressBoard(units, progress))) as results:
        for number, staged in results:
            waiting[number] = staged
            while taken in waiting:
                take(waiting.pop(taken))
                taken += 1


class _ProgressBoard:
    """How far each unit is, as those that read say it: int64 [units, 2], bytes and records, in shared memory."""

    def __init__(self, units: Sequence[Unit], progress: Progress) -> None:
        self.total, self.progress = sum(unit.size for unit in units), progress
        self.shared = multiprocessing.get_context("spawn").RawArray("q", 2 * max(1, len(units)))
        self._behind = np.frombuffer(self.shared, np.int64).reshape(-1, 2)
        self._begin, self._shown_at = time.monotonic(), 0.0

    def tell(self, number: int, size: int, records: int) -> None:
        """What a unit that is read in this process says."""
        self._behind[number] = size, records
        if time.monotonic() - self._shown_at > TELL_SECONDS:
            self.show()

    def show(self) -> None:
        """Report what all have said."""
        self._shown_at = time.monotonic()
        size, records = self._behind.sum(axis=0).tolist()
        rate = records / max(self._shown_at - self._begin, 1e-3)
        self.progress(size, self.total, f"{records:,} documents, {rate:,.0f}/s")


def _as_staged(
    units: Sequence[Unit], staging: Staging, workers: int, lock: int, progress_board: _ProgressBoard
) -> Generator[tuple[int, Staged], None, None]:
    """The number of each unit, when it is staged, with what it became."""
    workers = min(workers, len(units))
    if workers <= 1:
        for number, unit in enumerate(units):
            yield number, staging.stage(number, unit, partial(progress_board.tell, number))
        progress_board.show()
        return
    begun: dict[Future[Staged], int] = {}
    following = enumerate(units)
    with pool(workers, lock, progress_board.shared) as executor:
        while True:
            for number, unit in islice(following, 2 * workers - len(begun)):
                begun[executor.submit(_stage, staging, number, unit)] = number
            if not begun:
                return
            done = wait(begun, TELL_SECONDS, FIRST_COMPLETED).done
            progress_board.show()
            for future in done:
                yield begun.pop(future), _result(future)


def _stage(staging: Staging, number: int, unit: Unit) -> Staged:
    """Stage a unit in a process of the pool."""
    behind = np.frombuffer(_behind[0], np.int64).reshape(-1, 2)

    def tell(size: int, records: int) -> None:
        behind[number] = size, records

    return staging.stage(number, unit, tell)


def _result(future: Future[Staged]) -> Staged:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a process that read sources was ended from outside, for lack of memory perhaps: run again to go on from "
            "here, with fewer workers"
        ) from error


@contextmanager
def pool(workers: int, lock: int, behind: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that share the lock; left by an exception, they end in the middle of what they do.

    behind: a shared array in which they say how far they are.
    """
    context = multiprocessing.get_context("spawn")
    watched, ours = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(workers, context, partial(_begin, watched, _Shared(lock), behind))
    with watched, ours:
        try:
            yield executor
            executor.shutdown()
        finally:
            ours.close()
            executor.shutdown(cancel_futures=True)


class _Shared:
    """A file descriptor that a spawned process inherits as an integer: the same open file, and so the same lock."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _detached, (reduction.DupFd(self.descriptor),)


def _detached(inherited: Any) -> int:
    return inherited.detach()


def _begin(watched: Connection, lock: object, behind: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which then lets go of the pipe
    _held.append(lock)
    _behind.append(behind)
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
    # There are as many processes as there should be threads.
    numba.set_num_threads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _end_with(watched: Connection) -> None:
    watched.poll(None)  # nothing is ever sent: ready means closed
    os._exit(1)
