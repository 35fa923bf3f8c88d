"""Small files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from byteproxy.errors import InputError


def write_aside(path: Path, content: bytes) -> None:
    """Write a file aside in its own folder, sync it and rename it; folders on the way are made.

    Raises InputError where that can't be done; nothing partial stays behind.
    """
    path = Path(path)
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


def sync_folder(folder: Path) -> None:
    """Make a rename outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
