"""What rank 0 writes into a run's folder while it goes on: its metrics, and what is known of steps that weren't taken.

What can't be written ends the run, on all ranks: why it can't is kept until they hear of it (`RunLog.problem`).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.lock import Hold
from byteproxy.train import parallel
from byteproxy.train.metrics import Metrics


class RunLog:
    """The log of a run in a folder. problem: why it can't be written any more, the first time; None where it can."""

    def __init__(self, folder: Path) -> None:
        self.problem: str | None = None
        self._folder = folder
        self._opened: tuple[Hold, Metrics] | None = None

    @contextmanager
    def opened(self, hold: Hold, step: int, tensorboard: bool) -> Iterator[None]:
        """While entered, rank 0 has the metrics open at a step: lines of later steps are dropped."""
        if parallel.world().rank:
            yield
            return
        metrics = Metrics(self._folder, step, tensorboard)
        self._opened = hold, metrics
        try:
            yield
        finally:
            self._opened = None
            metrics.close()

    def write(self, values: dict[str, Any]) -> None:
        """A line of the metrics; where it can't be written the run stops after this step, on all ranks."""
        with self._noting_problems():
            if self._opened is not None:
                hold, metrics = self._opened
                hold.ensure_there()
                metrics.write(values)

    def not_taken(self, step: int, values: dict[str, Any]) -> None:
        """Keep what there is to know of a step, in `skipped/`."""
        if self._folder.is_dir():  # or the line of the metrics, which comes next, has more to say
            with self._noting_problems():
                write_aside(self._folder / "skipped" / f"step-{step:06d}.json", json.dumps(values, indent=1).encode())

    def sync(self) -> None:
        """Make all lines outlast a power cut; InputError, on all ranks, where they can't or the folder went away."""
        with self._noting_problems():
            if self._opened is not None:
                hold, metrics = self._opened
                hold.ensure_there()
                metrics.sync()
        ensure_none(parallel.from_rank_zero(self.problem))

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            self.problem = self.problem or str(error)


def ensure_none(problem: str | None) -> None:
    """InputError with a problem, if there is one."""
    if problem is not None:
        raise InputError(problem)
