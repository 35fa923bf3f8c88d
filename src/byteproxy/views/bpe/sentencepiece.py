"""SentencePiece-style BPE with byte fallback, as merges of bytes that the engine knows.

Such a tokenizer begins with characters, where byte-level BPE begins with bytes: a character is a symbol, or, if it has
none, its bytes are, under names such as `<0xE4>`. Here a character of several bytes is put together by merges of its
own, before all others: its first two bytes become a *beginning*, that and the third one another, and so on. A lead byte
stands in front of characters only, so nothing else is put together. A beginning that is left over, as the character
is none that the tokenizer knows, is taken apart into its bytes afterwards.

A space stands for "▁" (`spaces`). The numbers are those of `tokenizers`, byte by byte at the engine's speed.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from byteproxy.views.base import Encoded
from byteproxy.views.bpe.byte_alphabet import byte_characters
from byteproxy.views.bpe.spaces import SPACE

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Beginnings(NamedTuple):
    """Beginnings of characters, by their bytes; the number of each is `first` and on, behind all symbols.

    merges: (left, right, merged) symbols that put characters together, lowest rank first.
    """

    first: int
    strings: list[bytes]
    merges: list[tuple[int, int, int]]


def spelled(
    numbers: Mapping[str, int], merges: Iterable[tuple[str, str]]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary and its merges in byte-level spelling, less what no text leads to.

    A byte is named where no character says it. Raises ValueError for merges of named bytes.
    """
    spelling = byte_characters()
    strings = {symbol: symbol.replace(SPACE, " ") for symbol in numbers if symbol and " " not in symbol}
    texts = {symbol: string for symbol, string in strings.items() if not _BYTE.fullmatch(symbol)}
    try:
        written = {symbol: "".join(spelling[byte] for byte in text.encode()) for symbol, text in texts.items()}
    except UnicodeEncodeError:
        raise ValueError("one of its symbols has half a surrogate pair") from None
    vocabulary = {written[symbol]: numbers[symbol] for symbol in texts}
    pairs = []
    for left, right in merges:
        if _BYTE.fullmatch(left) or _BYTE.fullmatch(right):
            raise ValueError(f"its merge of {left[:40]!r} and {right[:40]!r} is one of bytes")
        if left in written and right in written:
            pairs.append((written[left], written[right]))
    for symbol in strings.keys() - texts.keys():
        byte = int(symbol[3:5], 16)
        vocabulary.setdefault(spelling[byte], numbers[symbol])
    return vocabulary, pairs


def beginnings_of(vocabulary: Mapping[str, int], first: int) -> Beginnings:
    """What puts the characters of a vocabulary in byte-level spelling together. first: the next number."""
    byte_of = {character: byte for byte, character in enumerate(byte_characters())}
    known: dict[bytes, int] = {}
    for symbol, number in vocabulary.items():
        string = bytes(byte_of[character] for character in symbol)
        if len(string) == 1 or (len(string) <= 4 and _is_character(string)):
            known[string] = number
    strings: list[bytes] = []
    merges = []
    for character in sorted(string for string in known if len(string) > 1):
        for end in range(2, len(character) + 1):
            part = character[:end]
            if part not in known:
                known[part] = first + len(strings)
                strings.append(part)
            elif end < len(character):
                continue  # another character has begun so
            merges.append((known[part[:-1]], known[part[-1:]], known[part]))
    return Beginnings(first, strings, merges)


def _is_character(string: bytes) -> bool:
    try:
        return len(string.decode()) == 1
    except UnicodeDecodeError:
        return False


def taken_apart(encoded: Encoded, beginnings: Beginnings, byte_symbols: np.ndarray) -> Encoded:
    """The symbols without beginnings, each of which becomes its bytes; spans are those of bytes of normalized text."""
    symbols, spans = encoded
    inside = np.flatnonzero(symbols >= beginnings.first)
    if not len(inside):
        return encoded
    counts = np.ones(len(symbols), np.int64)
    strings = [beginnings.strings[number] for number in (symbols[inside] - beginnings.first).tolist()]
    counts[inside] = [len(string) for string in strings]
    apart, lengths = np.repeat(symbols, counts), np.repeat(spans, counts)
    at = np.repeat(counts, counts) > 1
    apart[at] = byte_symbols[np.frombuffer(b"".join(strings), np.uint8)]
    lengths[at] = 1
    return Encoded(apart, lengths)
