"""The demo's folder: claimed before anything is written, held by one process, cleared for other settings."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from byteproxy.checksummed import DamagedError, read_checksummed
from byteproxy.config import to_toml
from byteproxy.console import say
from byteproxy.demo.demo_recipe import Demo
from byteproxy.errors import InputError
from byteproxy.files import read_bytes, write_aside
from byteproxy.parsing import MAX_TOML
from byteproxy.study.study_folder import REPORT, RESULTS, held

MIN_FREE = 500 << 20  # bytes: the prepared corpus twice over, checkpoints of two arms, and room to spare
SETTINGS = "demo.toml"  # not that of `byteproxy study`, whose folders are never cleared
BUDGET, COST = "budget.json", "views/cost.json"
NOTES = (BUDGET, COST)
CONVERSION, ARMS, MODEL = "convert", "arms", "model"
_PARTS = (SETTINGS, BUDGET, RESULTS, REPORT, "corpus", "views", CONVERSION, ARMS, MODEL)


@contextmanager
def claimed(out: Path, demo: Demo) -> Iterator[bool]:
    """Hold a folder for a demo; gives whether an earlier, stopped run of the same demo is continued.

    A folder begun with other settings, or finished, is emptied of what a demo writes, and started clean; so is one
    whose notes are damaged, with a line on stderr that says so.
    Raises InputError if the folder holds anything else, is in use, or has no room.
    """
    with held(out, SETTINGS):
        free = shutil.disk_usage(out).free
        if free < MIN_FREE:
            raise InputError(
                f"{out} has {free >> 20} MB free, but a demo needs {MIN_FREE >> 20}: free some, or give another --out"
            )
        settings = to_toml(demo)
        begun = out / SETTINGS
        same = begun.exists() and read_bytes(begun, MAX_TOML) == settings.encode()
        going_on = same and not (out / RESULTS).exists() and not _damaged(out)
        if not going_on:
            _clear(out)
            write_aside(begun, settings.encode())
        yield going_on


def finish(
    results: Mapping[str, Any], out: Path, begin: float, going_on: bool, page: Callable[[Mapping[str, Any], Path], None]
) -> dict[str, Any]:
    """Write the page of a demo, and its results last, which end it.

    begin: of this call, by `time.perf_counter`. page: writes the page of results to a path.
    Returns the results, with how long it took, whether a stopped demo went on, and where the page is.
    """
    whole = {
        **results,
        "resumed": going_on,
        "seconds": round(time.perf_counter() - begin, 1),
        "report": str(out / REPORT),
    }
    page(whole, out / REPORT)
    write_aside(out / RESULTS, json.dumps(whole, indent=1).encode())
    return whole


def _damaged(out: Path) -> bool:
    """Whether something that a stopped demo noted can't be read any more; said if it is."""
    for name in NOTES:
        try:
            read_checksummed(out / name)
        except DamagedError as error:
            say(f"{error}: the demo starts from the beginning")
            return True
    return False


def _clear(out: Path) -> None:
    """Settings go last, so that a kill in between still leaves a folder known as ours."""
    for path in [*out.glob(".*.partial"), *(out / name for name in reversed(_PARTS))]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
