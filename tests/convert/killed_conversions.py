"""Conversions that are killed again and again, in forks.

borders   killed at the beginning and at the end of each stage, and between steps of the training
moments   killed before a call that changes what is on disk, a later one each time

Every child goes on in the folder that the one before was killed in.
"""

import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from tests.forks import begun, ended
from tests.train.killed_saves import kill_at

from byteproxy.convert.conversion import Conversion
from byteproxy.convert.run_conversion import run_conversion
from byteproxy.progress import Stage, quietly


def in_a_child(run: Callable[[], None]) -> bool:
    """Whether a forked process came to the end of what it runs; one that is killed doesn't."""
    status = ended(begun(run))
    assert status <= 0, "it was killed, or went well"
    return status == 0


def killing(seen: set[str], told: Path) -> Stage:
    """Stages that kill this process at the first border that is not among those seen, after telling which."""

    def passes(border: str) -> None:
        if border not in seen:
            told.write_text(border)
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def stage(what, unit):  # type: ignore[no-untyped-def]
        passes(f"before: {what}")

        def progress(done, total, note=""):  # type: ignore[no-untyped-def]
            if what == "train":
                passes(f"step {done}")

        yield progress
        passes(f"after: {what}")

    return stage


def borders(asked: Conversion, out: Path, told: Path) -> list[str]:
    """The borders at which a conversion was killed, until it came to its end."""
    seen: dict[str, None] = {}
    for _ in range(200):
        if in_a_child(lambda: run_conversion(asked, out, stage=killing(set(seen), told)) and None):
            return list(seen)
        seen[told.read_text()] = None
    raise AssertionError("it never came to its end")


def moments(asked: Conversion, out: Path) -> list[int]:
    """The moments at which a conversion was killed, until it came to its end."""
    killed = []
    for moment in range(1, 400, 7):

        def run(moment: int = moment) -> None:
            kill_at(moment)
            run_conversion(asked, out, stage=quietly)

        if in_a_child(run):
            return killed
        killed.append(moment)
    raise AssertionError("it never came to its end")
