"""Read a file from front to back, decompressed if needed, up to its damage.

gzip, Zstandard (windows up to 2 GiB, skippable frames), xz and bzip2 are read as their own tools read them: any number
of members or frames, then any number of zero bytes. Reading never raises. From a damaged file it gives every byte that
the decompressor can give before the damage, and `damage` says what lies behind it. Python's decompressors hold back
their output for the input block in which they find damage, so that block is read again byte by byte. A damaged file
takes three times as long as a sound one; a sound one pays nothing. gzip, xz and bzip2 notice some damage only by the
checksum at the end of a member or block, so the text before it is given and may be wrong. A sound bzip2 block is lost
too, and counted, if the very next byte is damaged, because the library reports the same error.

Zstandard comes from `backports.zstd`, the module of Python 3.14: pyarrow's stream refuses windows above 128 MiB and
loses up to a block of text before damage. Speed and memory are those of the libraries, plus 1 MiB.
"""

import bz2
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from typing import NamedTuple, Protocol

from backports import zstd

BLOCK_BYTES = 1 << 18
"""Bytes of a plain file that are read together."""
COMPRESSED_BYTES = 1 << 16
"""Bytes of a compressed file that are decompressed together."""
FIRST_BYTES = 1 << 12
"""The same, at the beginning of a member: what a small one leaves over is copied."""
MAX_BYTES = 1 << 20
"""Bytes that a decompressor may give at once."""
LARGEST_WINDOW = 31  # 2 GiB, the largest that Zstandard has

COMPRESSIONS = {
    "gzip": (re.compile(rb"\x1f\x8b\x08"),),
    "zstd": (re.compile(rb"\x28\xb5\x2f\xfd"), re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)),
    "xz": (re.compile(rb"\xfd7zXZ\x00"),),
    "bzip2": (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),),
}
"""How a member of each begins; of Zstandard also a frame to be skipped."""
LONGEST_MAGIC = 10

_BROKEN = (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError, zstd.ZstdError)


class Damage(NamedTuple):
    """Damage that hides the rest of a file.

    lost_bytes: bytes on disk that could not be read.
    is_cut: whether the file ends where more should come, so that nobody can tell how much is missing.
    """

    detail: str
    lost_bytes: int
    is_cut: bool = False


class Stream:
    """A file that is open at its beginning, in blocks.

    size: bytes on disk. damage: None, or why `read` came to an end before the file did.
    """

    def __init__(self, file: FileIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self.damage: Damage | None = None
        self._file = file
        self._ahead = b""
        self._blocks = filter(None, self._plain())

    @property
    def position(self) -> int:
        """Bytes on disk that are behind, up to a block more than what `read` gave needed."""
        return self._file.tell()

    def decompress(self, compression: str) -> None:
        """Begin again, and decompress from here on."""
        self._file.seek(0)
        self._ahead = b""
        self._blocks = filter(None, _Members(self, self._file, compression).decompressed())

    def read(self) -> bytes:
        """The next bytes, some or many; none at the end, or at damage."""
        if self._ahead:
            block, self._ahead = self._ahead, b""
            return block
        return next(self._blocks, b"")

    def peek(self, size: int) -> bytes:
        """The next `size` bytes or more, which `read` still gives; fewer at the end."""
        blocks = [self._ahead]
        held = len(self._ahead)
        while held < size and (block := next(self._blocks, b"")):
            blocks.append(block)
            held += len(block)
        self._ahead = b"".join(blocks)
        return self._ahead

    def _plain(self) -> Iterator[bytes]:
        while True:
            try:
                block = self._file.read(BLOCK_BYTES)
            except OSError as error:
                behind = self._file.tell()
                self.damage = Damage(f"can't read on: {error.strerror or error}", max(self.size - behind, 0))
                return
            if not block:
                return
            yield block


class _Decoder(Protocol):
    """What the decompressors of bz2, lzma and zstd are, for one member."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor as one of these."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        rest = self._zlib.unconsumed_tail
        given = self._zlib.decompress(rest + data if rest else data, max(max_length, 0))
        self.needs_input = not self._zlib.unconsumed_tail and not 0 < max_length <= len(given)
        return given


def _decoder(compression: str) -> _Decoder:
    match compression:
        case "gzip":
            return _Gzip()
        case "xz":
            return lzma.LZMADecompressor(lzma.FORMAT_XZ)
        case "bzip2":
            return bz2.BZ2Decompressor()
        case _:
            return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: LARGEST_WINDOW})


class _Members:
    """The members of a compressed file, one after the other, for the stream that is told of damage."""

    def __init__(self, stream: Stream, file: FileIO, compression: str) -> None:
        self._stream, self._file, self._compression = stream, file, compression
        self._block = b""
        self._place = 0  # within the block

    def decompressed(self) -> Iterator[bytes]:
        try:
            while self._begins():
                yield from self._member()
                if self._stream.damage is not None:
                    return
        except OSError as error:
            self._stop(f"can't read on: {error.strerror or error}", self._at)

    @property
    def _at(self) -> int:
        """Where in the file the next bytes stand."""
        return self._file.tell() - len(self._block) + self._place

    def _more(self) -> bool:
        """Have at least one byte at hand, if the file has one."""
        if self._place == len(self._block):
            self._block, self._place = self._file.read(COMPRESSED_BYTES), 0
        return bool(self._block)

    def _begins(self) -> bool:
        """Whether another member begins here; zeros before it and at the end are passed over."""
        begin = self._at
        while self._more():
            rest = self._block[self._place :].lstrip(b"\0") if self._at else self._block
            self._place = len(self._block) - len(rest)
            if rest:
                break
        else:
            return False
        if len(rest) < LONGEST_MAGIC:
            self._block, self._place = rest + self._file.read(max(COMPRESSED_BYTES, LONGEST_MAGIC)), 0
        if any(magic.match(self._block, self._place) for magic in COMPRESSIONS[self._compression]):
            return True
        size = self._stream.size - begin
        self._stop(f"{size:,} bytes behind the end of the {self._compression} data are something else", begin)
        return False

    def _member(self) -> Iterator[bytes]:
        decoder = _decoder(self._compression)
        begin, given, size = self._at, 0, FIRST_BYTES
        sound = begin
        while not decoder.eof:
            if not self._more():
                what = f"the {self._compression} data breaks off"
                self._stream.damage = Damage(what, 0, is_cut=True)
                return
            at, piece = self._at, self._block[self._place : self._place + size]
            self._place += len(piece)
            size = min(2 * size, COMPRESSED_BYTES)
            try:
                for part in _parts(decoder, piece, MAX_BYTES):
                    given += len(part)
                    if part:
                        sound = self._at
                    yield part
            except _BROKEN as error:
                yield from self._rest(begin, at, piece, given, min(sound, at), error)
                return
        self._place -= len(decoder.unused_data)

    def _rest(self, begin: int, at: int, piece: bytes, given: int, sound: int, error: BaseException) -> Iterator[bytes]:
        """What a member still gives before its damage, which is in `piece`, at `at` of the file.

        begin: where the member begins. given: how much of it was given already. sound: up to where, in the file, that
        was read from: what is between there and the damage is lost as well, of bzip2 and zstd up to a whole block.
        """
        decoder, behind = self._again(begin, at)
        runs: list[tuple[int, bytes]] = []  # where in the piece something was given, and what
        place = 0
        with suppress(*_BROKEN):
            for place in range(len(piece)):
                if part := b"".join(_parts(decoder, piece[place : place + 1], MAX_BYTES)):
                    runs.append((place, part))
        if self._compression == "bzip2":
            # It looks at the checksum of a block when all of it was asked for, up to a byte of input later than it
            # gives the first of it: that, and what the last byte gives, is mostly what the damage made of the block.
            if runs and runs[-1][0] == place - 1:
                runs.pop()
        else:
            # What the decompressor has of the very byte at which it stops is given if it is asked for singly.
            decoder, _ = self._again(begin, at + place)
            with suppress(*_BROKEN):
                runs += ((place, part) for part in _parts(decoder, piece[place : place + 1], 1) if part)
        if runs:
            sound = at + runs[-1][0] + 1
        yield b"".join(part for _, part in runs)[given - behind :]
        self._stop(f"the {self._compression} data is damaged at byte {at + place:,} or before: {error}", sound)

    def _again(self, begin: int, end: int) -> tuple[_Decoder, int]:
        """A decompressor that has read from `begin` up to `end` of the file, and how many bytes it gave."""
        decoder, given = _decoder(self._compression), 0
        place = self._file.tell()
        self._file.seek(begin)
        while begin < end and (block := self._file.read(min(COMPRESSED_BYTES, end - begin))):
            given += sum(map(len, _parts(decoder, block, MAX_BYTES)))
            begin += len(block)
        self._file.seek(place)
        return decoder, given

    def _stop(self, detail: str, at: int) -> None:
        self._stream.damage = Damage(detail, max(self._stream.size - at, 0))


def _parts(decoder: _Decoder, piece: bytes, most: int) -> Iterator[bytes]:
    """All that a decompressor gives for a piece of input, at most `most` bytes at once.

    bz2's says that it needs input where it has read all of it, though it may have more to give.
    """
    part = decoder.decompress(piece, most)
    yield part
    while not decoder.eof and (not decoder.needs_input or len(part) >= most):
        part = decoder.decompress(b"", most)
        yield part
