"""Files: small ones that appear whole or not at all, and reading what others may have put there.

Whoever can write into a folder decides what lies in it. So a name that a file says is taken only if it is one of that
folder (`inside`), and nothing is opened but regular files that are in the folder they seem to be in (`open_inside`): no
device or pipe that never ends, no link to somewhere else. What goes into memory is bounded first.
"""

import errno
import io
import os
import stat
from contextlib import suppress
from pathlib import Path

from byteproxy.errors import InputError

LONGEST_NAME = 255


def write_aside(path: Path, content: bytes) -> None:
    """Write a file aside in its own folder, sync it and rename it; folders on the way are made.

    Raises InputError where that can't be done, or where something stands that is no regular file, such as a device;
    nothing partial stays behind.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"cannot write {path} (it is no regular file): name another place")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): free space or name another place") from error
    finally:
        with suppress(OSError):  # it is gone unless something failed
            partial.unlink()


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
