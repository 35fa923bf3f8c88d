"""Cut a stream of JSON into the bytes of its records: its lines, or the elements of its array.

Neither the file nor an overlong record is ever in memory: an overlong record is skipped as it streams by. Lines are cut
by `split`. Elements are cut at the commas between them, which numpy finds block by block: a quote opens or closes a
string unless an odd number of backslashes precedes it, and outside of strings brackets give the depth.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from byteproxy.corpus.decompression import Damage, Stream
from byteproxy.corpus.json_shape import BOM

OnProgress: TypeAlias = Callable[[int], object]

_QUOTE, _BACKSLASH, _COMMA = b'"\\,'
_OUTWARD = np.zeros(256, np.int8)
_OUTWARD[list(b"[{")] = 1
_OUTWARD[list(b"]}")] = -1
_STRUCTURE = _OUTWARD != 0
_STRUCTURE[_COMMA] = True


class Pieces:
    """The records of a stream as bytes, each with its length.

    Of one with more bytes than `longest` (if that isn't 0) any part is given.
    rest: after the last one, what stands between it and damage.
    """

    def __init__(self, stream: Stream, is_array: bool, longest: int, passed: OnProgress) -> None:
        """passed: told after each block how many bytes on disk are behind."""
        self.rest = b""
        self._stream, self._longest, self._passed = stream, longest, passed
        self._cut = _Commas(stream) if is_array else None

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        held: list[bytes] = []
        length = 0
        while block := self._stream.read():
            self._passed(self._stream.position)
            first, *others = block.split(b"\n") if self._cut is None else self._cut.split(block)
            length += len(first)
            if 0 < self._longest < length:
                held.clear()
            else:
                held.append(first)
            if others:
                yield b"".join(held), length
                for piece in others[:-1]:
                    yield piece, len(piece)
                held, length = [others[-1]], len(others[-1])
        if self._cut is not None:
            self._cut.end()
        if self._stream.damage is not None:
            self.rest = b"".join(held)
        elif length:
            yield b"".join(held), length


class _Commas:
    """Cuts the blocks of one array, or of several behind each other, between their elements."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._depth = 0
        self._inside = 0  # whether a string goes on
        self._kept = b""  # backslashes that a block ended with
        self._begun = False

    def split(self, block: bytes) -> list[bytes]:
        """The parts of a block between the commas and brackets of the array itself."""
        if not self._begun:
            self._begun = True
            block = block.removeprefix(BOM)
        block = self._kept + block
        whole = block.rstrip(b"\\")
        self._kept = block[len(whole) :]
        return self._parts(whole) if whole else [b""]

    def end(self) -> None:
        """Say what is wrong with the array, if it isn't whole or other text is behind it."""
        if self._stream.damage is None and self._depth:
            self._stream.damage = Damage("the array breaks off", 0, is_cut=True)

    def _parts(self, block: bytes) -> list[bytes]:
        data = np.frombuffer(block, np.uint8)
        quotes = _unescaped(data)
        marks = np.flatnonzero(_STRUCTURE[data])
        outside = (np.searchsorted(quotes, marks) + self._inside) % 2 == 0
        marks = marks[outside]
        step = _OUTWARD[data[marks]]
        depth = self._depth + np.cumsum(step, dtype=np.int64)
        self._inside = (self._inside + len(quotes)) % 2
        # The array's own brackets, and the commas between its elements.
        cuts = marks[((step == 0) & (depth == 1)) | ((step == 1) & (depth == 1)) | ((step == -1) & (depth <= 0))]
        self._depth = int(depth[-1]) if len(depth) else self._depth
        begins = [0, *(cuts + 1).tolist()]
        return [block[begin:end] for begin, end in zip(begins, [*cuts.tolist(), len(block)], strict=True)]


def _unescaped(data: np.ndarray) -> np.ndarray:
    """Where quotes stand that begin or end a string; int64 [quotes], ascending. data: uint8 [bytes]."""
    quotes = np.flatnonzero(data == _QUOTE)
    slashes = np.flatnonzero(data == _BACKSLASH)
    if not len(slashes) or not len(quotes):
        return quotes
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)  # of each run of backslashes, its first
    lengths = np.diff(np.append(begins, len(slashes)))
    behind = slashes[begins] + lengths  # of each run, the place behind it
    return np.setdiff1d(quotes, behind[lengths % 2 == 1], assume_unique=True)
