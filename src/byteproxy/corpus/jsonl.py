"""JSON records with a text each: lines or one array, plain or compressed. A file is one unit.

The first bytes decide what the file is, not its name. Only one block of it and the current record are in memory. A
record that is longer than any allowed document is skipped as it streams by. Text in JSON is Unicode, so "keep" can't
keep bytes that aren't UTF-8. `json_record.py` says what becomes of a line.

A damaged file gives every record before the damage, and one rejection for the rest: it counts the bytes on disk that
could not be read, and estimates their records from the mean length of those before. The length of a truncated file is
unknown: what it lacks to the usual size of the source's other files counts as lost or, if that says nothing, as much
again as there is.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from byteproxy.corpus.content import Content, look_into
from byteproxy.corpus.decompression import Damage, Stream
from byteproxy.corpus.fields import Fields
from byteproxy.corpus.json_record import records_of
from byteproxy.corpus.json_records import Pieces
from byteproxy.corpus.records import (
    BROKEN_JSON,
    INVALID_UTF8,
    TOO_LARGE,
    TOO_SMALL,
    UNREADABLE,
    Passed,
    Record,
    Rules,
    key_of,
    lost_records,
    unheard,
)

OBJECT = ord("{")
BLANK = re.compile(rb"(?:[ \t\n\r]|\xef\xbb\xbf)*")
"""A line that holds nothing: blanks, and byte order marks as `cat` leaves them."""
LONGEST_ESCAPE = 6
"""Bytes of a line that one byte of text takes at most: "\\u0041"."""
SLACK_BYTES = 4 << 20
"""Bytes of a line that may stand beside its text, however short documents are to be."""


@dataclass(frozen=True)
class JsonlUnit:
    """A file of JSON records, as it was when it was listed.

    path: absolute. file: as records name it.
    usual: bytes on disk that the source's files usually have; 0 where there are no others.
    """

    source: str
    path: str
    file: str
    size: int
    mtime_ns: int
    fields: Fields
    usual: int = 0

    @property
    def what(self) -> str:
        return self.file

    @property
    def key(self) -> str:
        return key_of("jsonl", self.source, self.file, self.size, self.mtime_ns, self.fields, self.usual)

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        try:
            with open(self.path, "rb", buffering=0) as file:
                stream = Stream(file)
                content = look_into(stream)
                if content.is_text or content.kind == "unknown":  # a hole of NULs is one broken line
                    yield from self._read(stream, content, rules, after, passed)
                elif not after:
                    yield self._lost(1, self.size, f"{content.said}, not JSON; {content.remedy or 'leave it out'}")
        except OSError as error:
            yield self._lost(after + 1, self.size, error.strerror or str(error))

    def _read(self, stream: Stream, content: Content, rules: Rules, after: int, passed: Passed) -> Iterator[Record]:
        number = found = 0
        longest = LONGEST_ESCAPE * rules.largest + SLACK_BYTES if rules.largest else 0
        pieces = Pieces(stream, content.shape == "array", longest, passed)
        for number, (piece, length) in enumerate(pieces, 1):
            is_long = 0 < longest < length
            if not is_long and (not piece or piece.isspace() or (piece[0] != OBJECT and BLANK.fullmatch(piece))):
                continue
            found += 1
            if number <= after:
                continue
            if is_long:
                yield self._rejected(number, TOO_LARGE, f"a record of {length} bytes")
            else:
                yield from self._records(number, piece, rules)
        if stream.damage is not None:
            yield from self._damaged(stream.damage, pieces.rest, number, found, rules, after)
        elif not found and not after:
            yield Record(1, self.file, 0, None, TOO_SMALL, "the file holds no records")

    def _damaged(
        self, damage: Damage, rest: bytes, number: int, found: int, rules: Rules, after: int
    ) -> Iterator[Record]:
        """The record that stands before the damage without a line end, if it is whole, and what is lost behind it.

        number: of the last line. found: records so far.
        """
        last = list(self._records(number + 1, rest, rules)) if rest.strip() else []
        if last and all(record.reason not in (BROKEN_JSON, INVALID_UTF8) for record in last):
            number, found = number + 1, found + 1
            if number > after:
                yield from last
        if number + 1 <= after:
            return
        read = self.size - damage.lost_bytes
        missing = (self.usual - self.size if self.usual > self.size else read) if damage.is_cut else damage.lost_bytes
        records = lost_records(missing, found, read)
        about = f"about {records:,} records and {missing:,} bytes on disk are lost behind {found:,} records"
        rule = ", as it is shorter than others" if self.usual > self.size else ", if half of it is missing"
        detail = f"{damage.detail}: {about}{rule if damage.is_cut else ''}"
        yield Record(number + 1, self.file, number + 1, None, UNREADABLE, detail, records, missing)

    def _lost(self, place: int, size: int, detail: str) -> Record:
        """The whole of the file as lost."""
        return Record(place, self.file, 0, None, UNREADABLE, detail, lost_records(size, 0, 0), size)

    def _rejected(self, number: int, reason: str, detail: str) -> Record:
        return Record(number, self.file, number, None, reason, detail)

    def _records(self, number: int, line: bytes, rules: Rules) -> Iterable[Record]:
        return records_of(line, number, self.source, self.file, self.fields, rules)
