"""A folder belongs to one process at a time: two that write into it would mix what they write.

The hold is a lock (`flock`) on a file in the folder, which holds its holder's number. It is let go by closing the file
and in no other way, so processes that share the open file keep the folder held until the last of them has stopped
writing, even if the first was killed. A killed process holds nothing.

Why not filelock or portalocker, whose lock is this very call: filelock 4.2 unlocks when it is released, although a
child still shares the file; it says "in use" where the lock's file was removed between opening and locking; and it
locks a file in a folder that was moved away meanwhile, so that another process gets the folder, too. portalocker 4.4
locks an open file as we do, and leaves all of that to its caller. The cache of compiled code (`jit.py`) is shared by
its readers and has no one holder, so it has marks of its own.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from byteproxy.errors import InputError

LOCK = ".lock"
_TRIES = 100
"""Another process may look at the lock, or remove the folder that it made while this one opens the lock in it."""
LOOK_SECONDS = 0.01
"""Between two tries to take a lock that another process looks at: a look takes microseconds."""


class Hold(NamedTuple):
    """A folder and the open file that is locked in it; None: the lock is another process's, for this one as well."""

    folder: Path
    file: BinaryIO | None

    def ensure_there(self) -> None:
        """InputError where the folder was moved or removed since: what is written to it would be lost."""
        if self.file is not None and not _is_at(self.file, Path(self.file.name)):
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
def held(folder: Path, name: str = LOCK, patience: float = 0.0) -> Iterator[Hold]:
    """Hold a folder while entered; it is made if need be. One in which nothing was written meanwhile is left as found.

    name: of the lock's file. patience: seconds to wait for a lock whose holder is gone, as processes that shared it are
    about to end. Raises InputError where another process holds the folder, or no file can be written there.
    """
    try:
        lock = _locked(folder, name, patience)
    except OSError as error:
        raise InputError(f"cannot write into {folder} ({error.strerror}): give another folder") from error
    try:
        yield Hold(folder, lock.file)
    finally:
        _let_go(folder, lock)


def is_held(folder: Path) -> bool:
    """Whether some process holds a folder now, this one included.

    To look is to share the lock for a moment: `held` waits for those who only look.
    """
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _locked(folder: Path, name: str, patience: float) -> _Lock:
    made: list[Path] = []
    tries, give_up = 0, time.monotonic() + patience
    while tries < _TRIES:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        made += [path for path in missing if path not in made]
        try:
            names = {path.name for path in folder.iterdir()}
            file = (folder / name).open("a+b", buffering=0)
        except FileNotFoundError:
            tries += 1
            continue
        lock = _Lock(file, sorted(made, key=lambda path: len(path.parts)), None if name in names else names)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _is_only_looked_at(file):
                file.close()
                tries += 1
                time.sleep(LOOK_SECONDS)
                continue
            holder = _holder(file)
            file.close()
            if holder is not None or time.monotonic() >= give_up:
                raise _in_use(folder, holder) from None
            time.sleep(0.02)
            continue
        except OSError:  # a file system without locks
            _let_go(folder, lock)
            raise
        if _is_at(file, folder / name):
            with suppress(OSError):  # on a full disk nobody learns who it is
                file.truncate(0)
                file.write(b"%d" % os.getpid())
            return lock
        file.close()  # its last holder has removed it
        tries += 1
    raise _in_use(folder, None)


def _is_only_looked_at(file: BinaryIO) -> bool:
    """Whether a lock that can't be had for oneself can be shared: `is_held` shares it, a holder does not."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_use(folder: Path, holder: int | None) -> InputError:
    said = "" if holder is None else f" (process {holder})"
    return InputError(f"{folder} is in use by another run{said}: wait for it, or give another folder")


def _holder(file: BinaryIO) -> int | None:
    """The process that took the lock, if it still lives here."""
    file.seek(0)
    try:
        holder = int(file.read(20))
        os.kill(holder, 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    return holder


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    mine = os.fstat(file.fileno())
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _let_go(folder: Path, lock: _Lock) -> None:
    with suppress(OSError):
        name = Path(lock.file.name).name
        names = {path.name for path in folder.iterdir()}
        if lock.before is not None and names == {name, *lock.before} and _is_at(lock.file, folder / name):
            (folder / name).unlink()
            for path in reversed(lock.made):
                path.rmdir()  # fails where somebody else has written, which is right
    lock.file.close()
