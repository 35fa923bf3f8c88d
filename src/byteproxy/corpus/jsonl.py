"""Lines of JSON, each an object with a text: plain, or compressed with gzip or Zstandard. A unit is a file.

The file is never in memory, only a block of it and the line that is being read. A line that is too long for any
document that the rules allow is passed over as it streams by. Text in JSON is Unicode, so "keep" can't keep bytes that
aren't UTF-8: such a line is rejected, unless it is to be repaired. Lone surrogates ("\\ud800" without its other half)
are no Unicode either, and make a line broken JSON.

A compressed file that breaks off gives one rejection for all of the rest; up to 64 KiB before the break are lost too,
because the decompressor keeps back what it had of its last block.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import orjson
import pyarrow as pa

from byteproxy.corpus.fields import Fields, record_of, usable
from byteproxy.corpus.reading import (
    BROKEN_JSON,
    INVALID_UTF8,
    NO_TEXT,
    TOO_LARGE,
    UNREADABLE,
    WRONG_TYPE,
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
SLACK_BYTES = 65536
"""Bytes of a line besides its text that count as usual."""
TYPE_NAMES = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array"}


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
                    if number == 1:
                        line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
                    if 0 < longest < length:
                        yield self._rejected(number, TOO_LARGE, f"a line of {length} bytes")
                    elif line and not line.isspace():
                        yield self._record(number, line, rules)
            except OSError as error:
                if number + 1 > after:
                    yield self._rejected(number + 1, BROKEN_JSON, f"can't read the rest of the file: {error}")

    def _rejected(self, number: int, reason: str, detail: str) -> Record:
        return Record(number, self.file, number, None, reason, detail)

    def _record(self, number: int, line: bytes, rules: Rules) -> Record:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return self._retried(number, line, rules, error)
        if not isinstance(value, dict):
            return self._rejected(number, WRONG_TYPE, f"the line is {_type_of(value)}, not object")
        fields = self.fields
        for name in fields.text:
            if name in value:
                break
        else:
            return self._rejected(number, NO_TEXT, f"no field {' or '.join(fields.text)}")
        if not isinstance(value[name], str):
            return self._rejected(number, WRONG_TYPE, f"{name} is {_type_of(value[name])}, not string")
        return record_of(
            value[name].encode(),
            self.source,
            self.file,
            number,
            rules,
            id=usable(map(value.get, fields.id)),
            project=usable(map(value.get, fields.project)),
            language=usable(map(value.get, fields.language)),
        )

    def _retried(self, number: int, line: bytes, rules: Rules, error: orjson.JSONDecodeError) -> Record:
        """The record of a line that orjson refused: it may only need its UTF-8 repaired."""
        try:
            line.decode()
        except UnicodeDecodeError as invalid:
            if rules.invalid == "repair":
                return self._record(number, line.decode("utf-8", "replace").encode(), rules)
            return self._rejected(number, INVALID_UTF8, f"byte {invalid.start} of the line: {invalid.reason}")
        return self._rejected(number, BROKEN_JSON, f"column {error.colno}: {error.msg}")


def _type_of(value: object) -> str:
    return TYPE_NAMES.get(type(value), "object")


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
