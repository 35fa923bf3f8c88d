"""The folder of a corpus: held by one run at a time, and cleared of what a killed one was in the middle of.

The hold is an advisory lock (flock) on a file in the folder, which the kernel lets go when its holder is gone.
Processes that read for a run share its lock (`workers.py`), so the folder stays held until the last of them has
stopped writing, even if the run itself was killed.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from byteproxy.errors import InputError
from byteproxy.store.format import MANIFEST, SHARD_FILES, Manifest

LOCK = ".byteproxy-store.lock"
STAGED = ".staged"
SOURCES = ".byteproxy-sources.json"
VERIFIED = ".byteproxy-verified.json"
ENCODED = ".byteproxy-encoded-{view}.jsonl"
PARTIAL_FILES = re.compile(
    r"\.(shard-\d{5,}.*\.arrow|view-.*|manifest\.json|rejected\.jsonl|\.byteproxy-\w+\.json|\d+-\d+\.arrow)\.\d+\.partial"
)
ORPHAN_SECONDS = 10.0  # processes that read for a killed run end within a second, but a machine may be busy


def make_folder(folder: Path) -> None:
    """Make the folder of a corpus; InputError where that can't be, or where the folder is somebody else's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder} ({error.strerror}): use another") from error
    ours = (folder / LOCK).exists() or (folder / MANIFEST).exists()
    if not ours and any(SHARD_FILES.fullmatch(path.name) for path in folder.iterdir()):
        raise InputError(f"{folder} holds shards that byteproxy didn't write: use an empty folder")


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder for this run alone, and clear away what a killed one was writing; gives the lock's descriptor.

    Raises InputError where another run holds it.
    """
    try:
        lock = (folder / LOCK).open("a+b")
    except OSError as error:
        raise InputError(f"cannot write into {folder} ({error.strerror}): use another folder") from error
    with lock:
        _hold(lock, folder)
        for place in (folder, folder / STAGED):
            for path in place.iterdir() if place.is_dir() else ():
                if PARTIAL_FILES.fullmatch(path.name):
                    path.unlink()
        yield lock.fileno()


def remove_staged(folder: Path) -> None:
    """Remove what was staged; a kill in between leaves the rest to the next run."""
    shutil.rmtree(folder / STAGED, ignore_errors=True)


def remove_other_shards(folder: Path, manifest: Manifest) -> None:
    """Remove shards that an unfinished preparation of other documents left behind."""
    kept = {shard.file.name for shard in manifest.shards}
    for path in folder.iterdir():
        if SHARD_FILES.fullmatch(path.name) and path.name not in kept:
            path.unlink()


def _hold(lock: BinaryIO, folder: Path) -> None:
    give_up = time.monotonic() + ORPHAN_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            owner = _owner(lock)
            if owner is not None or time.monotonic() > give_up:
                number = "" if owner is None else f" (number {owner})"
                reason = f"another process is preparing {folder}{number}: wait until it is done or use another folder"
                raise InputError(reason) from error
        time.sleep(0.02)
    with suppress(OSError):  # on a full disk nobody learns who it is
        lock.truncate(0)
        lock.write(b"%d" % os.getpid())
        lock.flush()


def _owner(lock: BinaryIO) -> int | None:
    """The process that took the lock, if it still lives: otherwise those that read for it are about to end."""
    lock.seek(0)
    try:
        owner = int(lock.read(20))
        os.kill(owner, 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    return owner
