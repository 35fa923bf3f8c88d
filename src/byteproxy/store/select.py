"""Decide which records become documents, and of which split: a pure function of the staged records in global order.

Exact duplicates are found by sorting the first 16 bytes of the texts' SHA-256; two different texts that share them by
accident are not to be expected. Of equal texts the first stays. Near-duplicates are compared by their signatures: those
of held-out documents are in memory, those of the train split stream by.

A document that is cut by position becomes several. They are staged as further records behind all others, and the
document's own record is dropped.

Memory: about 100 bytes per record at the peak, and 512 bytes and an index entry per held-out document.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from byteproxy.corpus import near_duplicates
from byteproxy.corpus.dividing import GAP, Cut, Documents, divide
from byteproxy.corpus.split import SPLITS, SplitGroup, SplitOptions
from byteproxy.progress import Stage
from byteproxy.store.manifest import NearDuplicates, SourceInfo
from byteproxy.store.split_documents import add_pieces
from byteproxy.store.staging import PART_BYTES, SIGNATURE_BYTES, Parts, are_documents, fixed_bytes, text_offsets

TRAIN = SPLITS.index("train")
# The fate of a record that is no document of a split; that of one that is, is the split's number.
REJECTED, DUPLICATE, LIKE_TRAIN, LIKE_EARLIER, LIKE_HELD_OUT, BETWEEN, IN_PIECES = -1, -2, -3, -4, -5, -6, -7
QUERIED_TOGETHER = 1 << 16  # signatures of train documents, 32 MB


@dataclass(frozen=True)
class Selection:
    """The fate of R records, in their global order.

    starts: int64 [parts + 1], the number of each part's first record.
    fate: int8 [R], a split's number or one of the negative constants above.
    sizes: int64 [R], bytes of text.
    copies, originals: int64 [exact duplicates], which records they are, ascending, and which each repeats.
    groups: how each part of the text was split.
    """

    starts: np.ndarray
    fate: np.ndarray
    sizes: np.ndarray
    copies: np.ndarray
    originals: np.ndarray
    sources: dict[str, SourceInfo]
    groups: tuple[SplitGroup, ...]

    @property
    def rejected(self) -> np.ndarray:
        """The numbers of the records that became no document, ascending; those in pieces became several."""
        return np.flatnonzero((self.fate < 0) & (self.fate != IN_PIECES))


def select(
    parts: Parts, options: SplitOptions, near: NearDuplicates, weights: dict[str, float], stage: Stage
) -> Selection:
    """Find duplicates and near-duplicates among all records, and the split of the rest.

    weights: of the sources, in their order.
    """
    survey = _survey(parts, weights)
    copies, originals = _repeated(survey.keys, np.flatnonzero(survey.fate != REJECTED))
    survey.fate[copies] = DUPLICATE
    survey.keys = np.ascontiguousarray(survey.keys[:, 0])  # half of the largest array, the rest of which is done with
    groups = _split(parts, survey, options)
    fate, starts = survey.fate, np.cumsum([0, *survey.rows], dtype=np.int64)
    if near != "keep" and (fate > TRAIN).any():
        with stage("compare", "documents") as progress:
            compared, total = 0, int((fate == TRAIN).sum())
            for done in _drop_similar(parts, starts, fate, near):
                compared += done
                progress(compared, total)
    sources = {name: source.info(weights.get(name, 1.0)) for name, source in survey.sources.items()}
    return Selection(starts, fate, survey.sizes, copies, originals, sources, groups)


def as_read(parts: Parts) -> Selection:
    """Select every document as it was read, duplicates included, for the train split."""
    documents = [are_documents(batch) for batch in parts]
    starts = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    fate = np.where(np.concatenate([*documents, np.empty(0, dtype=bool)]), np.int8(TRAIN), np.int8(REJECTED))
    none = np.empty(0, dtype=np.int64)
    return Selection(starts, fate, none, none, none, {}, ())


@dataclass
class _Survey:
    """What one pass over all parts gives: columns over all records, and a digest of each source.

    keys: uint64 [records, 2], and later the first of each. project, group: int32, into the names, which are numbered as
    they come up. file: int64, the same for what comes out of one file in pieces.
    """

    rows: list[int]
    fate: np.ndarray
    sizes: np.ndarray
    keys: np.ndarray
    project: np.ndarray
    group: np.ndarray
    file: np.ndarray
    projects: list[str]
    groups: list[tuple[str, str]]
    sources: dict[str, "_Source"]


def _survey(parts: Parts, weights: dict[str, float]) -> _Survey:
    sources = {name: _Source() for name in weights}
    projects, groups = _Names[str](), _Names[tuple[str, str]]()
    begins = _Files()
    columns: list[list[np.ndarray]] = [[], [], [], [], [], []]
    rows = []
    for batch in parts:
        documents = are_documents(batch)
        rows.append(len(documents))
        source, language = (_numbered(batch, name) for name in ("source", "language"))
        for column, found in zip(
            columns,
            (
                np.where(documents, np.int8(TRAIN), np.int8(REJECTED)),
                np.diff(text_offsets(batch.column("text"))).astype(np.int64, copy=False),
                np.ascontiguousarray(fixed_bytes(batch.column("digest"))[:, :16]).view(np.uint64),
                projects.of(*_numbered(batch, "project")),
                _pairs(groups, source, language),
                begins.of(batch),
            ),
            strict=True,
        ):
            column.append(found)
        _count(batch, documents, sources)
    fate, sizes, keys, project, group, begin = (np.concatenate(column) for column in columns)
    return _Survey(rows, fate, sizes, keys, project, group, np.cumsum(begin), list(projects), list(groups), sources)


_Name = TypeVar("_Name")


class _Names(dict[_Name, int], Generic[_Name]):
    """Numbers for names, in the order in which they come up."""

    def of(self, names: Sequence[_Name], numbers: np.ndarray) -> np.ndarray:
        """The numbers of names that a part numbers in its own way: int32 [records]."""
        return np.array([self.setdefault(name, len(self)) for name in names], np.int32)[numbers]


def _numbered(batch: pa.RecordBatch, name: str) -> tuple[list[str], np.ndarray]:
    column = batch.column(name).dictionary_encode()
    return column.dictionary.to_pylist(), column.indices.to_numpy()


def _pairs(
    groups: _Names[tuple[str, str]], source: tuple[list[str], np.ndarray], language: tuple[list[str], np.ndarray]
) -> np.ndarray:
    """The number of each record's source and language: int32 [records]."""
    width = len(language[0])
    found, numbers = np.unique(source[1].astype(np.int64) * width + language[1], return_inverse=True)
    return groups.of([(source[0][pair // width], language[0][pair % width]) for pair in found.tolist()], numbers)


class _Files:
    """Tells where another file begins. Records of line 0 are files, or pieces of one, which follow each other."""

    def __init__(self) -> None:
        self._last: tuple[Any, ...] = ()

    def of(self, batch: pa.RecordBatch) -> np.ndarray:
        """Which records are no further piece of the file of the record before: bool [records]."""
        begins = np.ones(len(batch), bool)
        if not len(batch):
            return begins
        begins[1:] = batch.column("line").to_numpy()[1:] != 0
        for name in ("source", "file"):
            column = batch.column(name)
            begins[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
        first, last = ([batch.column(name)[row].as_py() for name in ("source", "file", "line")] for row in (0, -1))
        begins[0] = first[2] != 0 or tuple(first) != self._last
        self._last = tuple(last)
        return begins


def _split(parts: Parts, survey: _Survey, options: SplitOptions) -> tuple[SplitGroup, ...]:
    """Give every document the number of its split as its fate, and add the pieces of those that are cut to all."""
    rows = np.flatnonzero(survey.fate == TRAIN)
    documents = Documents(
        project=survey.project[rows],
        group=survey.group[rows],
        size=survey.sizes[rows],
        file=survey.file[rows],
        draw=(survey.keys[rows] ^ np.uint64(options.draw("files"))) * np.uint64(0x9E3779B97F4A7C15),
        projects=survey.projects,
        groups=survey.groups,
    )

    def in_place(among: np.ndarray) -> np.ndarray:
        return among[_in_place(parts, np.cumsum([0, *survey.rows], dtype=np.int64), rows[among])]

    division = divide(documents, options, in_place)
    survey.fate[rows] = np.where(division.split == GAP, np.int8(BETWEEN), division.split)
    for cuts in _by_bytes(division.cuts, survey.sizes[rows]):
        number = [int(rows[cut.document]) for cut in cuts]
        survey.fate[number] = IN_PIECES
        splits, sizes = add_pieces(parts, np.cumsum([0, *survey.rows]), number, [cut.parts for cut in cuts])
        survey.fate = np.append(survey.fate, splits)
        survey.sizes = np.append(survey.sizes, sizes)
        survey.rows.append(len(splits))
    return division.groups


def _by_bytes(cuts: list[Cut], sizes: np.ndarray) -> Iterator[list[Cut]]:
    """Documents to cut, in the order of their records, in lists of PART_BYTES at most where they are smaller."""
    held: list[Cut] = []
    size = 0
    for cut in sorted(cuts, key=lambda cut: cut.document):
        if held and size + int(sizes[cut.document]) > PART_BYTES:
            yield held
            held, size = [], 0
        held.append(cut)
        size += int(sizes[cut.document])
    if held:
        yield held


def _in_place(parts: Parts, starts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The order of records, ascending, by their source, file and place in it: int64 [records]."""
    names = ["source", "file", "line", "place"]
    found = [parts[part].select(names).take(pa.array(own - starts[part])) for part, own in by_part(starts, rows)]
    keys = [(name, "ascending") for name in names]
    return pc.sort_indices(pa.Table.from_batches(found), sort_keys=keys).to_numpy().astype(np.int64)


def _count(batch: pa.RecordBatch, documents: np.ndarray, sources: dict[str, "_Source"]) -> None:
    """Add the documents of a part to their sources."""
    columns = batch.select(["source", "id", "project", "language", "digest"])
    sizes = np.diff(text_offsets(batch.column("text")))
    for name in pc.unique(columns.column("source")).to_pylist():
        own = documents & (pc.equal(columns.column("source"), name).to_numpy(zero_copy_only=False))
        if own.any():
            chosen = columns if own.all() else columns.filter(pa.array(own))
            sources.setdefault(name, _Source()).add(chosen, int(sizes[own].sum()))


@dataclass
class _Source:
    """What was read of one source so far; its digest doesn't depend on how the source was cut into units and parts."""

    documents: int = 0
    text_bytes: int = 0
    hashes: list[Any] = field(default_factory=lambda: [sha256() for _ in range(7)])

    def add(self, batch: pa.RecordBatch, text_bytes: int) -> None:
        self.documents += len(batch)
        self.text_bytes += text_bytes
        for column, name in enumerate(("id", "project", "language")):
            offsets = text_offsets(batch.column(name))
            self.hashes[2 * column].update(np.diff(offsets).astype("<i8"))
            self.hashes[2 * column + 1].update(memoryview(batch.column(name).buffers()[2] or b"")[: offsets[-1]])
        self.hashes[6].update(fixed_bytes(batch.column("digest")))

    def info(self, weight: float) -> SourceInfo:
        digest = sha256(b"".join(column.digest() for column in self.hashes)).hexdigest()
        return SourceInfo(self.documents, self.text_bytes, digest, weight)


def _repeated(keys: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which records repeat an earlier one, ascending, and the first that each repeats: int64 [repeated] each.

    keys: uint64 [records, 2]. among: int64, the records that count, ascending.
    """
    high, low = keys[among, 0], keys[among, 1]
    order = np.lexsort((low, high))  # stable, so the first of equal ones is the earliest
    high, low = high[order], low[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    repeated = np.flatnonzero(~new)
    if not len(repeated):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    first = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))[repeated]
    copies, originals = among[order[repeated]], among[order[first]]
    ascending = np.argsort(copies)
    return copies[ascending], originals[ascending]


def _drop_similar(parts: Parts, starts: np.ndarray, fate: np.ndarray, near: NearDuplicates) -> Iterator[int]:
    """Give near-duplicates their fate; yields now and then how many more train documents were compared."""
    held_out, train = np.flatnonzero(fate > TRAIN), np.flatnonzero(fate == TRAIN)
    signatures = np.empty((len(held_out), SIGNATURE_BYTES // 4), dtype=np.uint32)
    for rows, found in _signatures(parts, starts, held_out):
        signatures[np.searchsorted(held_out, rows)] = found
    if near == "held_out":
        similar = np.zeros(len(held_out), dtype=bool)
        yield from _mark_similar(signatures, similar, _signatures(parts, starts, train))
        fate[held_out[similar]] = LIKE_TRAIN
        held_out, signatures = held_out[~similar], signatures[~similar]
    repeats = near_duplicates.first_of_similar(signatures)
    fate[held_out[repeats]] = LIKE_EARLIER
    if near == "train":
        index = near_duplicates.Index(signatures[~repeats])
        for rows, found in _signatures(parts, starts, train):
            fate[rows[index.similar(found)]] = LIKE_HELD_OUT
            yield len(rows)


def _mark_similar(
    signatures: np.ndarray, similar: np.ndarray, others: Iterator[tuple[np.ndarray, np.ndarray]]
) -> Iterator[int]:
    """Mark each signature that is similar to any of the others, which pass by once; yields how many have.

    An index tells which of the others are similar to something, and few are; those are then looked up the other way
    round. What is marked leaves the index, so that what everybody has doesn't fill the memory.
    """
    index = near_duplicates.Index(signatures)
    waiting: list[np.ndarray] = []
    for rows, found in others:
        waiting.append(found[index.similar(found)])
        if sum(map(len, waiting)) >= QUERIED_TOGETHER:
            _mark(signatures, similar, waiting)
            index = near_duplicates.Index(signatures[~similar])
        yield len(rows)
    _mark(signatures, similar, waiting)


def _mark(signatures: np.ndarray, similar: np.ndarray, waiting: list[np.ndarray]) -> None:
    others = np.concatenate([signatures[:0], *waiting])
    waiting.clear()
    left = np.flatnonzero(~similar)
    if len(others) and len(left):
        similar[left] = near_duplicates.Index(others).similar(signatures[left])


def _signatures(parts: Parts, starts: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The signatures of some records, uint32 [some, 128], part by part, each with the records' numbers."""
    for part, own in by_part(starts, rows):
        yield own, fixed_bytes(parts[part].column("signature")).view(np.uint32)[own - starts[part]]


def by_part(starts: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Ascending numbers of records by the part that they are in."""
    bounds = np.searchsorted(rows, starts)
    for part in np.flatnonzero(np.diff(bounds)).tolist():
        yield part, rows[bounds[part] : bounds[part + 1]]
