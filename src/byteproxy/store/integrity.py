"""Verify that files are what was written: all of them by hash, or only those that may have changed since the last time.

A file that was found right is noted in the folder with its size, device, inode and times. Writing to a file changes its
ctime, which no program can set, so a file whose mtime was put back is read again. Three things go unnoticed until
everything is verified again (`corpus verify` always reads everything): a disk that rots, a clock that was put back to
the nanosecond, and somebody who forges the notes. The notes carry a checksum themselves. Verifying costs a pass over
every file; comparing with the notes costs a look at each file's directory entry.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.errors import InputError
from byteproxy.files import inside, write_aside
from byteproxy.parsing import read_json
from byteproxy.progress import Progress
from byteproxy.store.corpus_folder import VERIFIED
from byteproxy.store.format import MANIFEST, FileInfo, file_info

REPAIR = "run the preparation again to restore it"
SETTLED_NS = 2_000_000_000  # file times are as coarse as this; a file written to since then may yet change unseen


class Checked(NamedTuple):
    """A file, what else decides whether it is sound, and what looks at that.

    check: called once the hash is right; it raises InputError.
    """

    file: FileInfo
    facts: str
    check: Callable[[], object]


def verify(
    folder: Path, files: Sequence[FileInfo], progress: Progress, remedy: str = REPAIR, said_by: Path | None = None
) -> None:
    """Read every file and compare its hash; InputError naming the first that differs. Progress is in bytes.

    remedy: what to do then, in the words of the error. said_by: the file that lists them; None: the folder's manifest.
    """
    total, done = sum(file.size for file in files), 0
    for file in files:
        ensure_same(inside(folder, file.name, said_by or folder / MANIFEST), file, remedy)
        done += file.size
        progress(done, total)


def ensure_unaltered(
    folder: Path, files: Sequence[Checked], progress: Progress
) -> tuple[int, dict[str, os.stat_result]]:
    """Verify files and check their content, skipping those that nobody wrote to since the last time.

    progress: bytes read, of those that have to be. Returns how many were, and each file's state before, by its name.
    """
    notes = Notes(folder)
    known = {one.file.name: state_of(inside(folder, one.file.name, folder / MANIFEST)) for one in files}
    fresh = [one for one in files if not notes.tell_of(one, known[one.file.name])]
    total, done = sum(one.file.size for one in fresh), 0
    for one in fresh:
        ensure_same(folder / one.file.name, one.file)
        one.check()
        done += one.file.size
        progress(done, total)
    notes.replace([(one, known[one.file.name]) for one in files])
    return total, known


class Notes:
    """What was found right in a folder, read when they are made; without a folder nothing was."""

    def __init__(self, folder: Path | None) -> None:
        self._noted: dict[str, Any] = {}
        if folder is None:
            return
        self._path = folder / VERIFIED
        with suppress(OSError, ValueError, TypeError, LookupError):
            self._noted = check_notes(self._path)

    def tell_of(self, one: Checked, found: os.stat_result) -> bool:
        """Whether a file in this state was found right before."""
        return bool(self._noted.get(one.file.name) == _note(one, found))

    def replace(self, right: list[tuple[Checked, os.stat_result]]) -> None:
        """Note these files, in the states that they had before they were read, and no others."""
        now = time.time_ns()
        noted = {one.file.name: _note(one, found) for one, found in right if is_settled(found, now)}
        if noted != self._noted:
            self._noted = noted
            with suppress(InputError):  # a folder that can't be written to is verified again the next time
                write_aside(self._path, json.dumps({"files": noted, "sha256": checksummed(noted)}).encode())


def check_notes(path: Path) -> dict[str, Any]:
    """What was noted; ValueError, TypeError, LookupError or OSError where nothing was, or it was altered since."""
    content = read_json(path)
    if content["sha256"] != checksummed(content["files"]) or not isinstance(content["files"], dict):
        raise ValueError("its checksum is wrong")
    return dict(content["files"])


def checksummed(content: Any) -> str:
    """A hash of what a file of JSON says, to be kept in it."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def identity(found: os.stat_result) -> list[int]:
    """Changes when a file is written to or replaced: its size, device, inode, and times of writing and of change."""
    return [found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def is_settled(found: os.stat_result, now: int) -> bool:
    """Whether any write to a file from `now` (in ns) on would change its times."""
    return now - max(found.st_mtime_ns, found.st_ctime_ns) > SETTLED_NS


def _note(one: Checked, found: os.stat_result) -> list[object]:
    return [one.file.sha256, checksummed(one.facts), *identity(found)]


def state_of(path: Path, remedy: str = REPAIR) -> os.stat_result:
    """The state of a file as it is now; InputError, with what to do, where it is gone."""
    try:
        return path.stat()
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): {remedy}") from error


def ensure_same(path: Path, file: FileInfo, remedy: str = REPAIR) -> None:
    """InputError, with what to do, where a file is not what was written."""
    try:
        same = state_of(path, remedy).st_size == file.size and file_info(path) == file
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): {remedy}") from error
    if not same:
        raise InputError(f"{path} was altered since it was written: {remedy}")
