"""The prepared corpus on disk: names and content of its files, and how these are written and mapped.

    manifest.json                     `manifest.py`; written last, so a folder without it is unfinished
    shard-00000.arrow                 id, source, project, language: string; text: large_binary; one row per document
    shard-00000.bpe-4096.arrow        the same documents through a view: symbols, spans and anchors
    view-bpe-4096.json                the view itself, if its kind is trained
    rejected.jsonl                    every record that became no document, with the reason; absent if there is none

Shards are uncompressed Arrow IPC files of one record batch each, so a column is one contiguous part of the
memory-mapped file. Lists and texts have 64-bit offsets, and anchors are 64-bit: no document is too large for them.
"""

import errno
import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from byteproxy.errors import InputError
from byteproxy.files import aside, open_inside

FORMAT = "byteproxy-store"
VERSION = 3
"""Version of shards and views, and of manifests without split groups and lost records."""
MANIFEST_VERSION = 4
MANIFEST = "manifest.json"
REJECTED_FILE = "rejected.jsonl"
SHARD_FILES = re.compile(r"shard-\d{5,}(\.[\w.-]+)?\.arrow")

VIEW_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")

SHARD_SCHEMA = pa.schema(
    pa.field(name, pa.large_binary() if name == "text" else pa.string(), nullable=False)
    for name in ("id", "text", "source", "project", "language")
)


@dataclass(frozen=True)
class FileInfo:
    """A file as it was written."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse, with a TypeError, what no list of files that we wrote says."""
        if type(self.size) is not int or not isinstance(self.sha256, str):
            raise TypeError(f"{self.name!r:.60} has no size and checksum of a file")


def shard_name(shard: int) -> str:
    """The file of a shard's documents."""
    return f"shard-{shard:05d}.arrow"


def view_file_name(shard: int, view: str) -> str:
    """The file of a shard's symbols in a view."""
    return f"shard-{shard:05d}.{view}.arrow"


def artefact_name(view: str, suffix: str) -> str:
    """The file of a view itself."""
    return f"view-{view}{suffix}"


def view_schema(symbol_type: pa.DataType, span_type: pa.DataType | None, metadata: dict[str, str]) -> pa.Schema:
    """Columns of a view file; the metadata says what was encoded with what.

    symbol_type: uint16 or uint32. span_type: the smallest unsigned type that holds the shard's largest span, uint8 to
    uint32; None for a view that isn't aligned, which has symbols only.
    """
    types = {"symbols": symbol_type}
    if span_type is not None:
        types |= {"spans": span_type, "anchor_bytes": pa.int64(), "anchor_symbols": pa.int64()}
    return pa.schema([pa.field(name, _list_of(kind), nullable=False) for name, kind in types.items()], metadata)


class HashingFile(io.RawIOBase):
    """A file to be written front to back that knows its own size and hash; without a file beneath, only those."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Write all of some bytes, or of a buffer of bytes."""
        view = memoryview(data)
        self._hash.update(view)
        self._size += view.nbytes
        if self._file is not None:
            self._file.write(view)
        return view.nbytes

    def tell(self) -> int:
        """The size so far."""
        return self._size

    def info(self, name: str) -> FileInfo:
        """What was written so far."""
        return FileInfo(name, self._size, self._hash.hexdigest())


def write_whole(path: Path, write: Callable[[HashingFile], object]) -> FileInfo:
    """Write a file as `files.aside` does, and say what was written.

    write: gets the open file and writes all of it, front to back.
    """
    with aside(path) as file:
        hashing = HashingFile(file)
        write(hashing)
    return hashing.info(path.name)


def write_batch(file: HashingFile | BinaryIO, batch: pa.RecordBatch) -> None:
    """One record batch as a whole Arrow IPC file."""
    with pa.ipc.new_file(file, batch.schema, options=pa.ipc.IpcWriteOptions(compression=None)) as writer:
        writer.write_batch(batch)


def read_batch(path: Path) -> pa.RecordBatch:
    """The one record batch of an Arrow IPC file, memory-mapped; InputError as for `mapped_batch`."""
    return mapped_batch(path)[0]


def mapped_batch(path: Path, size: int | None = None) -> tuple[pa.RecordBatch, os.stat_result]:
    """The one record batch of an Arrow IPC file, memory-mapped, and the state of the file that is mapped.

    size: bytes that it has to have; None: any.
    Costs opening the file and a pass over its offsets and names, so that each value lies in the file whatever it says;
    texts, symbols, spans and anchors are not read.
    Raises InputError naming the file when it is missing, of another size or damaged.
    """
    try:
        with open_inside(path) as file:
            found = os.fstat(file.fileno())
            if size not in (None, found.st_size):
                raise OSError(errno.EIO, f"it has {found.st_size:,} bytes and should have {size:,}")
            # By its descriptor, so that it is the file that was looked at, and its name may be any bytes. Closing gives
            # the descriptor back, and the mapping lives on in the batch: a corpus may have more shards than a process
            # may have open files.
            with pa.memory_map(f"/dev/fd/{file.fileno()}") as source:
                batch = pa.ipc.open_file(source).get_batch(0)
        batch.validate(full=True)
    except (OSError, pa.ArrowException, IndexError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).partition("\n")[0]
        raise InputError(f"{path} is missing or damaged ({reason}): run the preparation again") from error
    return batch, found


def file_info(path: Path) -> FileInfo:
    """Size and hash of a regular file as it is now; reads all of it. OSError where it can't be read."""
    with open_inside(path) as file:
        return FileInfo(path.name, os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _list_of(value_type: pa.DataType) -> pa.DataType:
    return pa.large_list(pa.field("item", value_type, nullable=False))
