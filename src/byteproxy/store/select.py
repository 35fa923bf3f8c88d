"""Which records become documents of which side: a pure function of what was staged, in the records' global order.

Exact duplicates are found by sorting the first 16 bytes of the texts' SHA-256 (that two texts share them by accident is
not to be expected); of equal texts the first stays. Near-duplicates are compared by their signatures: those of the
held-out documents are in memory, those of the train side pass by.

Memory: about 80 bytes a record at its peak, and 512 bytes and an index entry for each held-out document.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from byteproxy.corpus import near_duplicates
from byteproxy.corpus.split import SIDES, Split
from byteproxy.progress import Stage
from byteproxy.store.format import NearDuplicates, SourceInfo
from byteproxy.store.staging import SIGNATURE_BYTES, Parts, are_documents, fixed_bytes, text_offsets

TRAIN = SIDES.index("train")
# The fate of a record that is no document of a side; that of one that is, is the side's number.
REJECTED, DUPLICATE, LIKE_TRAIN, LIKE_EARLIER, LIKE_HELD_OUT = -1, -2, -3, -4, -5
QUERIED_TOGETHER = 1 << 16  # signatures of train documents, 32 MB


@dataclass(frozen=True)
class Selection:
    """What becomes of R records, in their global order.

    starts: int64 [parts + 1], the number of each part's first record.
    fate: int8 [R], a side's number or one of the negative constants above.
    sizes: int64 [R], bytes of text.
    copies, originals: int64 [exact duplicates], which records they are, ascending, and which each repeats.
    """

    starts: np.ndarray
    fate: np.ndarray
    sizes: np.ndarray
    copies: np.ndarray
    originals: np.ndarray
    sources: dict[str, SourceInfo]


def select(parts: Parts, split: Split, near: NearDuplicates, weights: dict[str, float], stage: Stage) -> Selection:
    """Find duplicates and near-duplicates among all records, and the side of the rest.

    weights: of the sources, in their order.
    """
    survey = _survey(parts, split, weights)
    fate = survey.fate
    copies, originals = _repeated(survey.keys, np.flatnonzero(fate != REJECTED))
    survey.keys = np.empty((0, 2), dtype=np.uint64)  # the largest array, and of no more use
    fate[copies] = DUPLICATE
    starts = np.cumsum([0, *survey.rows], dtype=np.int64)
    if near != "keep" and (fate > TRAIN).any():
        with stage("compare", "documents") as progress:
            compared, total = 0, int((fate == TRAIN).sum())
            for done in _drop_similar(parts, starts, fate, near):
                compared += done
                progress(compared, total)
    sources = {name: source.info(weights.get(name, 1.0)) for name, source in survey.sources.items()}
    return Selection(starts, fate, survey.sizes, copies, originals, sources)


def as_read(parts: Parts) -> Selection:
    """All documents as they were read, whether they repeat others or not, and as if all were to train on."""
    documents = [are_documents(batch) for batch in parts]
    starts = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    fate = np.where(np.concatenate([*documents, np.empty(0, dtype=bool)]), np.int8(TRAIN), np.int8(REJECTED))
    none = np.empty(0, dtype=np.int64)
    return Selection(starts, fate, none, none, none, {})


@dataclass
class _Survey:
    """What one pass over all parts gives: columns over all records, and a digest of each source."""

    rows: list[int]
    fate: np.ndarray
    sizes: np.ndarray
    keys: np.ndarray
    sources: dict[str, "_Source"]


def _survey(parts: Parts, split: Split, weights: dict[str, float]) -> _Survey:
    sources = {name: _Source() for name in weights}
    sides: dict[str, int] = {}
    rows, fates, sizes, keys = [], [], [], []
    for batch in parts:
        documents = are_documents(batch)
        rows.append(len(documents))
        fates.append(np.where(documents, _sides(batch, split, sides), np.int8(REJECTED)))
        sizes.append(np.diff(text_offsets(batch.column("text"))))
        keys.append(np.ascontiguousarray(fixed_bytes(batch.column("digest"))[:, :16]).view(np.uint64))
        _count(batch, documents, sources)
    return _Survey(rows, np.concatenate(fates), np.concatenate(sizes), np.concatenate(keys), sources)


def _sides(batch: pa.RecordBatch, split: Split, known: dict[str, int]) -> np.ndarray:
    """The number of the side of each record's project: int8 [records]."""
    projects = batch.column("project").dictionary_encode()
    names = projects.dictionary.to_pylist()
    for name in names:
        if name not in known:
            known[name] = SIDES.index(split.side_of(name))
    numbers = np.array([known[name] for name in names], dtype=np.int8)
    return numbers[projects.indices.to_numpy()]


def _count(batch: pa.RecordBatch, documents: np.ndarray, sources: dict[str, "_Source"]) -> None:
    """Add the documents of a part to their sources."""
    told = batch.select(["source", "id", "project", "language", "digest"])
    sizes = np.diff(text_offsets(batch.column("text")))
    for name in pc.unique(told.column("source")).to_pylist():
        own = documents & (pc.equal(told.column("source"), name).to_numpy(zero_copy_only=False))
        if own.any():
            chosen = told if own.all() else told.filter(pa.array(own))
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
        index = _index_of(signatures[~repeats])
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
    index = _index_of(signatures)
    waiting: list[np.ndarray] = []
    for rows, found in others:
        waiting.append(found[index.similar(found)])
        if sum(map(len, waiting)) >= QUERIED_TOGETHER:
            _mark(signatures, similar, waiting)
            index = _index_of(signatures[~similar])
        yield len(rows)
    _mark(signatures, similar, waiting)


def _mark(signatures: np.ndarray, similar: np.ndarray, waiting: list[np.ndarray]) -> None:
    others = np.concatenate([signatures[:0], *waiting])
    waiting.clear()
    left = np.flatnonzero(~similar)
    if len(others) and len(left):
        similar[left] = _index_of(others).similar(signatures[left])


def _index_of(signatures: np.ndarray) -> near_duplicates.Index:
    index = near_duplicates.Index()
    index.add(signatures)
    return index


def _signatures(parts: Parts, starts: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The signatures of some records, uint32 [some, 128], part by part, each with the records' numbers."""
    for part, own in by_part(starts, rows):
        yield own, fixed_bytes(parts[part].column("signature")).view(np.uint32)[own - starts[part]]


def by_part(starts: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Ascending numbers of records by the part that they are in."""
    bounds = np.searchsorted(rows, starts)
    for part in np.flatnonzero(np.diff(bounds)).tolist():
        yield part, rows[bounds[part] : bounds[part + 1]]
