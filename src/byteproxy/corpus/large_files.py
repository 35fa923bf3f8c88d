"""Large text files as documents, cut at line ends. A file is read front to back and is never whole in memory.

A piece has 64 KiB at most. It ends after a line end in its second half, else after a blank, else between two
characters. Its id is the file's name and the byte at which it begins (`enwik8@000000065536`), and its project is the
file's. The pieces together hold all of the file, in its order, and are treated like any other documents: two pieces may
be near-duplicates of each other, as two files may.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from byteproxy.corpus.content import look_into, refusal
from byteproxy.corpus.decompression import Stream
from byteproxy.corpus.document import Document
from byteproxy.corpus.records import UNREADABLE, Passed, Record, Rules, judged, key_of, lost_records, unheard

PIECE_BYTES = 1 << 16
LARGE_FILE_BYTES = 1 << 24
NEARLY_ALL = 0.9
DIGITS = 12
"""Digits in a piece's id of the byte at which it begins: ids sort the pieces of any file below a terabyte."""
_CONTINUES = 0b10
"""The top bits of a byte of UTF-8 that begins no character."""


def are_corpora(sizes: list[int]) -> list[bool]:
    """Which files of a source are cut into documents, instead of being documents themselves; decided by their sizes.

    One that holds nine tenths of the source's text, so a single file always; and those above 16 MiB, if they hold more
    than half of it together. What is not above 64 KiB is one piece anyway. All this depends on sizes only.
    """
    total = sum(sizes)
    mostly_large = 2 * sum(size for size in sizes if size > LARGE_FILE_BYTES) > total
    return [
        size > PIECE_BYTES and (size >= NEARLY_ALL * total or (mostly_large and size > LARGE_FILE_BYTES))
        for size in sizes
    ]


def cut_before(text: bytes | memoryview, low: int, high: int) -> int:
    """The best cut of a text above `low` and up to `high`: after the last line end, else blank, else character."""
    window = bytes(text[low:high])
    for end in (b"\n", b" "):
        at = window.rfind(end)
        if at >= 0:
            return low + at + 1
    at = high
    while high < len(text) and low + 1 < at > high - 4 and text[at] >> 6 == _CONTINUES:
        at -= 1
    return high if at < len(text) and text[at] >> 6 == _CONTINUES else at


def in_pieces(read: Callable[[], bytes], most: int) -> Iterator[tuple[int, bytes]]:
    """A text in pieces of `most` bytes at most, each with the byte at which it begins.

    read: the next bytes of the text, some or many; none at its end.
    """
    held, at, begin = b"", 0, 0
    while True:
        while len(held) - at <= most and (more := read()):
            held, at = held[at:] + more, 0
        if at == len(held):
            return
        end = len(held) if len(held) - at <= most else cut_before(held, at + most // 2, at + most)
        yield begin, held[at:end]
        at, begin = end, begin + end - at


@dataclass(frozen=True)
class PiecesUnit:
    """One large file, as it was when it was listed.

    root: the folder that `path` is relative to.
    """

    source: str
    root: str
    path: str
    size: int
    mtime_ns: int
    project: str
    language: str

    @property
    def what(self) -> str:
        return self.path

    @property
    def key(self) -> str:
        return key_of("pieces", self.source, self.path, self.size, self.mtime_ns, self.project, self.language)

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        most = min(PIECE_BYTES, rules.largest or PIECE_BYTES)
        place = 0
        try:
            with open(os.path.join(self.root, self.path), "rb", buffering=0) as file:
                stream = Stream(file)
                content = look_into(stream)
                if not content.is_text:
                    if not after:
                        yield Record(1, self.path, 0, None, *refusal(content))
                    return
                for place, (begin, piece) in enumerate(in_pieces(stream.read, most), 1):
                    if place > after:
                        yield self._record(place, begin, piece, rules)
                    passed(stream.position)
                if stream.damage is not None and place + 1 > after:
                    lost = stream.damage.lost_bytes
                    records = lost_records(lost, place, self.size - lost)
                    yield Record(place + 1, self.path, 0, None, UNREADABLE, stream.damage.detail, records, lost)
        except OSError as error:
            if place + 1 > after:
                yield Record(place + 1, self.path, 0, None, UNREADABLE, error.strerror or str(error))

    def _record(self, place: int, begin: int, piece: bytes, rules: Rules) -> Record:
        text, reason, detail = judged(piece, rules)
        if text is None:
            return Record(place, self.path, 0, None, reason, f"from byte {begin}: {detail}")
        name = f"{self.path}@{begin:0{DIGITS}}"
        return Record(place, self.path, 0, Document(name, text, self.source, self.project, self.language))
