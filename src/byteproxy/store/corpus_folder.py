"""The folder of a corpus: claim it before anything is written, lock it for one run, clear what a killed run left.

A folder belongs to a corpus if it holds the marker, which is written first and whole, or one of our manifests (the only
sign before there was a marker). A preparation writes under names of its own, so in such a folder those files are ours.
Any other folder that isn't empty belongs to somebody else and stays as it is.

The processes that read for a run share its lock (`lock.py`, `reader_pool.py`), so the folder stays locked until the
last of them has stopped writing, even if the run itself was killed.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from byteproxy.errors import InputError
from byteproxy.files import head, write_aside
from byteproxy.lock import held
from byteproxy.store.format import FORMAT, MANIFEST, MANIFEST_VERSION, SHARD_FILES
from byteproxy.store.manifest import Manifest

LOCK = ".byteproxy-store.lock"
STAGED = ".staged"
SOURCES = ".byteproxy-sources.json"
VERIFIED = ".byteproxy-verified.json"
ENCODED = ".byteproxy-encoded-{view}.jsonl"
PARTIAL_FILES = re.compile(
    r"\.(shard-\d{5,}.*\.arrow|view-.*|manifest\.json|rejected\.jsonl|\.byteproxy-\w+\.json|\d+-\d+\.arrow)\.\d+\.partial"
)
MARKER = ".byteproxy-corpus.json"
BEFORE_MARKER = re.compile(rf"{re.escape(LOCK)}|\.{re.escape(MARKER)}\.\d+\.partial")
"""What a run that was killed before it wrote the marker leaves."""
OPENING_BYTES = 256
OUR_OPENING = re.compile(rb'\s*\{\s*"format"\s*:\s*"%s"' % FORMAT.encode())
"""How the marker and a manifest begin; a manifest may be large, and damaged further down."""
NAMES_SHOWN = 3
ORPHAN_SECONDS = 10.0  # processes that read for a killed run end within a second, but a machine may be busy


def make_folder(folder: Path) -> None:
    """Make a folder; InputError where that can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder} ({error.strerror}): use another") from error


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Make the folder of a corpus, or go on with one, and hold it as `locked` does.

    Raises InputError, and has written nothing, where the folder is somebody else's or another run holds it.
    """
    make_folder(folder)
    _check_ours(folder)
    with locked(folder) as lock:
        _check_ours(folder)  # somebody may have written there before the lock was taken
        if not (folder / MARKER).exists():
            content = {"format": FORMAT, "version": MANIFEST_VERSION}
            write_aside(folder / MARKER, json.dumps(content).encode())
        yield lock


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder for this run alone, and clear away what a killed one was writing; gives the lock's descriptor.

    Raises InputError where another run holds it.
    """
    with held(folder, LOCK, ORPHAN_SECONDS) as hold:
        for place in (folder, folder / STAGED):
            for path in place.iterdir() if place.is_dir() else ():
                if PARTIAL_FILES.fullmatch(path.name):
                    path.unlink()
        assert hold.file is not None  # it is this process that holds it
        yield hold.file.fileno()


def remove_staged(folder: Path) -> None:
    """Remove what was staged; a kill in between leaves the rest to the next run."""
    shutil.rmtree(folder / STAGED, ignore_errors=True)


def remove_other_shards(folder: Path, manifest: Manifest) -> None:
    """Remove shards that an unfinished preparation of other documents left behind."""
    kept = {shard.file.name for shard in manifest.shards}
    for path in folder.iterdir():
        if SHARD_FILES.fullmatch(path.name) and path.name not in kept:
            path.unlink()


def _check_ours(folder: Path) -> None:
    """InputError, naming what is there, where a folder holds files and none says that a preparation wrote them."""
    try:
        if any(OUR_OPENING.match(head(folder / name, OPENING_BYTES)) for name in (MARKER, MANIFEST)):
            return
        others = sorted(path.name for path in folder.iterdir() if not BEFORE_MARKER.fullmatch(path.name))
    except OSError as error:
        raise InputError(f"cannot read the folder {folder} ({error.strerror}): use another") from error
    if others:
        more = f" and {len(others) - NAMES_SHOWN:,} more" if len(others) > NAMES_SHOWN else ""
        raise InputError(
            f"{folder} holds files that no preparation of a corpus wrote ({', '.join(others[:NAMES_SHOWN])}{more}): "
            "use a new or an empty folder"
        )
