"""What the installed `tokenizers` thinks of each code point: the oracle for `views/bpe/unicode.bin`, and what made it.

`python -m tests.views.bpe.unicode_of_tokenizers` writes that file anew. Do so where a tokenizer of today cuts text
unlike the one that the file was made with, and raise RULE_VERSION: views then give other symbols for new letters.
"""

from typing import Any

import numpy as np
from tokenizers import Regex, normalizers, pre_tokenizers

from byteproxy.views.bpe import unicode

CODE_POINTS = np.r_[0:0xD800, 0xE000:0x110000]
EVERYTHING = CODE_POINTS.astype("<u4").tobytes().decode("utf-32-le")
IOTA = "\u0345"
"""The mark of combining class 240: there is none above, so every other mark moves to the front of it."""


def table() -> np.ndarray:
    """The properties of each code point, uint16 [0x110000], as `unicode.properties` gives them."""
    found = np.zeros(0x110000, np.uint16)
    for bit in range(5):
        named = [name for number, name in enumerate(unicode.CATEGORIES) if number >> bit & 1 and name != "Cs"]
        found[matched("[" + "".join(rf"\p{{{name}}}" for name in named) + "]")] |= 1 << bit
    found[0xD800:0xE000] = unicode.CATEGORIES.index("Cs")
    found[matched(r"\w")] |= unicode.REGEX_WORD
    found[every_other(pre_tokenizers.Digits(individual_digits=False))] |= unicode.NUMERIC
    found[every_other(pre_tokenizers.Punctuation("contiguous"))] |= unicode.PUNCTUATION
    # Without blanks in between, `\w+|[^\w\s]+` in Rust makes pieces of the two kinds in turn.
    found[every_other(pre_tokenizers.Whitespace(), without=matched(r"\s"))] |= unicode.WORD
    found[unsafe_for_nfc()] |= unicode.UNSAFE
    return found


def matched(character: str) -> np.ndarray:
    """The code points that a pattern of one character matches, int64."""
    pieces = pre_tokenizers.Split(Regex(f"(?:{character})+"), "removed", invert=True).pre_tokenize_str(EVERYTHING)
    return np.concatenate([np.empty(0, np.int64), *(CODE_POINTS[begin:end] for _, (begin, end) in pieces)])


def every_other(pre_tokenizer: pre_tokenizers.PreTokenizer, without: Any = ()) -> np.ndarray:
    """The code points in every other piece of all text, the first of which is of control characters, int64."""
    kept = np.setdiff1d(CODE_POINTS, without)
    pieces = pre_tokenizer.pre_tokenize_str(kept.astype("<u4").tobytes().decode("utf-32-le"))
    return np.concatenate([kept[begin:end] for _, (begin, end) in pieces[1::2]])


def unsafe_for_nfc() -> np.ndarray:
    """The code points that NFC changes, or moves, or may join to what stands before them."""
    nfc, nfd = (_each(form) for form in (normalizers.NFC(), normalizers.NFD()))
    changed = {character for character, normal in zip(EVERYTHING, nfc, strict=True) if normal != character}
    seconds = {
        tail
        for character, apart in zip(EVERYTHING, nfd, strict=True)
        if character not in changed and apart != character
        for tail in apart[1:]
    }
    moved = {IOTA}
    for character, behind in zip(EVERYTHING, _each(normalizers.NFD(), "a" + IOTA), strict=True):
        if not behind.startswith("a" + IOTA):
            moved.add(character)
    return np.array(sorted(map(ord, changed | seconds | moved)))


def _each(form: normalizers.Normalizer, before: str = "") -> list[str]:
    """Each code point, with the same characters before it, normalized by itself."""
    separator = "\n"
    pieces = form.normalize_str(separator.join(before + ch for ch in EVERYTHING if ch != separator)).split(separator)
    at = EVERYTHING.index(separator)
    return [*pieces[:at], before + separator, *pieces[at:]]


if __name__ == "__main__":
    unicode.FILE.write_bytes(unicode.packed(table()))
