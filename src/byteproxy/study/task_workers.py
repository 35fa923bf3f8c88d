"""Tasks of a study one after the other: in this process, or several at a time in processes of their own.

Ctrl-C is the parent's to hear: workers have it blocked, from before they start, and are asked to stop with SIGTERM,
once, which a trainer hears between two steps. A worker whose parent is gone does that by itself.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from byteproxy.errors import InputError
from byteproxy.progress import Stage, quietly
from byteproxy.store.store import Store
from byteproxy.study.one_run import OutOfTimeError, carry_out, score_test
from byteproxy.study.queue import Job


class Task(NamedTuple):
    """A task: what to do with a run."""

    what: Literal["train", "test"]
    job: Job


class Outcome(NamedTuple):
    """The outcome of a task: done; failed, and why; or late, that is stopped and saved when its time was up."""

    task: Task
    state: Literal["done", "failed", "late"]
    why: str = ""


NextTask = Callable[[], Task | None]
"""The next task to begin; None where there is none now: nothing is left, or what is left waits for others."""
OnOutcome = Callable[[Outcome], None]


Do = Callable[[NextTask, OnOutcome, int], None]
"""Does tasks until there is none, or time is up; takes how many there are at most, for progress."""


@contextmanager
def doing(store: Store, jobs: int, until: float | None, stage: Stage) -> Iterator[Do]:
    """Run `jobs` tasks at a time: one in this process, several in processes with a share of the threads each.

    until: when to stop, in seconds of `time.time()`. Processes start when the first tasks come, and stop at the end: on
    Ctrl-C after the step at hand, which is saved.
    """

    def in_time(next_task: NextTask) -> NextTask:
        return lambda: None if until is not None and time.time() > until else next_task()

    if jobs == 1:
        yield lambda next_task, on_outcome, total: _in_turn(in_time(next_task), on_outcome, store, until, stage)
        return
    workers: list[_Worker] = []
    threads = max(1, torch.get_num_threads() // jobs)

    def do(next_task: NextTask, on_outcome: OnOutcome, total: int) -> None:
        while len(workers) < min(jobs, total):
            workers.append(_Worker(store.path, threads, until))
        with stage(f"{jobs} at a time", "runs") as progress:
            _side_by_side(workers, in_time(next_task), on_outcome, lambda done, key: progress(done, total, key))

    try:
        yield do
    finally:
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.process.join()


def _in_turn(next_task: NextTask, on_outcome: OnOutcome, store: Store, until: float | None, stage: Stage) -> None:
    while (task := next_task()) is not None:
        outcome = _done(task, store, until, stage)
        on_outcome(outcome)
        if outcome.state == "late":
            return
        torch.compiler.reset()  # kernels of models that are gone count towards its limit


def _done(task: Task, store: Store, until: float | None, stage: Stage) -> Outcome:
    try:
        if task.what == "train":
            carry_out(task.job, store, until, stage)
        else:
            score_test(task.job, store, stage)
    except OutOfTimeError:
        return Outcome(task, "late")
    except InputError as error:
        return Outcome(task, "failed", str(error))
    except Exception as error:  # the others go on; it is a bug of ours, so its traceback is shown
        traceback.print_exc()
        return Outcome(task, "failed", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    finally:
        gc.collect()  # a run's weights and moments are in cycles, gigabytes of them where it began with a model
    return Outcome(task, "done")


def _side_by_side(
    workers: "list[_Worker]", next_task: NextTask, on_outcome: OnOutcome, progress: Callable[[int, str], None]
) -> None:
    finished, late = 0, False
    while True:
        for worker in workers:
            if worker.task is None and not late and (task := next_task()) is not None:
                worker.give(task)
        if all(worker.task is None for worker in workers):
            return
        for outcome in _heard(workers):
            finished += outcome.state != "late"
            late = late or outcome.state == "late"
            on_outcome(outcome)
            progress(finished, outcome.task.job.key.name)


def _heard(workers: list["_Worker"]) -> Iterator[Outcome]:
    """Wait until some worker has something to say, or is gone."""
    busy = [worker for worker in workers if worker.task is not None]
    wait([place for worker in busy for place in (worker.pipe, worker.process.sentinel)])
    for worker in busy:
        task = worker.task
        assert task is not None, "busy ones have one"
        if worker.pipe.poll():
            try:
                outcome: Outcome = worker.pipe.recv()
            except EOFError:
                worker.process.join()
            else:
                worker.task = None
                yield outcome
                continue
        if not worker.process.is_alive():
            code = worker.process.exitcode
            worker.start()
            yield Outcome(task, "failed", f"its process ended with status {code}; -9 is mostly a lack of memory")


@dataclass
class _Worker:
    """A process and what it is at."""

    corpus: Path
    threads: int
    until: float | None
    task: Task | None = None

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin with a new process."""
        context = multiprocessing.get_context("spawn")
        self.task = None
        self.pipe, theirs = context.Pipe()
        self.process: Any = context.Process(target=_work, args=(theirs, self.corpus, self.threads, self.until))
        with _blocked():
            self.process.start()
        theirs.close()  # so that it is closed for good when the process ends

    def give(self, task: Task) -> None:
        """Let it do a task."""
        self.task = task
        with suppress(OSError):  # if it is gone, that is heard next
            self.pipe.send(task)

    def end(self) -> None:
        """Let it stop: at once where it has nothing to do, else after the step at hand."""
        self.pipe.close()
        if self.task is not None and self.process.is_alive():
            self.process.terminate()


@contextmanager
def _blocked() -> Iterator[None]:
    """While entered, SIGINT waits; a process that is started meanwhile never hears it."""
    resource_tracker.ensure_running()  # Python starts it with the first process, and lets signals through then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, corpus: Path, threads: int, until: float | None) -> None:
    """What a worker does."""
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    torch.set_num_threads(threads)
    store = Store.open(corpus)
    try:
        while True:
            outcome = _done(pipe.recv(), store, until, quietly)
            pipe.send(outcome)
            torch.compiler.reset()
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # no more to do, or asked to stop
    sys.stderr.flush()


def _stop_without_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        time.sleep(1)  # an orderly end closes the pipe first
        os.kill(os.getpid(), signal.SIGTERM)
