"""What the installed `tokenizers` thinks of each code point: the oracle for `views/bpe/unicode.bin`, and what made it.

`python -m tests.views.bpe.unicode_of_tokenizers` writes that file anew. Do so where a tokenizer of today cuts text
unlike the one that the file was made with, and raise RULE_VERSION: views then give other symbols for new letters.
"""

import zlib

import numpy as np
from tokenizers import Regex, normalizers, pre_tokenizers

from byteproxy.views.bpe import unicode

ALL = np.r_[0:0xD800, 0xE000:0x110000]
IOTA = "\u0345"
"""The mark of combining class 240: there is none above, so every other mark moves to the front of it."""


def table(code_points: np.ndarray = ALL) -> np.ndarray:
    """The properties of each code point, uint16 [code points], as `unicode.properties` gives them.

    code_points: ascending, without surrogates; the first of them a control character, and all ASCII among them.
    """
    found = np.zeros(len(code_points), np.uint16)
    text = _text(code_points)
    for bit in range(5):
        named = [name for number, name in enumerate(unicode.CATEGORIES) if number >> bit & 1 and name != "Cs"]
        found[matched("[" + "".join(rf"\p{{{name}}}" for name in named) + "]", text)] |= 1 << bit
    found[matched(r"\w", text)] |= unicode.REGEX_WORD
    every = np.arange(len(code_points))
    found[_every_other(pre_tokenizers.Digits(individual_digits=False), text, every)] |= unicode.NUMERIC
    found[_every_other(pre_tokenizers.Punctuation("contiguous"), text, every)] |= unicode.PUNCTUATION
    # Without blanks in between, `\w+|[^\w\s]+` in Rust makes pieces of the two kinds in turn.
    inked = np.setdiff1d(every, matched(r"\s", text))
    found[_every_other(pre_tokenizers.Whitespace(), _text(code_points[inked]), inked)] |= unicode.WORD
    found[np.isin(code_points, _unsafe_for_nfc(text))] |= unicode.UNSAFE
    return found


def matched(character: str, text: str) -> np.ndarray:
    """Where in a text the characters stand that a pattern of one character matches, int64."""
    pieces = pre_tokenizers.Split(Regex(f"(?:{character})+"), "removed", invert=True).pre_tokenize_str(text)
    return np.concatenate([np.empty(0, np.int64), *(np.arange(*place) for _, place in pieces)])


def _text(code_points: np.ndarray) -> str:
    return code_points.astype("<u4").tobytes().decode("utf-32-le")


def _every_other(pre_tokenizer: pre_tokenizers.PreTokenizer, text: str, places: np.ndarray) -> np.ndarray:
    """The places of the characters in every other piece, from the second on, int64."""
    return np.concatenate([places[begin:end] for _, (begin, end) in pre_tokenizer.pre_tokenize_str(text)[1::2]])


def _unsafe_for_nfc(text: str) -> list[int]:
    """The code points that NFC changes, or moves, or may join to what stands before them."""
    nfc, nfd = (_each(form, text) for form in (normalizers.NFC(), normalizers.NFD()))
    changed = {character for character, normal in zip(text, nfc, strict=True) if normal != character}
    seconds = {
        tail
        for character, apart in zip(text, nfd, strict=True)
        if character not in changed and apart != character
        for tail in apart[1:]
    }
    behind = zip(text, _each(normalizers.NFD(), text, "a" + IOTA), strict=True)
    moved = {IOTA, *(character for character, normal in behind if not normal.startswith("a" + IOTA))}
    return sorted(map(ord, changed | seconds | moved))


def _each(form: normalizers.Normalizer, text: str, before: str = "") -> list[str]:
    """Each character, with the same ones before it, normalized by itself."""
    separator = "\n"
    pieces = form.normalize_str(separator.join(before + one for one in text if one != separator)).split(separator)
    at = text.index(separator)
    return [*pieces[:at], before + separator, *pieces[at:]]


def packed(table: np.ndarray) -> bytes:
    """The content of `unicode.bin` for such properties."""
    begins = np.flatnonzero(np.r_[True, table[1:] != table[:-1]])
    lengths, values = np.diff(np.r_[begins, len(table)]), table[begins].astype(np.int64)
    columns = [lengths, lengths >> 8, lengths >> 16, values, values >> 8]
    return zlib.compress(np.stack(columns).astype(np.uint8).tobytes(), 9)


if __name__ == "__main__":
    found = np.full(0x110000, unicode.CATEGORIES.index("Cs"), np.uint16)
    found[ALL] = table()
    unicode.FILE.write_bytes(packed(found))
