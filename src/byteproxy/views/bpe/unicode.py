"""Character properties as `tokenizers` 0.23 sees them, so that every version cuts text alike.

`unicode.bin` holds run lengths over all code points: general categories of Oniguruma's Unicode 16, and the properties
in Rust's standard library and its regex engine, which are of other versions.
`tests/views/bpe/unicode_of_tokenizers.py` makes the file by asking `tokenizers` about every code point, and a test
compares the two.

Cost: 2 MB of memory and some 5 ms, once.
"""

import zlib
from functools import cache
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("unicode.bin")
CATEGORIES = (
    *("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
    *("Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"),
)
CATEGORY = 31
"""The bits that hold the index of a code point's category."""
REGEX_WORD, WORD, NUMERIC, PUNCTUATION, UNSAFE = 32, 64, 128, 256, 512
r"""Bits: Oniguruma's `\w`; Rust's `\w`, which `single_word` means; what the pre-tokenizers Digits and Punctuation cut
out; what NFC changes, moves, or may join to what stands before it."""


@cache
def properties() -> np.ndarray:
    """The category and the bits of every code point, uint16 [0x110000]; made once, do not write to it."""
    runs = np.frombuffer(zlib.decompress(FILE.read_bytes()), np.uint8).reshape(5, -1).astype(np.int64)
    lengths, values = runs[0] | runs[1] << 8 | runs[2] << 16, runs[3] | runs[4] << 8
    return np.repeat(values.astype(np.uint16), lengths)


@cache
def category(name: str) -> np.ndarray:
    """Whether each code point is of a category, or of a group such as "L"; bool [0x110000]. KeyError if none is."""
    of_name = np.array([known.startswith(name) for known in CATEGORIES])
    if not of_name.any() or not name:
        raise KeyError(name)
    return np.r_[of_name, False, False][properties() & CATEGORY]


@cache
def blank() -> np.ndarray:
    r"""Whether each code point is white space, `\s` of both regex engines; bool [0x110000]."""
    found = category("Z").copy()
    found[[*range(9, 14), 0x85]] = True
    return found


def flagged(bit: int) -> np.ndarray:
    """Whether each code point has one of the bits; bool [0x110000]."""
    return (properties() & bit) != 0
