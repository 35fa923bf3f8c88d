"""A study's folder: never somebody else's, never two studies at a time, never two mixed."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from byteproxy.config import to_toml
from byteproxy.demo.recipe import Study
from byteproxy.errors import InputError
from byteproxy.store.format import write_whole

LEAST_FREE = 500 << 20  # bytes: the prepared corpus twice over, checkpoints of two arms, and room to spare
_SETTINGS, _RESULTS, _LOCK = "study.toml", "results.json", ".lock"
_PARTS = (_SETTINGS, "budget.json", _RESULTS, "report.html", "corpus", "views", "arms", "model")


@contextmanager
def claimed(out: Path, study: Study) -> Iterator[bool]:
    """Hold a folder for a study; gives whether an earlier, stopped run of the same study is continued.

    A folder begun with other settings, or finished, is emptied of what a study writes, and started clean.
    Raises InputError if the folder holds anything else, is in use, or has no room.
    """
    _refuse_strangers(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out).free
        if free < LEAST_FREE:
            raise InputError(
                f"{out} has {free >> 20} MB free, but a study needs {LEAST_FREE >> 20}: "
                "free some, or give another --out"
            )
        lock = (out / _LOCK).open("a")
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; give another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out} is in use by another run: wait for it, or give another --out") from None
        settings = to_toml(study)
        begun = out / _SETTINGS
        same = begun.exists() and begun.read_text(encoding="utf-8") == settings
        going_on = same and not (out / _RESULTS).exists()
        if not going_on:
            _clear(out)
            write_whole(begun, lambda file: file.write(settings.encode()))
        yield going_on


def _refuse_strangers(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file: give a folder as --out")
    found = {path.name for path in out.iterdir() if path.name != _LOCK and not _begun(path.name)}
    if found and _SETTINGS not in found:
        raise InputError(f"{out} is neither empty nor a run of byteproxy: give another --out")


def _begun(name: str) -> bool:
    """Whether a file is what a killed run was writing its settings to."""
    return name.startswith(f".{_SETTINGS}.") and name.endswith(".partial")


def _clear(out: Path) -> None:
    """Settings go last, so that a kill in between still leaves a folder known as ours."""
    for path in out.glob(".*.partial"):
        path.unlink()
    for name in reversed(_PARTS):
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
