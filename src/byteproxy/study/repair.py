"""Find damaged files of a study before anything reads them, and set them aside so that they are made again.

A run with damaged scores is scored again from its checkpoint. A run without its figures goes on from its newest
checkpoint, or from its start. What is known from elsewhere is written again at once.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from byteproxy.checksummed import MAX_BYTES, DamagedError, known, read_checksummed, write_checksummed
from byteproxy.files import read_bytes, write_aside
from byteproxy.study.run_files import BEGUN, FAILED, RESULT, SEALED, VIEWER, scores_file
from byteproxy.study.study_folder import CACHE, RUNS
from byteproxy.train.run_config import CONFIG, as_written

_AGAIN = {
    BEGUN: "it is looked up in the run's other files",
    RESULT: "the run is scored again from its checkpoint; without one it is trained again",
    FAILED: "the run is tried again",
    SEALED: "the run can't be scored on the test split, unless its folder is deleted and it is trained again",
    VIEWER: "the excerpts are scored again",
    scores_file("validation"): "the run is scored again",
    scores_file("test"): "the run is scored on the test split again, which was opened for it",
}


def damaged(out: Path) -> Iterator[tuple[Path, str]]:
    """The damaged files in a study's folder, each with what becomes of it when the study is run."""
    for path in sorted((out / RUNS).glob("*/*.json")):
        if path.name in _AGAIN and _is_damaged(path):
            yield path, _AGAIN[path.name]
    for path in sorted((out / CACHE).glob("*.json")):
        if _is_damaged(path):
            yield path, "what it remembered is worked out again"


def _is_damaged(path: Path) -> bool:
    try:
        read_checksummed(path)
    except DamagedError:
        return True
    return False


def repair(out: Path, say: Callable[[str], None]) -> None:
    """Set damaged files aside as NAME.damaged, with a line for each. The caller holds the folder.

    Of a run that is done, what it began with and its configuration are written again if they are damaged or gone.
    """
    for path, again in damaged(out):
        os.replace(path, path.with_name(f"{path.name}.damaged"))
        say(f"{path} is damaged, or of an earlier version: {again}")
    for path in sorted((out / RUNS).glob("*/.*.partial")):  # of a process that was killed while it wrote
        path.unlink(missing_ok=True)
    for folder in sorted((out / RUNS).glob("*")):
        _restore(folder, say)


def _restore(folder: Path, say: Callable[[str], None]) -> None:
    result = known(folder / RESULT)
    if result is None:
        return
    if known(folder / BEGUN) is None:
        write_checksummed(folder / BEGUN, result["begun"])
    config, written = folder / CONFIG, as_written(result["config"])
    if not config.exists() or read_bytes(config, MAX_BYTES) != written:
        write_aside(config, written)
        say(f"{config} was altered: it is written again as the run was trained")
