"""Find near-duplicates by MinHash: documents whose sets of shingles are nearly the same.

The measure is the Jaccard similarity j of two texts' shingles (`shingles.py`): shingles in both, divided by shingles in
either. It finds an edited, renamed or reindented copy. It doesn't find a small file that was pasted into a large one,
because the two are hardly alike as sets.

A text's signature is 128 numbers, each of which two texts share with probability j (Broder, On the resemblance and
containment of documents, 1997). `rensa` computes it. Two documents are near-duplicates if at least 0.7 of the entries
are equal: an estimate of j with a standard error of at most sqrt(j(1 - j)/128). So 1 pair in 100 is taken for near at
j = 0.6, half at 0.7, and 3 in 1,000 are missed at 0.8.

Only pairs that share one of 32 bands of 4 entries are compared (Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, chapter 3). Two texts share one with probability 1 - (1 - j^4)^32: 0.003 at j = 0.1, 0.05 at 0.2, 0.99985 at
0.7, all but 5e-8 at 0.8 and 2e-15 at 0.9. Of pairs with just enough equal entries, bands miss 6 in 10 million.

Cost: a pass over the text, and up to 900 bytes per document in an index, twice that while it grows. A lookup costs as
much as the documents it meets: few, unless all documents share much text and none of them enough to be near.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import rensa

from byteproxy.coins import mixed
from byteproxy.corpus.document import Document
from byteproxy.corpus.shingles import shingle_hashes
from byteproxy.jit import nb
from byteproxy.progress import Progress, silent

PERMUTATIONS = 128
SIMILAR = 0.7
"""The share of equal entries from which two documents are near-duplicates."""
ENTRIES = math.ceil(SIMILAR * PERMUTATIONS)

BANDS = 32
BAND_ENTRIES = PERMUTATIONS // BANDS

ALGORITHM_VERSION = 3
SEED = 1
"""Signatures of another version (of shingles or of what is computed of them) or seed can't be compared."""
RENSA_VERSION = 2

# From 256 rows or 65,536 hashes on, rensa starts a pool of threads, and in a process that is forked after that, the
# next call of that size hangs. No call is that large here: blocks of texts, and pieces of their hashes.
BLOCK_TEXTS = 128
BLOCK_BYTES = 1 << 20
PIECE_HASHES = 1 << 15

_NOTHING = np.uint32(0xFFFFFFFF)  # in every entry, the signature of a text without shingles
_NONE = np.int32(-1)
_TABLES = BANDS + 1  # one for each band, and one for whole signatures
_WHOLE = BANDS

_GIVEN = nb.types.Array(nb.uint32, 2, "C", readonly=True)
_ROWS = nb.uint32[:, ::1]
_LINKS = nb.int32[:, ::1]


def near_duplicates(held_out: Iterable[Document], train: Iterable[Document], progress: Progress = silent) -> np.ndarray:
    """Which held-out documents to leave out: bool [documents], in their order.

    Left out is a near-duplicate of a training document, or of a held-out document before it that stays.
    progress: bytes of training text read; the total is 0, as it isn't known.
    In memory are the signatures of the held-out documents and of the training documents that are near one of them.
    """
    judged = signatures(document.text for document in held_out)
    index = Index(judged)
    near = [judged[:0]]
    done = 0
    for block in _blocks(document.text for document in train):
        rows = _signatures(block)
        near.append(rows[index.similar(rows)])
        done += sum(map(len, block))
        progress(done, 0)
    return first_of_similar(judged, np.concatenate(near))


def first_of_similar(signatures: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Mark later near-duplicates of earlier documents, so that no two stay: bool [documents].

    signatures: uint32 [documents, 128]. True is a near-duplicate of an earlier one that is False, or of one in `known`.
    """
    return Index(known).add_first(signatures)


def signatures(texts: Iterable[bytes]) -> np.ndarray:
    """The signatures of texts: uint32 [texts, 128]. One without shingles has 2^32 - 1 everywhere and is near nothing.

    A text's signature doesn't depend on the others, nor on how often a shingle occurs. Runs in the calling thread only.
    Raises RuntimeError where the installed rensa computes others than those that this was tested with.
    """
    return np.concatenate([np.empty((0, PERMUTATIONS), dtype=np.uint32), *map(_signatures, _blocks(texts))])


class Index:
    """Signatures to look others up in. Equal ones are kept once; those of texts without shingles not at all."""

    def __init__(self, signatures: np.ndarray | None = None) -> None:
        """signatures: to begin with."""
        self._count = 0
        self._allocate(1 << 10)
        if signatures is not None:
            self.add(signatures)

    def __len__(self) -> int:
        """How many signatures are kept."""
        return self._count

    def add(self, signatures: np.ndarray) -> None:
        """Put in signatures, uint32 [documents, 128]."""
        given = _checked(signatures)
        self._reserve(len(given))
        self._count = _add(self._rows, self._heads, self._links, self._count, given)

    def similar(self, signatures: np.ndarray) -> np.ndarray:
        """Which of these, uint32 [documents, 128], are near-duplicates of any that were added: bool [documents]."""
        given = _checked(signatures)
        found = np.zeros(len(given), dtype=np.bool_)
        _find(self._rows, self._heads, self._links, self._count, given, ENTRIES, found)
        return found

    def add_first(self, signatures: np.ndarray) -> np.ndarray:
        """Put in, one after the other, what is no near-duplicate of any before; returns what is: bool [documents]."""
        given = _checked(signatures)
        self._reserve(len(given))
        found = np.zeros(len(given), dtype=np.bool_)
        self._count = _add_first(self._rows, self._heads, self._links, self._count, given, ENTRIES, found)
        return found

    def _allocate(self, size: int) -> None:
        """Room for `size` signatures, a power of two.

        A table has a head for each hash, the number of the last signature that was put there, and a link from each
        signature to the one before.
        """
        self._rows = np.empty((size, PERMUTATIONS), dtype=np.uint32)
        self._links = np.empty((_TABLES, size), dtype=np.int32)
        self._heads = np.full((_TABLES, size), _NONE, dtype=np.int32)

    def _reserve(self, more: int) -> None:
        if self._count + more > len(self._rows):
            held = self._rows[: self._count]
            self._allocate(1 << (self._count + more - 1).bit_length())
            self._count = _add(self._rows, self._heads, self._links, 0, held)


def _blocks(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The texts in lists that are bounded in number, and in bytes if no single text is longer."""
    block: list[bytes] = []
    size = 0
    for text in texts:
        if block and (len(block) == BLOCK_TEXTS or size + len(text) > BLOCK_BYTES):
            yield block
            block, size = [], 0
        block.append(text)
        size += len(text)
    if block:
        yield block


def _signatures(texts: Sequence[bytes]) -> np.ndarray:
    """The signatures of BLOCK_TEXTS texts at most, put together piece by piece: entries are minima over shingles."""
    if rensa.RMinHash.ALGORITHM_VERSION != RENSA_VERSION:
        raise RuntimeError(
            f"rensa computes MinHash signatures of version {rensa.RMinHash.ALGORITHM_VERSION}, and byteproxy was "
            f"tested with version {RENSA_VERSION} only: install the rensa of constraints.txt"
        )
    hashes, offsets = shingle_hashes(texts)
    rows = np.full((len(texts), PERMUTATIONS), _NOTHING, dtype=np.uint32)
    for start in range(0, len(hashes), PIECE_HASHES):
        piece = hashes[start : start + PIECE_HASHES]
        first = int(np.searchsorted(offsets, start, side="right")) - 1
        end = int(np.searchsorted(offsets, start + len(piece)))
        bounds = np.clip(offsets[first : end + 1], start, start + len(piece)) - np.uint64(start)
        digests = rensa.RMinHash.digest_matrix_from_flat_token_hashes(piece, bounds, PERMUTATIONS, SEED).to_rows()
        np.minimum(rows[first:end], np.array(digests, dtype=np.uint32), out=rows[first:end])
    return rows


def _checked(signatures: np.ndarray) -> np.ndarray:
    assert signatures.dtype == np.uint32, signatures.dtype
    assert signatures.shape[1:] == (PERMUTATIONS,), signatures.shape
    return np.ascontiguousarray(signatures)


@nb.njit
def _is_nothing(given: np.ndarray, number: int) -> bool:
    at = 0
    while at < PERMUTATIONS and given[number, at] == _NOTHING:
        at += 1
    return at == PERMUTATIONS


@nb.njit
def _slot(given: np.ndarray, number: int, table: int, slots: int) -> int:
    """Where a table of that many slots, a power of two, has the signatures that are as this one in the table's band."""
    first, end = (0, PERMUTATIONS) if table == _WHOLE else (table * BAND_ENTRIES, (table + 1) * BAND_ENTRIES)
    key = np.uint64(0)
    for at in range(first, end):
        key = mixed(key + np.uint64(given[number, at]))
    return int(key & np.uint64(slots - 1))


@nb.njit(inline="always")
def _equal(rows, row, given, number, first, end):  # type: ignore[no-untyped-def]
    """How many entries in [first, end) are equal: counted in 32 bits, so that eight fit into a register."""
    equal = np.uint32(0)
    for at in range(first, end):
        equal += np.uint32(rows[row, at] == given[number, at])
    return np.int64(equal)


@nb.njit
def _holds(rows: np.ndarray, heads: np.ndarray, links: np.ndarray, given: np.ndarray, number: int) -> bool:
    row = heads[_WHOLE, _slot(given, number, _WHOLE, heads.shape[1])]
    while row != _NONE:
        if _equal(rows, row, given, number, 0, PERMUTATIONS) == PERMUTATIONS:
            return True
        row = links[_WHOLE, row]
    return False


@nb.njit
def _put(rows: np.ndarray, heads: np.ndarray, links: np.ndarray, row: int, given: np.ndarray, number: int) -> None:
    for at in range(PERMUTATIONS):
        rows[row, at] = given[number, at]
    for table in range(_TABLES):
        slot = _slot(given, number, table, heads.shape[1])
        links[table, row] = heads[table, slot]
        heads[table, slot] = row


@nb.njit
def _meets(rows, heads, links, given, number, entries, compared):  # type: ignore[no-untyped-def]
    """Whether a signature is a near-duplicate of a row.

    compared: int32 [rows], the last signature that each row was compared with, as two may meet in many bands.
    """
    for band in range(BANDS):
        first, end = band * BAND_ENTRIES, (band + 1) * BAND_ENTRIES
        row = heads[band, _slot(given, number, band, heads.shape[1])]
        while row != _NONE:
            # A slot is shared by other bands as well; with those, what is found would depend on the number of slots.
            if compared[row] != number and _equal(rows, row, given, number, first, end) == end - first:
                compared[row] = number
                if _equal(rows, row, given, number, 0, PERMUTATIONS) >= entries:
                    return True
            row = links[band, row]
    return False


@nb.njit(nb.int64(_ROWS, _LINKS, _LINKS, nb.int64, _GIVEN), cache=True, nogil=True)
def _add(rows: np.ndarray, heads: np.ndarray, links: np.ndarray, count: int, given: np.ndarray) -> int:
    for number in range(len(given)):
        if not _is_nothing(given, number) and not _holds(rows, heads, links, given, number):
            _put(rows, heads, links, count, given, number)
            count += 1
    return count


@nb.njit(nb.void(_ROWS, _LINKS, _LINKS, nb.int64, _GIVEN, nb.int64, nb.boolean[::1]), cache=True, nogil=True)
def _find(rows, heads, links, count, given, entries, found):  # type: ignore[no-untyped-def]
    compared = np.full(count, _NONE, dtype=np.int32)
    for number in range(len(given)):
        found[number] = not _is_nothing(given, number) and _meets(rows, heads, links, given, number, entries, compared)


@nb.njit(nb.int64(_ROWS, _LINKS, _LINKS, nb.int64, _GIVEN, nb.int64, nb.boolean[::1]), cache=True, nogil=True)
def _add_first(rows, heads, links, count, given, entries, found):  # type: ignore[no-untyped-def]
    compared = np.full(count + len(given), _NONE, dtype=np.int32)
    for number in range(len(given)):
        if not _is_nothing(given, number):
            found[number] = _meets(rows, heads, links, given, number, entries, compared)
            if not found[number]:
                _put(rows, heads, links, count, given, number)
                count += 1
    return count
