"""An export as a folder that appears whole or not at all, and says of each of its files what was written.

`byteproxy.json` holds size and SHA-256 of every file. Other tools ignore it; byteproxy reads every file that a model
is made of once more when it loads one, and refuses what differs. The model card is in the list, but people edit cards,
so a changed one is no reason to refuse. A folder without `byteproxy.json`, such as transformers writes, is taken as it
is. This finds damage and half copies; whoever can write to the folder can also write a list that fits.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from byteproxy.errors import InputError
from byteproxy.files import sync_folder
from byteproxy.parsing import read_json
from byteproxy.progress import silent
from byteproxy.store.format import FileInfo
from byteproxy.store.verified import verify

CHECKSUMS = "byteproxy.json"
CARD = "README.md"
_FORMAT = "byteproxy-export"
_REMEDY = "export the run again, or copy the folder again"

Content: TypeAlias = bytes | Callable[[Path], None]
"""What a file holds, or what writes it to a path."""


def ensure_free(folder: Path) -> None:
    """InputError where an export can't begin: something of that name is there."""
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} exists already: delete it, or give another place to export to")


def write_folder(folder: Path, files: Mapping[str, Content]) -> dict[str, int]:
    """Write files and their checksums aside, sync all, and rename to `folder`; gives the size of each file in bytes.

    Raises InputError if the folder exists, or can't be written; nothing partial stays behind.
    """
    ensure_free(folder)
    aside = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)  # what a killed export left
        aside.mkdir()
        listed = [_written(aside / name, content) for name, content in files.items()]
        said = {file.name: {"size": file.size, "sha256": file.sha256} for file in listed}
        checksums = json.dumps({"format": _FORMAT, "version": 1, "files": said}, indent=2) + "\n"
        _written(aside / CHECKSUMS, checksums.encode())
        sync_folder(aside)
        ensure_free(folder)
        aside.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise InputError(f"cannot write {folder} ({error.strerror}): free space or name another place") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(aside, ignore_errors=True)
    return {file.name: file.size for file in listed}


def _written(path: Path, content: Content) -> FileInfo:
    """A file that lies on the disk when this returns."""
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return FileInfo(path.name, os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def ensure_unaltered(folder: Path) -> None:
    """Read every listed file of an export but its card; InputError naming the first that isn't what was written."""
    path = folder / CHECKSUMS
    if not path.exists() and not path.is_symlink():
        return
    try:
        content = read_json(path)
        if content["format"] != _FORMAT or content["version"] != 1:
            raise InputError(f"{path} is of another version of byteproxy: use the one that wrote it, or export again")
        listed = [FileInfo(name, said["size"], said["sha256"]) for name, said in content["files"].items()]
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged, so nothing says what this export was: {_REMEDY}") from error
    verify(
        folder,
        [file for file in listed if file.name != CARD],
        silent,
        f"{_REMEDY}, or delete {CHECKSUMS} if that was meant",
        path,
    )
