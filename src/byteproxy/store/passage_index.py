"""Index the passages of one split: all that a planner needs to know of a corpus, in a memory-mapped file.

A row describes a passage in a few 64-bit numbers: where it begins in its shard, and its length in bytes and in the
symbols of each view, or in its units (it begins at a symbol even then). The rows of a source stand together. The index
is made once, shard by shard, and kept in the corpus's folder `.passages`, which may be deleted at any time; if it can't
be written, it stays in memory. Cost: 24 bytes per passage and 16 more per view, on disk. A process that maps it needs
no memory of its own.

The index decides what is trained on, and compiled code follows its numbers. So `KEY.json` holds a checksum of itself
and of the rows in `KEY.i64`, and the state of that file when the rows were last found right. Nobody can write to the
file and keep that state (`integrity.identity`). Rows in another state are read and compared once more, at 1 GB/s, and
made again with a remark if they differ.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from byteproxy.errors import InputError
from byteproxy.files import open_inside, write_aside
from byteproxy.parsing import read_json
from byteproxy.progress import Progress, remark, silent
from byteproxy.store.format import FileInfo, file_info, write_whole
from byteproxy.store.integrity import checksummed, identity, is_settled
from byteproxy.store.passages import Passages

KEY, BYTE_START, BYTES, VIEWS = range(4)  # columns; each view brings two more: SYMBOL_START, SYMBOLS
PLACE_BITS = 40
"""KEY is the shard's number above, and the passage's place in its document, from 0, in the lower bits."""
VERSION = 4
FOLDER = ".passages"
_SLICE = 1 << 20


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
    """Facts about a table that need no reading of it.

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
    """A split of a store, cut into passages shard by shard."""

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
    folder: Path,
    key: str,
    cuts: Cuts,
    sources: list[str],
    views: int,
    text_bytes: np.ndarray,
    progress: Progress = silent,
) -> Table:
    """The table that `key` names, out of the corpus's folder or, if it isn't there, made and left there.

    key: a hash of all that decides the table. views: how many views the passages give symbols for.
    text_bytes: int64 [shards], of the whole corpus.
    progress: passages made; the total is 0.
    """
    summary_path, path = folder / FOLDER / f"{key}.json", folder / FOLDER / f"{key}.i64"
    found = _kept(summary_path, path, sources, views, text_bytes)
    if found is not None:
        return found
    made = _Making(sources, views, progress)
    try:
        path.parent.mkdir(exist_ok=True)
        info = write_whole(path, lambda file: [file.write(block) for block in made.blocks(cuts)])
        _write_summary(summary_path, path, info, made.summary())
        return Table(_mapped(path, views)[0], made.summary())
    except (OSError, InputError) as error:  # no place to keep it
        reason = error.strerror if isinstance(error, OSError) else error
        remark(f"{path.parent} can't be written to ({reason}): the table of passages is made in memory, each time anew")
    made = _Making(sources, views, progress)
    rows = np.concatenate([np.empty((0, VIEWS + 2 * views), np.int64), *made.blocks(cuts)])
    rows.setflags(write=False)
    return Table(rows, made.summary())


def check_kept(summary_path: Path) -> dict[str, Any] | None:
    """The stored description of a table; None if another version made it.

    Raises OSError, ValueError, TypeError or LookupError where it can't be read or was altered.
    """
    content = read_json(summary_path)
    if content.get("version") != VERSION:
        return None
    if content["sha256"] != checksummed({name: value for name, value in content.items() if name != "sha256"}):
        raise ValueError("its checksum is wrong")
    return dict(content)


def check_rows(path: Path) -> None:
    """Check the file of a table's rows. A file without a description belongs to no table."""
    summary_path = path.with_suffix(".json")
    content = check_kept(summary_path) if summary_path.exists() else None
    if content is not None and file_info(path) != FileInfo(**content["rows"]):
        raise ValueError("its checksum is wrong")


def _write_summary(summary_path: Path, path: Path, info: FileInfo, summary: Summary) -> None:
    """Keep what there is to know of a table's rows, found right just now; nothing where it can't be written."""
    found = os.stat(path)
    state = identity(found) if is_settled(found, time.time_ns()) else None
    content = {"version": VERSION, "rows": asdict(info), "state": state, **asdict(summary)}
    content["sources"] = list(content["sources"])
    with suppress(InputError):
        write_aside(summary_path, json.dumps({**content, "sha256": checksummed(content)}).encode())


def _kept(summary_path: Path, path: Path, names: list[str], views: int, text_bytes: np.ndarray) -> Table | None:
    """The table on disk, if it is there and is what was written."""
    try:
        content = check_kept(summary_path)
        if content is None:
            return None
        rows, found = _mapped(path, views)
        summary = _summary(content, names, rows)
        if content["state"] != identity(found):
            if file_info(path) != FileInfo(**content["rows"]):
                raise ValueError("the checksum of its rows is wrong")
            _ensure_fitting(rows, summary, text_bytes)
            _write_summary(summary_path, path, FileInfo(**content["rows"]), summary)
        return Table(rows, summary)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        remark(f"the table of passages {path} is damaged ({reason}) and made again")
        return None


def _summary(content: dict[str, Any], names: list[str], rows: np.ndarray) -> Summary:
    """The summary of a table; ValueError where it isn't one of these sources, with so many rows end to end."""
    sources = tuple(SourcePassages(**{**one, "sums": tuple(one["sums"])}) for one in content["sources"])
    summary = Summary(sources, tuple(content["most"]))
    counts = [count for one in sources for count in (one.first, one.passages, one.documents, *one.sums)]
    if [one.name for one in sources] != names or not all(type(one) is int for one in (*counts, *summary.most)):
        raise ValueError("it is of other sources")
    first, representations = 0, (rows.shape[1] - 1) // 2
    for one in sources:
        if one.first != first or one.passages < 0 or len(one.sums) != representations:
            raise ValueError("its sources don't stand end to end")
        first += one.passages
    if first != len(rows) or len(summary.most) != representations:
        raise ValueError("it has other rows than its sources")
    return summary


def _ensure_fitting(rows: np.ndarray, summary: Summary, text_bytes: np.ndarray) -> None:
    """ValueError where rows lie outside of the corpus's text, have no length, or sum to something else than is said."""
    lengths = rows[:, BYTES::2]
    for first in range(0, len(rows), _SLICE):
        some = rows[first : first + _SLICE]
        shard = some[:, KEY] >> PLACE_BITS
        if ((shard < 0) | (shard >= len(text_bytes))).any():
            raise ValueError("a passage is of no shard")
        if (some[:, BYTES::2] < 1).any() or (some[:, BYTE_START::2] < 0).any():
            raise ValueError("a passage has no length, or no place")
        if (some[:, BYTES] > text_bytes[shard] - some[:, BYTE_START]).any():
            raise ValueError("a passage lies outside of its shard")
    most = np.max(lengths, axis=0, initial=0)
    for one in summary.sources:
        own = slice(one.first, one.first + one.passages)
        documents = int((rows[own, KEY] & ((1 << PLACE_BITS) - 1) == 0).sum())
        if documents != one.documents or tuple(lengths[own].sum(axis=0).tolist()) != one.sums:
            raise ValueError("its sums are wrong")
    if tuple(most.tolist()) != summary.most:
        raise ValueError("its longest passages are others")


def _mapped(path: Path, views: int) -> tuple[np.ndarray, os.stat_result]:
    """The rows in a file, and the state of the file that is mapped."""
    columns = VIEWS + 2 * views
    with open_inside(path) as file:
        found = os.fstat(file.fileno())
        if found.st_size == 0:
            return np.empty((0, columns), np.int64), found
        return np.asarray(np.memmap(file, np.int64, "r")).reshape(-1, columns), found  # its own class indexes slowly


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
        """The summary of all blocks so far."""
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
