"""A study's folder, which one study at a time may work in.

study.toml     the recipe of the last call             corpus/      the prepared corpus, unless the recipe has a path
runs/KEY/      a run each: config.toml, metrics.jsonl, checkpoints/ (of final runs the newest), and see `run_files`
results.json   all figures                             runs.csv     a row for each run
report.html    the same for people                     opened.jsonl each time that the test split was opened
model.json, tokenizer.json, references.json            of a study of a model: which, and what it costs untrained
.cache/        what can be made again: plans, rates, the projects of the splits, plain compressors

Files that a study reads again carry a checksum (`checksummed`). results.json, runs.csv and report.html are rewritten by
each call and never read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from byteproxy import lock
from byteproxy.checksummed import known, write_checksummed
from byteproxy.config import to_toml
from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.lock import LOCK
from byteproxy.study.recipe import StudyRecipe

SETTINGS, RESULTS, TABLE, REPORT, OPENED = "study.toml", "results.json", "runs.csv", "report.html", "opened.jsonl"
RUNS, CACHE = "runs", ".cache"


@contextmanager
def claimed(out: Path, recipe: StudyRecipe) -> Iterator[None]:
    """Hold a folder for a study, and leave its recipe there.

    What was done with another recipe stays: each run knows what it was made with. Raises InputError if the folder holds
    anything else or is in use.
    """
    with held(out, SETTINGS):
        write_aside(out / SETTINGS, to_toml(recipe).encode())
        yield


@contextmanager
def held(out: Path, settings: str) -> Iterator[None]:
    """Hold a folder that is new, empty, or has a file of that name, which whoever holds it leaves there first.

    Raises InputError if the folder holds anything else or is in use.
    """
    _refuse_strangers(out, settings)
    with lock.held(out):
        yield


def _refuse_strangers(out: Path, settings: str) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file: give a folder as --out")
    found = {path.name for path in out.iterdir() if path.name != LOCK and not _begun(path.name, settings)}
    if found and settings not in found:
        raise InputError(f"{out} is neither empty nor a run of byteproxy: give another --out")


def _begun(name: str, settings: str) -> bool:
    """Whether a file is what a killed run was writing its settings to."""
    return name.startswith(f".{settings}.") and name.endswith(".partial")


class Notes:
    """Answers that cost time, kept in a folder's cache by a key; each name is a file of its own."""

    def __init__(self, out: Path, name: str) -> None:
        self._path = out / CACHE / f"{name}.json"
        self._known: dict[str, Any] = known(self._path) or {}

    def get(self, key: str) -> Any:
        """What was noted, or None."""
        return self._known.get(key)

    def put(self, key: str, value: Any) -> None:
        """Note something that JSON can hold."""
        self._known[key] = value
        write_checksummed(self._path, self._known)
