"""Files and folders that appear whole or not at all, and reading what others may have put there.

What is written is written aside first, in the folder where it will be, synced and renamed. A killed process leaves
`.NAME.PID.partial` of a file and `.NAME.partial` of a folder, and nothing else. (A checkpoint may also replace another,
which takes a protocol of its own, `train/checkpoint.py`.)

Others may be able to write into a folder. So a name that a file contains is used only if it stays in that folder
(`inside`), and only regular files are opened that really are in the folder (`open_inside`): no device or pipe that
never ends, no link to somewhere else. What goes into memory is bounded first.
"""

import errno
import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from byteproxy.errors import InputError

LONGEST_NAME = 255


def write_aside(path: Path, content: bytes) -> None:
    """Write a file as `aside` does; folders on the way are made.

    Raises InputError where that can't be done, or where something stands that is no regular file, such as a device;
    nothing partial stays behind.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"cannot write {path} (it is no regular file): name another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path) as file:
            file.write(content)
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def aside(path: Path, synced: bool = True) -> Iterator[BinaryIO]:
    """A file to write that appears whole or not at all: aside in the same folder, synced, renamed.

    synced: whether it has to outlast a power cut once it is there.
    Raises InputError when the disk is full; whatever is raised, nothing partial stays behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())
        os.replace(partial, path)
        if synced:
            sync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unwritable(path, error) from error
        raise
    finally:
        with suppress(OSError):  # it is gone unless something failed
            partial.unlink()


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """A folder to fill with files that appears whole or not at all, where nothing is; folders on the way are made.

    Raises InputError where something of that name is, or it can't be written; nothing partial stays behind.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        ensure_free(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
        partial.mkdir()
        yield partial
        sync_files(partial)
        ensure_free(folder)
        partial.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def ensure_free(path: Path) -> None:
    """InputError where something of that name is there already."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} exists already: delete it, or name another place")


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot write {path} ({error.strerror}): free space or name another place")


def ensure_ours(path: Path, what: str, begins: tuple[bytes, ...]) -> None:
    """Raise InputError where a file would be replaced that is not one of ours: what others wrote stays.

    what: it is to be, for people: "page". begins: how each of that kind begins.
    """
    try:
        if not os.path.isfile(path):
            return
        with open(path, "rb") as file:
            head = file.read(max(map(len, begins)))
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): name another place") from error
    if head and not head.startswith(begins):
        raise InputError(f"{path} is there and is no {what}: name another file, or remove it")


def sync_files(folder: Path) -> None:
    """Make a folder's files, and their names, outlast a power cut."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make a rename outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def inside(folder: Path, name: object, said_by: Path) -> Path:
    """The path of a file that another one names; InputError where that is no plain name of a file in `folder`.

    said_by: the file that says the name, for the error.
    """
    try:
        plain = isinstance(name, str) and name not in ("", ".", "..") and len(os.fsencode(name)) <= LONGEST_NAME
    except UnicodeEncodeError:
        plain = False
    if not isinstance(name, str) or not plain or "/" in name or "\0" in name:
        shown = repr(name)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        raise InputError(f"{said_by} names {shown}, which is not in its folder: copy both again")
    return Path(folder) / name


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file that a person named, to be read; OSError where it is a device, a pipe or a folder."""
    _ensure_regular(os.stat(path), path)  # first, as opening alone may hang, or rewind a tape
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _ensure_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def head(path: Path, size: int) -> bytes:
    """The first bytes of a regular file, `size` at most; none where it can't be read."""
    try:
        with open_regular(path) as file:
            return file.read(size)
    except OSError:
        return b""


def open_inside(path: Path) -> io.BufferedReader:
    """As `open_regular`, for a file that was not named by a person: OSError also where it is a link out of its folder.

    In a snapshot of Hugging Face's cache each file is a link to the folder of blobs beside the snapshots: these may.
    """
    folder, target = (Path(os.path.realpath(one)) for one in (Path(path).parent, path))
    home = folder.parent.parent if folder.parent.name == "snapshots" else folder
    if not target.is_relative_to(home):
        raise OSError(errno.EPERM, "it is a link out of its folder", str(path))
    return open_regular(path)


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file; OSError where it can't be read, or has more than `most` bytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) if size <= most else b""
        if size > most or len(content) > most:
            said = f"it has {max(size, len(content)):,} bytes, and its kind {most:,} at most"
            raise OSError(errno.EFBIG, said, str(path))
        return content


def _ensure_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise OSError(errno.EINVAL, f"it is {kind}", str(path))
