"""Views and documents that are small enough to reason about, for the tests of the store."""

import re
from hashlib import sha256
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.store.corpus_folder import LOCK, MARKER, SOURCES, VERIFIED
from byteproxy.views.base import Encoded

SPLIT_SALT = "toys"


class Pieces:
    """A fuzzy but aligned view: pieces that a pattern finds, each with its first byte as its symbol."""

    aligned = True
    alphabet_size = 256

    def __init__(self, pattern: bytes, name: str = "pieces") -> None:
        self.pattern, self.name = pattern, name

    @property
    def fingerprint(self) -> str:
        return sha256(self.pattern).hexdigest()

    def encode(self, document: bytes) -> Encoded:
        found = re.findall(self.pattern, document, re.DOTALL)
        symbols = np.array([piece[0] for piece in found], dtype=np.uint16)
        return Encoded(symbols, np.array([len(piece) for piece in found], dtype=np.uint32))

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        return [self.encode(document) for document in documents]

    def decode(self, symbols: np.ndarray) -> bytes:
        raise ValueError("a fuzzy view")


class Nibbles:
    """A view finer than a byte, with an end mark: high half, low half, which completes the byte, and a last symbol."""

    name = "nibbles"
    aligned = True
    alphabet_size = 100_000
    fingerprint = "nibbles 1"

    def encode(self, document: bytes) -> Encoded:
        data = np.frombuffer(document, dtype=np.uint8)
        symbols = np.append(np.stack([data >> 4, data & 15], axis=1).ravel(), 99_999).astype(np.uint32)
        return Encoded(symbols, np.append(np.tile([0, 1], len(data)), 0).astype(np.uint32))

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        return [self.encode(document) for document in documents]

    def decode(self, symbols: np.ndarray) -> bytes:
        return bytes((symbols[:-1:2] * 16 + symbols[1:-1:2]).astype(np.uint8))


class Halves(Nibbles):
    """Nibbles that a store takes: the mark that belongs to no byte stands in front, in a unit with the first byte."""

    name = "halves"
    fingerprint = "halves 1"

    def encode(self, document: bytes) -> Encoded:
        symbols, span_bytes = super().encode(document)
        return Encoded(np.roll(symbols, 1), np.roll(span_bytes, 1))

    def decode(self, symbols: np.ndarray) -> bytes:
        return super().decode(np.roll(symbols, -1))


class Opaque:
    """A view that can't say which bytes a symbol covers."""

    name = "opaque"
    aligned = False
    alphabet_size = 256
    fingerprint = "opaque 1"

    def encode(self, document: bytes) -> Encoded:
        return Encoded(
            np.frombuffer(sha256(document).digest(), dtype=np.uint8).astype(np.uint16), np.empty(0, np.uint32)
        )

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        return [self.encode(document) for document in documents]

    def decode(self, symbols: np.ndarray) -> bytes:
        raise ValueError("a fuzzy view")


SPLIT = SplitOptions(0.2, 0.2)
WORDS = Pieces(rb"[a-z]+|\n|.", "words")
LINES = Pieces(rb"[^\n]*\n|[^\n]+", "lines")
HUNDREDS = Pieces(rb".{1,100}", "hundreds")


class StoppedError(Exception):
    """Stands in for a kill."""


class StopsHalfway(Pieces):
    """WORDS, until it has seen so many documents."""

    def __init__(self, documents: int) -> None:
        super().__init__(WORDS.pattern, WORDS.name)
        self.left = documents

    def encode(self, document: bytes) -> Encoded:
        self.left -= 1
        if self.left < 0:
            raise StoppedError
        return super().encode(document)


def a_document(number: int, text: bytes, projects: int = 7) -> Document:
    return Document(
        id=f"file-{number}.py", text=text, source=f"toy-{number % 2}", project=f"project-{number % projects}"
    )


LINE = st.one_of(st.binary(max_size=40), st.text("abc d=", max_size=300).map(str.encode))
TEXTS = st.lists(LINE, max_size=20).map(b"\n".join)
CORPORA = st.lists(TEXTS, min_size=1, max_size=8).map(
    lambda texts: [a_document(number, text) for number, text in enumerate(texts)]
)
FIXED_TEXTS = [
    b"",
    b"x" * 5000,
    b"line\n" * 3000,
    bytes(range(256)) * 9,
    b"no end",
    b"\n" * 700,
    b"a longer line\n\n" * 90,
]
FIXED = [a_document(number, b"%d" % number * 3 + text) for number, text in enumerate(FIXED_TEXTS * 6)]


BESIDE = {LOCK, MARKER, SOURCES, VERIFIED}
"""Files in a corpus's folder that are no part of the corpus."""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a corpus by name, leftovers of an unfinished run included."""
    paths = [path for path in sorted(folder.iterdir()) if path.name not in BESIDE]
    return {path.name: b"a folder" if path.is_dir() else path.read_bytes() for path in paths}


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Changes whenever a file is written anew, even with the same content."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir() if path.name not in BESIDE
    }
