"""Shingles: the short runs of words that a text is a set of, as hashes, so that texts can be compared as sets.

A word is a longest run of ASCII letters, digits, underscores and bytes from 128 on; every other byte that is no blank
is a word by itself; blanks only separate. So layout is no part of a text, while names, operators and brackets are, and
words of any script stay whole. A shingle is five words in a row (Broder, On the resemblance and containment of
documents, 1997); a shorter text has one, of all its words, and a text without words has none.

Words are polynomials of random values of their bytes, shingles of their words, modulo 2^64, and `coins.mixed` makes
the latter uniform: two different shingles have the same hash about once in 2^60 pairs.

Cost: one pass without a branch on what a byte is, and memory for 8 bytes a shingle; Python source has a shingle every
three to four bytes, text of signs only one a byte.
"""

from collections.abc import Sequence

import numpy as np

from byteproxy.coins import hashed, mixed
from byteproxy.jit import nb

SHINGLE_WORDS = 5

_BLANK, _SIGN, _WORD = 0, 1, 2  # bit 1 says that neighbours of the kind are one word
_BYTE, _STEP = np.uint64(1), np.uint64(2)  # what the random numbers are for
_KINDS = np.array(
    [
        _BLANK if byte in b" \t\n\r\v\f" else _WORD if byte >= 128 or byte == ord("_") or chr(byte).isalnum() else _SIGN
        for byte in range(256)
    ],
    dtype=np.uint8,
)
_VALUES = np.array([hashed(np.uint64(0), np.uint64(byte), _BYTE) for byte in range(256)], dtype=np.uint64)
# Odd, so that nothing is shifted out however long a word is.
_IN_WORD, _IN_SHINGLE = (np.uint64(int(hashed(np.uint64(0), np.uint64(n), _STEP)) | 1) for n in range(2))
_LEAVING = np.uint64(pow(int(_IN_SHINGLE), SHINGLE_WORDS, 1 << 64))

_TEXT = nb.types.Array(nb.uint8, 1, "C", readonly=True)


def shingle_hashes(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of each text's shingles, in their order and as often as they occur, one text after the other.

    Returns hashes, uint64 [shingles], and offsets, uint64 [texts + 1]: text n has hashes[offsets[n] : offsets[n + 1]].
    """
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)], dtype=np.int64)
    hashes = np.empty(int(starts[-1]) + 1, dtype=np.uint64)
    offsets = np.zeros(len(texts) + 1, dtype=np.uint64)
    # A blank behind each text, so that every byte has one after it.
    _fill(np.frombuffer(b"\n".join([*texts, b""]), dtype=np.uint8), starts, hashes, offsets)
    return hashes[: int(offsets[-1])], offsets


@nb.njit(nb.int64(_TEXT, nb.int64, nb.int64, nb.uint64[::1], nb.int64), cache=True, nogil=True)
def _words(text: np.ndarray, start: int, end: int, hashes: np.ndarray, first: int) -> int:
    """Write the hashes of the words of text[start:end] from `first` on; returns where they end. text[end] is a blank.

    Each byte writes what its word is so far, and the next overwrites that unless the word has ended. A branch would
    be mispredicted at every other word, which costs more than the rest. Unsigned numbers: signed ones as an index are
    checked for counting from the end.
    """
    zero, one, to = np.uint64(0), np.uint64(1), np.uint64(first)
    kind, word, goes_on = np.uint64(_KINDS[text[start]]), zero, zero
    for at in range(np.uint64(start), np.uint64(end)):
        # The factor and not the sum is chosen: that is a step less between one byte and the next.
        word = word * (_IN_WORD & (zero - goes_on)) + _VALUES[text[at]]
        hashes[to] = word
        after = np.uint64(_KINDS[text[at + one]])
        goes_on = (kind & after) >> one
        to += np.uint64(kind != zero) - goes_on
        kind = after
    return int(to)


@nb.njit(nb.int64(nb.uint64[::1], nb.int64, nb.int64), cache=True, nogil=True)
def _join(hashes: np.ndarray, first: int, end: int) -> int:
    """Turn the hashes of words in [first, end) into those of their shingles, in place; returns where these end."""
    shingle = a = b = c = d = e = np.uint64(0)
    to = first
    for at in range(first, end):
        a, b, c, d, e, leaving = b, c, d, e, hashes[at], a
        shingle = shingle * _IN_SHINGLE + e - leaving * _LEAVING
        hashes[to] = mixed(shingle)
        to += at - first >= SHINGLE_WORDS - 1
    return to + (first < end and to == first)


@nb.njit(nb.void(_TEXT, nb.int64[::1], nb.uint64[::1], nb.uint64[::1]), cache=True, nogil=True)
def _fill(text: np.ndarray, starts: np.ndarray, hashes: np.ndarray, offsets: np.ndarray) -> None:
    to = 0
    for number in range(len(starts) - 1):
        to = _join(hashes, to, _words(text, starts[number], starts[number + 1] - 1, hashes, to))
        offsets[number + 1] = np.uint64(to)
