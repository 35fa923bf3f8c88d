"""Shingles: the short runs of words that a text is a set of, as hashes, so that texts can be compared as sets.

A shingle is five words in a row (Broder, On the resemblance and containment of documents, 1997); a shorter text has
one, of all its words, and a text without words has none. What a word is depends on the script:

    letters, digits, marks, "_"     the longest run of them is a word
    signs, and control characters   each is a word: an operator, a bracket, an emoji
    blanks                          only separate, so layout is no part of a text; so does the tsheg between syllables
    Han, kana, bopomofo, Yi         each character is a word, as no blank separates words
    Thai, Lao, Khmer, Myanmar, ...  no blank either, but a character is a letter and no word: runs are cut, on average
                                    every four letters, wherever the last eight bytes of the run say so
    a run from its 32nd letter on   is cut in the same way: DNA, base64, identifiers that a generator made

Where a run is cut depends on the letters just before and on nothing else, so two texts that differ in a place are cut
alike soon after it. Bytes that aren't UTF-8 are letters. Kinds of characters are those of Unicode 3.2, which every
Python has: signatures are the same with any. Characters that are younger are letters, but for emoji and ideographs.

Words are polynomials of random values of their bytes, shingles of their words, modulo 2^64, and `coins.mixed` makes
the latter uniform: two different shingles have the same hash about once in 2^60 pairs.

Cost: one pass, without a branch on what a character is while it is ASCII, and memory for 8 bytes a shingle; Python
source has a shingle every three to four bytes, text of signs only one a byte.
"""

from collections.abc import Sequence
from functools import cache
from unicodedata import ucd_3_2_0

import numpy as np

from byteproxy.coins import hashed, mixed
from byteproxy.jit import nb

SHINGLE_WORDS = 5
LONG_RUN = 32
"""Letters of a run that stay one word."""
WINDOW_BYTES = 8
LETTERS_OF_A_CUT = 4
"""How long what a run is cut into is on average."""

_BLANK, _SIGN, _LETTER, _FLOWING = 0, 1, 2, 4  # from _LETTER on, neighbours of a kind are one word
_FLOWING_BYTES = 3  # that each character of that kind has
_BLOCK = 16  # half of LONG_RUN at most, so that a run that becomes long has a block to itself before
_ALONE = (  # scripts whose characters are words, and signs
    (0x2190, 0x2BFF),  # arrows, mathematics, boxes, dingbats
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x312F),  # marks of repetition, kana, bopomofo
    (0x3190, 0xA4CF),  # kanbun, bopomofo, kana, ideographs, Yi
    (0xF900, 0xFAFF),  # ideographs
    (0xFF66, 0xFF9F),  # kana of half width
    (0x16FE0, 0x18DFF),  # Tangut, Khitan
    (0x1AFF0, 0x1B2FF),  # kana, Nushu
    (0x1F000, 0x1FAFF),  # tiles, emoji
    (0x20000, 0x3FFFF),  # ideographs
)
_FLOWS = (  # alphabets that are written without blanks between words
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0xA980, 0xA9FF),  # Javanese, Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
)
# Next line, Ethiopic wordspace, zero-width space, byte order mark, and the two signs between Tibetan syllables.
_ALSO_BLANK = (0x85, 0x1361, 0x200B, 0xFEFF, 0x0F0B, 0x0F0C)

_BYTE, _STEP, _CUT = np.uint64(1), np.uint64(2), np.uint64(3)  # what the random numbers are for
_VALUES = np.array([hashed(np.uint64(0), np.uint64(byte), _BYTE) for byte in range(256)], dtype=np.uint64)
# Odd, so that nothing is shifted out however long a word is.
_IN_WORD, _IN_SHINGLE = (np.uint64(int(hashed(np.uint64(0), np.uint64(n), _STEP)) | 1) for n in range(2))
_IN_WINDOW = np.uint64(int(hashed(np.uint64(0), np.uint64(0), _CUT)) | 1)
_CUT_BELOW = np.uint64((1 << 64) // LETTERS_OF_A_CUT)
_LEAVING = np.uint64(pow(int(_IN_SHINGLE), SHINGLE_WORDS, 1 << 64))

_TEXT = nb.types.Array(nb.uint8, 1, "C", readonly=True)


def shingle_hashes(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of each text's shingles, in their order and as often as they occur, one text after the other.

    Returns hashes, uint64 [shingles], and offsets, uint64 [texts + 1]: text n has hashes[offsets[n] : offsets[n + 1]].
    """
    starts = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    hashes = np.empty(int(starts[-1]) + 1, dtype=np.uint64)
    offsets = np.zeros(len(texts) + 1, dtype=np.uint64)
    _fill(np.frombuffer(b"".join(texts), dtype=np.uint8), _kinds(), starts, hashes, offsets)
    return hashes[: int(offsets[-1])], offsets


@cache
def _kinds() -> np.ndarray:
    """The kind of each character: uint8 [0x110000]."""
    of_category = {"Z": _BLANK, "P": _SIGN, "S": _SIGN}
    kinds = np.full(0x110000, _LETTER, dtype=np.uint8)
    for character in range(0x80, 0x10000):
        category = ucd_3_2_0.category(chr(character))
        kinds[character] = _SIGN if category == "Cc" else of_category.get(category[0], _LETTER)
    for first, last in _ALONE:
        among = kinds[first : last + 1]
        among[among == _LETTER] = _SIGN
    for first, last in _FLOWS:
        among = kinds[first : last + 1]
        among[among == _LETTER] = _FLOWING
    kinds[list(_ALSO_BLANK)] = _BLANK
    kinds[0xAD] = _LETTER  # the soft hyphen, a sign in old Unicode
    for byte in range(0x80):
        word = byte == ord("_") or chr(byte).isalnum()
        kinds[byte] = _BLANK if byte in b" \t\n\r\v\f" else _LETTER if word else _SIGN
    return kinds


@nb.njit(inline="always")
def _size(text, at, stop):  # type: ignore[no-untyped-def]
    """How many bytes the character beyond ASCII has that begins at `at`; 1 where none does that is valid UTF-8."""
    lead = text[at]
    size = np.uint64(2 if lead < 0xE0 else 3 if lead < 0xF0 else 4)
    if lead < 0xC2 or lead > 0xF4 or at + size > stop:
        return np.uint64(1)
    second = text[at + np.uint64(1)]
    low = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
    high = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
    sound = low <= second <= high
    for place in range(at + np.uint64(2), at + size):
        sound &= text[place] & 0xC0 == 0x80
    return size if sound else np.uint64(1)


@nb.njit(inline="always")
def _character(text, at, size):  # type: ignore[no-untyped-def]
    """The number of the character of so many bytes; of a byte that is none, that of a surrogate."""
    lead = np.uint64(text[at])
    if size == np.uint64(1):
        return lead if lead < np.uint64(0x80) else np.uint64(0xDC00) + lead
    character = lead & (np.uint64(0x7F) >> size)
    for place in range(at + np.uint64(1), at + size):
        character = character << np.uint64(6) | np.uint64(text[place] & 0x3F)
    return character


@nb.njit(inline="always")
def _is_cut(text, at, length):  # type: ignore[no-untyped-def]
    """Whether a run that may be cut is cut before text[at]: up to eight bytes of it decide, the last of `length`."""
    window = np.uint64(0)
    for place in range(at - min(length, WINDOW_BYTES), at):
        window = window << np.uint64(8) | np.uint64(text[place])
    return window * _IN_WINDOW < _CUT_BELOW


@nb.njit(inline="always")
def _letters_before(text, kinds, at, start):  # type: ignore[no-untyped-def]
    """How long the run of letters is that ends before `at`, in ASCII that begins at `start`."""
    run, one = np.uint64(0), np.uint64(1)
    while at - run > start and kinds[text[at - run - one]] == _LETTER:
        run += one
    return run


@nb.njit(nb.int64(_TEXT, nb.uint8[::1], nb.int64, nb.int64, nb.uint64[::1], nb.int64), cache=True, nogil=True)
def _words(text: np.ndarray, kinds: np.ndarray, start: int, end: int, hashes: np.ndarray, first: int) -> int:
    """Write the hashes of the words of text[start:end] from `first` on; returns where they end.

    Blocks of ASCII go byte by byte, the rest character by character, from a block with something else in it, or one
    that is all of one word and so may begin a long run, to the end of a run. Unsigned numbers: signed ones as an index
    are checked for counting from the end.
    """
    zero, one, block, to = np.uint64(0), np.uint64(1), np.uint64(_BLOCK), np.uint64(first)
    at, stop = np.uint64(start), np.uint64(end)
    kind = word = zero  # of the character before: its kind, and its word so far
    while at < stop:
        ascii_from = at
        while at + block <= stop:
            others = np.uint8(0)
            for place in range(at, at + block):
                others |= text[place]
            if others >= 0x80:
                break
            before = to
            # A branch would be mispredicted at every other word, which costs more than the rest. So each byte writes
            # what its word is so far, and the next overwrites that unless the word has ended.
            for place in range(at, at + block):
                byte = text[place]
                now = np.uint64(kinds[byte])
                joins = (kind & now) >> one
                to += np.uint64(kind != zero) - joins
                # The factor and not the sum is chosen: that is a step less between one byte and the next.
                word = word * (_IN_WORD & (zero - joins)) + _VALUES[byte]
                hashes[to] = word
                kind = now
            at += block
            if to == before and _letters_before(text, kinds, at, ascii_from) >= block:
                break
        run = _letters_before(text, kinds, at, ascii_from)
        leave = min(at + block, stop)
        while at < leave or (at < stop and kind >= _LETTER):
            size = _size(text, at, stop) if text[at] >= 0x80 else one
            now = np.uint64(kinds[_character(text, at, size)])
            same = now == kind and now >= _LETTER
            run = run if same else zero
            if not same or (
                (run >= LONG_RUN or now == _FLOWING) and _is_cut(text, at, run * np.uint64(_FLOWING_BYTES))
            ):
                to += np.uint64(kind != zero)
                word = zero
            for place in range(at, at + size):
                word = word * _IN_WORD + _VALUES[text[place]]
            hashes[to] = word
            run += one
            kind = now
            at += size
    return int(to + np.uint64(kind != zero))


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


@nb.njit(nb.void(_TEXT, nb.uint8[::1], nb.int64[::1], nb.uint64[::1], nb.uint64[::1]), cache=True, nogil=True)
def _fill(text: np.ndarray, kinds: np.ndarray, starts: np.ndarray, hashes: np.ndarray, offsets: np.ndarray) -> None:
    to = 0
    for number in range(len(starts) - 1):
        to = _join(hashes, to, _words(text, kinds, starts[number], starts[number + 1], hashes, to))
        offsets[number + 1] = np.uint64(to)
