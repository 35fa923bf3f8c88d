"""Whether files are what was written: all of them by hash, or only those that may have changed since the last look.

What was found right is noted in the folder with each file's size, times and inode. Whoever writes to a file changes its
time of change, which no program can set; only a disk that rots by itself goes unnoticed until all is verified again.
Verifying costs a pass over every file, comparing with the notes a look at each file's entry in its folder.
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.progress import Progress
from byteproxy.store.folder import VERIFIED
from byteproxy.store.format import FileInfo, file_info

REPAIR = "run the preparation again to restore it"
SETTLED_NS = 2_000_000_000  # file times are as coarse as this; a file written to since then may yet change unseen


def verify(folder: Path, files: Sequence[FileInfo], progress: Progress, remedy: str = REPAIR) -> None:
    """Read every file and compare its hash; InputError naming the first that differs. Progress is in bytes.

    remedy: what to do then, in the words of the error.
    """
    _verify(folder, files, {}, progress, remedy)


def ensure_unaltered(folder: Path, files: Sequence[FileInfo], progress: Progress) -> None:
    """As `verify`, without reading files that nobody wrote to since they were verified here."""
    path = folder / VERIFIED
    try:
        noted = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        noted = {}
    found = _verify(folder, files, noted, progress)
    if found != noted:
        with suppress(InputError):  # a folder that can't be written to is verified again the next time
            write_aside(path, json.dumps(found).encode())


def _verify(
    folder: Path, files: Sequence[FileInfo], noted: dict[str, list[object]], progress: Progress, remedy: str = REPAIR
) -> dict[str, list[object]]:
    """Verify the files that aren't as they were noted; returns what can be noted."""
    total = sum(file.size for file in files)
    done = 0
    settled: dict[str, list[object]] = {}
    for file in files:
        path = folder / file.name
        try:
            before = path.stat()
            note = [file.sha256, before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino]
            sound = noted.get(file.name) == note or file_info(path) == file
        except OSError as error:
            raise InputError(f"{path} can't be read ({error.strerror}): {remedy}") from error
        if not sound:
            raise InputError(f"{path} was altered since it was written: {remedy}")
        if time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) > SETTLED_NS:
            settled[file.name] = note
        done += file.size
        progress(done, total)
    return settled
