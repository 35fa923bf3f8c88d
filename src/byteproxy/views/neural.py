"""The neural compressor in its plain form: a predictor asked byte by byte, and windows of equal information.

A predictor of the next byte drives an arithmetic coder. A window takes bytes as long as they fit into W bits, its code
word is padded with zeros, and then coder and context both start anew. So a window's symbol depends on its own bytes
alone. Before that, a document may be cut into segments where the next byte is hard to predict (`segments.py`); a window
also ends with its segment. (The neural proxy of arXiv 2602.04289, equal-information windows of arXiv 2404.03626; the
fit rule is `coder.py`'s.)

`neural_tree.py` compiles this, and is tested against it. It is written for a reader: one question to the predictor per
byte, no table, nothing remembered. Cost: one pass of the predictor over a window's prefix for each byte.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np

from byteproxy.errors import InputError
from byteproxy.views import raw_stretches
from byteproxy.views.coder import LONGEST, Code, checked


class Predictor(Protocol):
    """What predicts the next byte of a window."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the counts, in hexadecimal."""

    def counts(self, prefixes: Sequence[bytes]) -> np.ndarray:
        """For each prefix of a window, 256 integer counts of at least 1 that sum to 2^P: [n, 256].

        A pure function of each prefix, whatever the others are.
        """


class Window(NamedTuple):
    """symbol: below 2^W. size: bytes."""

    symbol: int
    size: int


def windows(document: bytes, cuts: Sequence[int], predictor: Predictor, code: Code) -> list[Window]:
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


def first_window(text: bytes, predictor: Predictor, code: Code) -> Window:
    """The window at the beginning of a text that is not empty."""
    interval = code.whole
    size = 0
    while size < min(len(text), LONGEST):
        further = code.narrowed(interval, _counts(text[:size], predictor, code), text[size])
        if not code.fits(further):
            break
        interval, size = further, size + 1
    return Window(code.symbol(interval), size)


def strings_behind(symbol: int, predictor: Predictor, code: Code) -> list[bytes]:
    """All strings that have a symbol, the shortest first, each a prefix of the next; none for one that is not used."""
    return list(_chain(symbol, predictor, code))


def packed(symbol: int, bits: int, parts: int) -> list[int]:
    """A window's symbol of `bits` bits as that many symbols, the most significant bits first."""
    each = bits // parts
    return [symbol >> each * place & (1 << each) - 1 for place in reversed(range(parts))]


def written(document: bytes, found: Sequence[Window], bits: int, parts: int, raw: int) -> list[tuple[int, int]]:
    """A document's windows as (symbol, bytes covered): packed, and raw between sentinels where `raw_stretches` says so.

    bits: of one symbol. raw: bytes from which on a window is never left raw; 0 leaves none raw.
    """
    symbols: list[tuple[int, int]] = []
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


def _chain(symbol: int, predictor: Predictor, code: Code) -> Iterator[bytes]:
    begin, end = symbol * code.block, (symbol + 1) * code.block
    string, interval = b"", code.whole
    while len(string) < LONGEST:
        counts = _counts(string, predictor, code)
        for byte in range(256):
            further = code.narrowed(interval, counts, byte)
            if further.low <= begin and end <= further.low + further.size:
                break
        else:
            return
        string, interval = string + bytes([byte]), further
        if code.symbol(interval) == symbol:
            yield string


def _counts(prefix: bytes, predictor: Predictor, code: Code) -> list[int]:
    counts = checked(predictor.counts([prefix]), code)[0].tolist()
    return counts if prefix else code.first_counts(counts)


def information(text: bytes, predictor: Predictor, code: Code) -> float:
    """Bits that a text costs in one window of any length: the sum of -log2 of its bytes' shares."""
    bits = 0.0
    for at, byte in enumerate(text):
        bits += code.precision - float(np.log2(_counts(text[:at], predictor, code)[byte]))
    return bits


def same_model(artefact: str, predictor: Predictor, where: str) -> None:
    """InputError unless a predictor is the one with this fingerprint, which an artefact was compiled from."""
    if predictor.fingerprint != artefact:
        raise InputError(
            f"{where} was compiled from the model {artefact[:12]}, and this one is {predictor.fingerprint[:12]}: "
            "give the model that it came from, or compile it anew"
        )
