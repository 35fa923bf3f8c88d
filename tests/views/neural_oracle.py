"""The neural compressor in its plain form: a predictor asked byte by byte, and windows of equal information.

A predictor of the next byte drives an arithmetic coder. A window takes bytes as long as they fit into W bits, its code
word is padded with zeros, and then coder and context both start anew. So a window's symbol depends on its own bytes
alone. Before that, a document may be cut into segments where the next byte is hard to predict (`segments.py`); a window
also ends with its segment. (The neural proxy of arXiv 2602.04289, equal-information windows of arXiv 2404.03626; the
fit rule is `coder.py`'s.)

`neural_tree.py` compiles this, and is tested against it. It is written for a reader: one question to the predictor per
byte, no table, nothing remembered. Cost: one pass of the predictor over a window's prefix for each byte.
"""

from itertools import groupby
from typing import NamedTuple

import numpy as np

from byteproxy.views import raw_stretches
from byteproxy.views.coder import LONGEST, SCALE_BITS, checked


class Interval(NamedTuple):
    """From low up to, not including, low + size; in units of 2^-48."""

    low: int
    size: int


WHOLE = Interval(0, 1 << SCALE_BITS)
"""What a window starts from."""


class Window(NamedTuple):
    """symbol: below 2^W. size: bytes."""

    symbol: int
    size: int


class Rereading:
    """Any predictor as a Grower that reads each prefix again from its first byte."""

    def __init__(self, predictor):
        self.predictor = predictor

    def begin(self):
        return [b""], self.predictor.counts([b""])

    def grow(self, memory, rows, bytes_):
        longer = [memory[row] + bytes([byte]) for row, byte in zip(rows.tolist(), bytes_.tolist(), strict=True)]
        return longer, self.predictor.counts(longer)


def narrowed(code, interval, counts, byte):
    """The part of an interval that belongs to the next byte."""
    before = sum(counts[:byte])
    low = interval.size * before >> code.precision
    high = interval.size * (before + counts[byte]) >> code.precision
    return Interval(interval.low + low, high - low)


def fits(code, interval):
    """Whether an interval contains a whole block."""
    return (symbol_of(code, interval) + 1) * code.block <= interval.low + interval.size


def symbol_of(code, interval):
    """The first block that begins within an interval; below 2^W for one that fits."""
    return -(-interval.low // code.block)


def windows(document, cuts, predictor, code):
    """The windows of a document.

    cuts: ascending offsets within the document at which a window has to end; its own end is always one.
    Raises InputError for counts that can't be.
    """
    found = []
    begin = 0
    for end in [*cuts, len(document)]:
        while begin < end:
            window = first_window(document[begin:end], predictor, code)
            found.append(window)
            begin += window.size
    return found


def first_window(text, predictor, code):
    """The window at the beginning of a text that is not empty."""
    interval = WHOLE
    size = 0
    while size < min(len(text), LONGEST):
        further = narrowed(code, interval, _counts(text[:size], predictor, code), text[size])
        if not fits(code, further):
            break
        interval, size = further, size + 1
    return Window(symbol_of(code, interval), size)


def strings_behind(symbol, predictor, code):
    """All strings that have a symbol, the shortest first, each a prefix of the next; none for one that is not used."""
    return list(_chain(symbol, predictor, code))


def packed(symbol, bits, parts):
    """A window's symbol of `bits` bits as that many symbols, the most significant bits first."""
    each = bits // parts
    return [symbol >> each * place & (1 << each) - 1 for place in reversed(range(parts))]


def written(document, found, bits, parts, raw):
    """A document's windows as (symbol, bytes covered): packed, and raw between sentinels where `raw_stretches` says so.

    bits: of one symbol. raw: bytes from which on a window is never left raw; 0 leaves none raw.
    """
    symbols = []
    begin = 0
    for is_short, run in groupby(found, lambda window: window.size < raw):
        windows_ = list(run)
        end = begin + sum(window.size for window in windows_)
        if is_short and end - begin >= raw_stretches.SHORTEST:
            numbers = [raw_stretches.FIRST_BYTE + byte for byte in document[begin:end]]
            covered = [0] + [1] * (len(numbers) - 1) + [0, 1]
            numbers = [raw_stretches.OPEN, *numbers, raw_stretches.CLOSE]
            symbols += [((1 << bits) + number, size) for number, size in zip(numbers, covered, strict=True)]
        else:
            for symbol, size in windows_:
                sizes = [0] * (parts - 1) + [size]
                symbols += zip(packed(symbol, bits * parts, parts), sizes, strict=True)
        begin = end
    return symbols


def _chain(symbol, predictor, code):
    begin, end = symbol * code.block, (symbol + 1) * code.block
    string, interval = b"", WHOLE
    while len(string) < LONGEST:
        counts = _counts(string, predictor, code)
        for byte in range(256):
            further = narrowed(code, interval, counts, byte)
            if further.low <= begin and end <= further.low + further.size:
                break
        else:
            return
        string, interval = string + bytes([byte]), further
        if symbol_of(code, interval) == symbol:
            yield string


def _counts(prefix, predictor, code):
    counts = checked(predictor.counts([prefix]), code)[0].tolist()
    return counts if prefix else code.first_counts(counts)


def information(text, predictor, code):
    """Bits that a text costs in one window of any length: the sum of -log2 of its bytes' shares."""
    bits = 0.0
    for at, byte in enumerate(text):
        bits += code.precision - float(np.log2(_counts(text[:at], predictor, code)[byte]))
    return bits
