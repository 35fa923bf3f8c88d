"""A run's folder belongs to one run at a time: two that go on with it would mix their metrics and checkpoints.

The hold is a lock on a file in the folder, taken before anything else is written there. A killed process holds nothing.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from byteproxy.errors import InputError
from byteproxy.train import parallel

LOCK = ".lock"
_TRIES = 50  # another process may remove the folder that it made while this one opens the lock in it


class Hold:
    """A folder that this run holds; other ranks than 0 have one without a lock."""

    def __init__(self, folder: Path, lock: BinaryIO | None) -> None:
        self.folder, self._lock = folder, lock

    def ensure_there(self) -> None:
        """InputError where the folder was moved or removed since: what is written to it would be lost."""
        if self._lock is not None and not _is_at(self._lock, self.folder / LOCK):
            raise InputError(
                f"{self.folder} was moved or removed while the run was going on: the run stopped; bring the folder "
                "back and go on with --resume, or begin anew"
            )


class _Lock(NamedTuple):
    """A lock, the folders that were made for it, and what was in the folder before; None: a lock file as well."""

    file: BinaryIO
    made: list[Path]
    before: set[str] | None


@contextmanager
def held(folder: Path) -> Iterator[Hold]:
    """Hold a folder while entered; rank 0 makes it if need be and locks it for all.

    A folder in which nothing was written meanwhile is left as it was found.
    Raises InputError on all ranks where another run holds it, or no file can be written there.
    """
    lock, said = None, None
    if parallel.world().rank == 0:
        try:
            lock = _locked(folder)
            if lock is None:
                said = f"{folder} is in use by another run: wait for it, or give another folder"
        except OSError as error:
            said = f"cannot write into {folder} ({error.strerror}): give another folder"
    try:
        said = parallel.from_rank_zero(said)
        if said is not None:
            raise InputError(said)
        yield Hold(folder, None if lock is None else lock.file)
    finally:
        if lock is not None:
            _let_go(folder, lock)


def _locked(folder: Path) -> _Lock | None:
    """The lock of a folder; None where another process has it."""
    made: list[Path] = []
    for _ in range(_TRIES):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        made += [path for path in missing if path not in made]
        try:
            names = {path.name for path in folder.iterdir()}
            file = (folder / LOCK).open("ab")
        except FileNotFoundError:
            continue
        lock = _Lock(file, sorted(made, key=lambda path: len(path.parts)), None if LOCK in names else names)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError:  # a file system without locks
            _let_go(folder, lock)
            raise
        if _is_at(file, folder / LOCK):
            return lock
        file.close()  # its last holder has removed it
    return None


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    mine = os.fstat(file.fileno())
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _let_go(folder: Path, lock: _Lock) -> None:
    with suppress(OSError):
        names = {path.name for path in folder.iterdir()}
        if lock.before is not None and names == {LOCK, *lock.before} and _is_at(lock.file, folder / LOCK):
            (folder / LOCK).unlink()
            for path in reversed(lock.made):
                path.rmdir()  # fails where somebody else has written, which is right
    lock.file.close()
