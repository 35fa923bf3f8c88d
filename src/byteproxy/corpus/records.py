"""Records that reading a source gives, and the rules that accept or reject them.

A source is read in *units*. Any process can read a unit by itself and can start at any record. Reading never raises for
a bad record: it gives the record with a reason, which is counted and listed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol, TypeAlias

from byteproxy.corpus.document import Document
from byteproxy.errors import InputError

# Reasons of a record that is damaged; their share decides whether a preparation goes on.
BROKEN_JSON = "broken JSON"
NO_TEXT = "no text field"
WRONG_TYPE = "text of a wrong type"
INVALID_UTF8 = "invalid UTF-8"
UNREADABLE = "unreadable"
BAD_NAME = "name that is not Unicode"
WIDE = "text in UTF-16 or UTF-32"
FAULTY = (BROKEN_JSON, NO_TEXT, WRONG_TYPE, INVALID_UTF8, UNREADABLE, BAD_NAME, WIDE)
# Reasons of a sound record that is not wanted.
TOO_SMALL = "too small"
TOO_LARGE = "too large"
BINARY = "not text"
POINTER = "pointer to data elsewhere"
OTHER_KIND = "another kind of content"
EXACT_DUPLICATE = "exact duplicate"
NEAR_DUPLICATE = "near-duplicate"
BETWEEN_SPLITS = "between two sides"
UNWANTED = (TOO_SMALL, TOO_LARGE, BINARY, POINTER, OTHER_KIND, EXACT_DUPLICATE, NEAR_DUPLICATE, BETWEEN_SPLITS)

USUAL_RECORD_BYTES = 1024
"""Bytes on disk of a record, where there is nothing to tell it by."""

Invalid = Literal["keep", "drop", "repair"]


@dataclass(frozen=True)
class Rules:
    """The rules that accept or reject a record.

    smallest, largest: bytes of text that a document has at least and at most; largest 0 means no limit.
    invalid: what to do with text that is not UTF-8: keep its bytes as they are, drop the document, or repair it by
        writing U+FFFD for each byte or sequence that can't be decoded (as `bytes.decode("utf-8", "replace")` does).
    """

    smallest: int = 1
    largest: int = 64 << 20
    invalid: Invalid = "keep"

    def __post_init__(self) -> None:
        if self.smallest < 0 or self.largest < 0:
            raise InputError(f"min_bytes is {self.smallest} and max_bytes {self.largest}: give 0 or more")
        if 0 < self.largest < self.smallest:
            raise InputError(f"largest {self.largest} is below smallest {self.smallest}: no document fits")
        if self.invalid not in ("keep", "drop", "repair"):
            raise InputError(f"invalid is {self.invalid!r}: give keep, drop or repair")


class Record(NamedTuple):
    """One record of a unit: a document, or a reason why there is none.

    place: number within the unit, from 1, never descending; reading can go on after any. Records of one line have one.
    file: path relative to the source's root, or the file's name.
    line: line of a JSONL file, element of a JSON array or row of a table, from 1; 0 where the file is the document.
    records: how many records it stands for: above 1 where several were lost together, and then often an estimate.
    lost_bytes: bytes on disk of what was lost, as far as it can be told.
    """

    place: int
    file: str
    line: int
    document: Document | None
    reason: str = ""
    detail: str = ""
    records: int = 1
    lost_bytes: int = 0


Passed: TypeAlias = Callable[[int], None]


def unheard(size: int) -> None:
    """Take no notice of how far reading is."""


class Unit(Protocol):
    """A part of a source that is read in one go; can be pickled."""

    @property
    def source(self) -> str:
        """The name of the source."""

    @property
    def what(self) -> str:
        """What it reads, for people: a file, or "310 files from a/b.py"."""

    @property
    def size(self) -> int:
        """Bytes that it reads from disk, for progress."""

    @property
    def key(self) -> str:
        """A hash of all that decides what is read: kind, options, names, sizes and times of the files; not the rules.

        Empty where nobody can tell; what was read of such a unit is never reused.
        """

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        """The records with a place above `after`, in order.

        Costs no parsing of those before, but they may have to be decompressed.
        passed: told now and then how many of the unit's bytes on disk are behind.
        """


def key_of(*read: object) -> str:
    """The key of a unit, of all that decides what is read."""
    return blake2b(repr(read).encode(), digest_size=16).hexdigest()


class Source(Protocol):
    """Where documents come from; a manifest keeps its name and weight."""

    @property
    def name(self) -> str:
        """A name for people and manifests."""

    @property
    def weight(self) -> float:
        """How often its text is shown, relative to its size: 2 is twice as often as at weight 1."""

    def units(self) -> list[Unit]:
        """What there is to read, in an order that depends on names only."""


def lost_records(lost_bytes: int, records: int, read_bytes: int) -> int:
    """How many records were lost with some bytes on disk: an estimate, and at least 1.

    records: those that were read of the file before. read_bytes: bytes on disk that they took. Where nothing was read,
    a record is taken to have USUAL_RECORD_BYTES.
    """
    each = read_bytes / records if records and read_bytes else USUAL_RECORD_BYTES
    return max(1, round(lost_bytes / each))


def judged(text: bytes, rules: Rules) -> tuple[bytes | None, str, str]:
    """The text that a document gets by the rules, or None with a reason and a detail."""
    if rules.invalid != "keep" and not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            if rules.invalid == "drop":
                return None, INVALID_UTF8, f"byte {error.start}: {error.reason}"
            text = text.decode("utf-8", "replace").encode()
    if len(text) < rules.smallest:
        return None, TOO_SMALL, f"{len(text)} bytes"
    if rules.largest and len(text) > rules.largest:
        return None, TOO_LARGE, f"{len(text)} bytes"
    return text, "", ""
