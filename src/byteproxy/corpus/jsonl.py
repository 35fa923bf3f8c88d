"""Lines of JSON, each an object with a text: plain, or compressed with gzip or Zstandard. A unit is a file.

The file is never in memory, only a block of it and the line that is being read. A line that is too long for any
document that the rules allow is passed over as it streams by. What becomes of a line says `json_record.py`.

A compressed file that breaks off gives one rejection for all of the rest; up to 64 KiB before the break are lost too,
because the decompressor keeps back what it had of its last block.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import pyarrow as pa

from byteproxy.corpus.fields import Fields
from byteproxy.corpus.json_record import records_of
from byteproxy.corpus.reading import (
    BROKEN_JSON,
    TOO_LARGE,
    UNREADABLE,
    Passed,
    Record,
    Rules,
    unheard,
)

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
BLOCK_BYTES = 1 << 18
COMPRESSED_BLOCK_BYTES = 1 << 16
LONGEST_ESCAPE = 6
"""Bytes of a line that one byte of text takes at most: "\\u0041"."""
SLACK_BYTES = 4 << 20
"""Bytes of a line that may stand beside its text, however short documents are to be."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class JsonlUnit:
    """A file of JSON lines, as it was when it was listed.

    path: absolute. file: as records name it.
    """

    source: str
    path: str
    file: str
    size: int
    mtime_ns: int
    fields: Fields

    @property
    def what(self) -> str:
        return self.file

    @property
    def key(self) -> str:
        read = ("jsonl", self.source, self.file, self.size, self.mtime_ns, self.fields)
        return blake2b(repr(read).encode(), digest_size=16).hexdigest()

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        number = 0
        longest = LONGEST_ESCAPE * rules.largest + SLACK_BYTES if rules.largest else 0
        with ExitStack() as stack:
            try:
                file, block, position = stack.enter_context(_opened(self.path))
            except OSError as error:
                yield Record(after + 1, self.file, 0, None, UNREADABLE, error.strerror or str(error))
                return
            try:
                for number, (line, length) in enumerate(_lines(file, block, longest, lambda: passed(position())), 1):
                    if number <= after:
                        continue
                    if 0 < longest < length:
                        yield self._rejected(number, TOO_LARGE, f"a line of {length} bytes")
                    elif line and not line.isspace():
                        yield from self._records(number, line, rules)
            except OSError as error:
                if number + 1 > after:
                    yield self._rejected(number + 1, BROKEN_JSON, f"can't read the rest of the file: {error}")

    def _rejected(self, number: int, reason: str, detail: str) -> Record:
        return Record(number, self.file, number, None, reason, detail)

    def _records(self, number: int, line: bytes, rules: Rules) -> Iterable[Record]:
        return records_of(line, number, self.source, self.file, self.fields, rules)


@contextmanager
def _opened(path: str) -> Iterator[tuple[_Readable, int, Callable[[], int]]]:
    """The file's content, decompressed where its name says so, how many bytes to take at a time, and how far it is."""
    compression = COMPRESSIONS.get(os.path.splitext(path)[1].lower())
    with open(path, "rb", buffering=0) as file:
        if compression is None:
            yield file, BLOCK_BYTES, file.tell
            return
        with pa.PythonFile(file, mode="r") as native, pa.CompressedInputStream(native, compression) as stream:
            yield stream, COMPRESSED_BLOCK_BYTES, file.tell


def _lines(file: _Readable, block: int, longest: int, after_block: Callable[[], object]) -> Iterator[tuple[bytes, int]]:
    """Each line without its "\\n", and its length; of one with more bytes than `longest` (if that isn't 0) any part."""
    held: list[bytes] = []
    length = 0
    while read := file.read(block):
        after_block()
        first, *others = read.split(b"\n")
        length += len(first)
        if 0 < longest < length:
            held.clear()
        else:
            held.append(first)
        if others:
            yield b"".join(held), length
            for line in others[:-1]:
                yield line, len(line)
            held, length = [others[-1]], len(others[-1])
    if length:
        yield b"".join(held), length
