"""The passages of one side as a table: what a planner needs of a corpus, in a file that is mapped and not read.

A row is a passage, a few 64-bit numbers: where it begins in its shard and how much there is of it, in bytes and in
the symbols of each view, or in its units (runs of symbols up to one with a span; where it begins is a symbol even
then). The rows of a source stand together. The table is made once, shard by shard, and kept in the corpus's folder
`.passages`, which may be deleted at any time; where it can't be written it stays in memory. Cost: 24 bytes a passage
and 16 more for each view, on disk; no memory of its own for a process that maps it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.progress import Progress, silent
from byteproxy.store.format import write_whole
from byteproxy.store.passages import Passages

KEY, BYTE_START, BYTES, VIEWS = range(4)  # columns; each view brings two more: SYMBOL_START, SYMBOLS
PLACE_BITS = 40
"""KEY is the shard's number above, and the passage's place in its document, from 0, in the lower bits."""
VERSION = 3
FOLDER = ".passages"


@dataclass(frozen=True)
class SourcePassages:
    """What the table holds of one source.

    first: its first row. passages, documents: how many (documents without text are none).
    sums: bytes, then symbols (or units) of each view, of all its passages.
    """

    name: str
    first: int
    passages: int
    documents: int
    sums: tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    """What there is to know of a table without reading it.

    most: the longest passage in bytes, and the one of most symbols (or units) in each view.
    """

    sources: tuple[SourcePassages, ...]
    most: tuple[int, ...]


class Table(NamedTuple):
    """P passages of V views: int64 [P, 3 + 2 V], columns as named above, read-only; and its summary."""

    rows: np.ndarray
    summary: Summary

    def lengths(self, representation: int) -> np.ndarray:
        """The bytes (representation 0) or symbols (1 and up; or units) of each passage, int64 [P]; a view."""
        return self.rows[:, length_column(representation)]


class Cuts(Protocol):
    """A side of a store, cut into passages shard by shard."""

    def sources(self) -> list[set[int]]:
        """The numbers of the sources that each shard holds documents of."""

    def shard(self, at: int) -> tuple[Passages, np.ndarray, np.ndarray]:
        """The passages of a shard, P of them in V views, and more about them.

        Then what each counts in each view, symbols or units: int64 [V, P]; and the number of the source of each of the
        shard's documents.
        """


def start_column(representation: int) -> int:
    """The column that says where in the shard a passage begins."""
    return BYTE_START + 2 * representation


def length_column(representation: int) -> int:
    """The column that says how many bytes or symbols (or units) a passage has."""
    return BYTES + 2 * representation


def kept_table(
    folder: Path, key: str, cuts: Cuts, sources: list[str], views: int, progress: Progress = silent
) -> Table:
    """The table that `key` names, out of the corpus's folder or, if it isn't there, made and left there.

    key: a hash of all that decides the table. views: how many views the passages give symbols for.
    progress: passages made; the total is 0.
    """
    told, path = folder / FOLDER / f"{key}.json", folder / FOLDER / f"{key}.i64"
    found = _kept(told, path, views)
    if found is not None:
        return found
    made = _Making(sources, views, progress)
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, lambda file: [file.write(block) for block in made.blocks(cuts)])
        write_aside(told, json.dumps({"file": _identity(path), **asdict(made.summary())}).encode())
    except (OSError, InputError):  # no place to keep it
        made = _Making(sources, views, progress)
        rows = np.concatenate([np.empty((0, VIEWS + 2 * views), np.int64), *made.blocks(cuts)])
        rows.setflags(write=False)
        return Table(rows, made.summary())
    return Table(_mapped(path, views), made.summary())


def _kept(told: Path, path: Path, views: int) -> Table | None:
    """The table on disk, if it is there and is the file that was written."""
    try:
        content = json.loads(told.read_text())
        if content.pop("file") != _identity(path):
            return None
        sources = tuple(SourcePassages(**{**one, "sums": tuple(one["sums"])}) for one in content["sources"])
        return Table(_mapped(path, views), Summary(sources, tuple(content["most"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _identity(path: Path) -> list[int]:
    """Changes when a file is written to: its size, inode and time of change."""
    found = path.stat()
    return [found.st_size, found.st_ino, found.st_mtime_ns]


def _mapped(path: Path, views: int) -> np.ndarray:
    columns = VIEWS + 2 * views
    if path.stat().st_size == 0:
        return np.empty((0, columns), np.int64)
    return np.memmap(path, np.int64, "r").reshape(-1, columns)


class _Making:
    """Rows shard by shard, and what there is to sum up."""

    def __init__(self, sources: list[str], views: int, progress: Progress) -> None:
        self.names, self.views, self.progress = sources, views, progress
        self.passages = np.zeros(len(sources), np.int64)
        self.documents = np.zeros(len(sources), np.int64)
        self.sums = np.zeros((len(sources), 1 + views), np.int64)
        self.most = np.zeros(1 + views, np.int64)

    def blocks(self, cuts: Cuts) -> Iterator[np.ndarray]:
        """The rows of the table from first to last, int64 [any, columns], those of a source together.

        A shard holds documents in the order of their sources, so a table streams; of a store that was filled in another
        order, one source is made after the other.
        """
        sources = cuts.sources()
        for turn in self._turns(sources):
            for shard, present in enumerate(sources):
                if not turn & present:
                    continue
                passages, counts, source_of_document = cuts.shard(shard)
                rows = _rows(passages, counts)
                source = source_of_document[passages.document]
                for number in sorted(turn & present):
                    own = np.ascontiguousarray(rows[source == number])
                    self._count(number, own)
                    yield own
                self.progress(int(self.passages.sum()), 0)

    def _turns(self, present: list[set[int]]) -> list[set[int]]:
        """Sources that one pass over the shards takes: all of them if it finds them in order."""
        sorted_through = all(max(here) <= min(there) for here, there in pairwise(filter(None, present)))
        everything = set(range(len(self.names)))
        return [everything] if sorted_through else [{number} for number in sorted(everything)]

    def summary(self) -> Summary:
        """Of all blocks so far."""
        firsts = np.cumsum(self.passages) - self.passages
        sources = tuple(
            SourcePassages(name, int(first), int(passages), int(documents), tuple(map(int, sums)))
            for name, first, passages, documents, sums in zip(
                self.names, firsts, self.passages, self.documents, self.sums, strict=True
            )
        )
        return Summary(sources, tuple(map(int, self.most)))

    def _count(self, source: int, rows: np.ndarray) -> None:
        lengths = rows[:, BYTES::2]
        self.passages[source] += len(rows)
        self.documents[source] += int((rows[:, KEY] & ((1 << PLACE_BITS) - 1) == 0).sum())
        self.sums[source] += lengths.sum(axis=0)
        np.maximum(self.most, lengths.max(axis=0, initial=0), out=self.most)


def _rows(passages: Passages, counts: np.ndarray) -> np.ndarray:
    """Rows of the table for the passages of one shard; counts: int64 [V, P], as `Cuts.shard` gives them."""
    count = len(passages)
    rows = np.empty((count, VIEWS + 2 * len(counts)), np.int64)
    begins = np.flatnonzero(np.diff(passages.document, prepend=-1))
    place = np.arange(count) - np.repeat(begins, np.diff(begins, append=count))
    rows[:, KEY] = passages.shard.astype(np.int64) << PLACE_BITS | place
    rows[:, BYTE_START] = passages.byte_start
    rows[:, BYTES] = passages.byte_end - passages.byte_start
    for view, own in enumerate(counts):
        rows[:, start_column(1 + view)] = passages.symbol_start[view]
        rows[:, length_column(1 + view)] = own
    return rows
