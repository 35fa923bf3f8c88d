"""Conversions that are killed again and again, in a process that forks them: `killed_conversions.py MODEL TEXT FOLDER`.

borders   killed at the beginning and at the end of each stage, and between steps of the training
moments   killed before a call that changes what is on disk, a later one each time

Every child goes on in the folder that the one before was killed in. Prints, as JSON, what each of them was killed at.
"""

import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from tests.convert.tiny import RECIPE, conversion
from tests.train.killed_saves import kill_at

from byteproxy.convert.conversion import Conversion
from byteproxy.convert.run_conversion import run_conversion
from byteproxy.progress import Stage, quietly


def in_a_child(run: Callable[[], None]) -> bool:
    """Whether a forked process came to the end of what it runs; one that is killed doesn't."""
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "it was killed, or went well"
    return not os.WIFSIGNALED(status)


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    model, text, folder = map(Path, sys.argv[1:])
    recipe = replace(RECIPE, run=replace(RECIPE.run, checkpoint_seconds=0.0))
    with contextlib.redirect_stdout(sys.stderr):
        asked = conversion(model, text, recipe)
        run_conversion(asked, folder / "whole")  # all that it imports and compiles is there for those that are forked
        gc.freeze()  # which collect garbage, and would copy all that they looked at
        found = borders(asked, folder / "borders", folder / "told"), moments(asked, folder / "moments")
    print(json.dumps(found))
