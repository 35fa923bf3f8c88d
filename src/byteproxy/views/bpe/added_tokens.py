"""Find added tokens in text as `tokenizers` does: before text is cut into pieces, leftmost and longest first.

Tokens that aren't `normalized` are found first, in the original text; the others between them, in normalized text.
Special tokens (`<|endoftext|>`) are reserved: text that spells one is plain text, as with the `encode_special_tokens`
of `tokenizers`. As there, a match that isn't used (a special token, a `single_word` inside a word) is skipped as a
whole: no other token is found that begins inside it.

`lstrip` and `rstrip` make the blanks before and behind part of the token. `tokenizers` may find another token in blanks
that the last one took, and then emits these blanks twice; here the search goes on behind them.

Cost: a table lookup per byte if there are such tokens, and a walk from each byte that begins one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from byteproxy.jit import nb
from byteproxy.views.bpe import unicode
from byteproxy.views.bpe.merges import hashed
from byteproxy.views.bpe.scan import pointer, wide_character

MAX_BYTES = 10_000_000
"""Bytes of all added tokens together."""
SINGLE_WORD, LSTRIP, RSTRIP = 1, 2, 4
IS_WORD, IS_BLANK = 1, 2


@dataclass(frozen=True)
class AddedToken:
    """An added token of a tokenizer.json."""

    symbol: int
    content: str
    special: bool
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool


class Tokens(NamedTuple):
    """Tokens to look for, in arrays (or pointers to them, in compiled code).

    size: how many there are. first: uint8 [256], whether one begins with a byte.
    edges: int64 [mask + 1], an open-addressing hash table of node << 40 | byte << 32 | next node; -1 where empty. The
        root is node 0.
    leaf: int32 [nodes], the token that ends at each node, or -1.
    symbols: int32 [tokens], -1 for a special one. flags: uint8 [tokens].
    """

    size: int
    first: np.ndarray
    edges: np.ndarray
    mask: int
    leaf: np.ndarray
    symbols: np.ndarray
    flags: np.ndarray


def tokens_of(tokens: Sequence[AddedToken]) -> Tokens:
    """The tables for tokens, no content of which is empty."""
    nodes: dict[tuple[int, int], int] = {}
    leaf = [-1]
    first = np.zeros(256, np.uint8)
    for number, token in enumerate(tokens):
        node = 0
        content = token.content.encode()
        first[content[0]] = 1
        for byte in content:
            if (node, byte) not in nodes:
                nodes[node, byte] = len(leaf)
                leaf.append(-1)
            node = nodes[node, byte]
        leaf[node] = number
    edges = np.full(1 << max(4, (2 * len(nodes)).bit_length()), -1, np.int64)
    listed = np.array([(node, byte, to) for (node, byte), to in nodes.items()], np.int64).reshape(-1, 3)
    _fill(edges, listed)
    flags = [SINGLE_WORD * one.single_word + LSTRIP * one.lstrip + RSTRIP * one.rstrip for one in tokens]
    return Tokens(
        size=len(tokens),
        first=first,
        edges=edges,
        mask=len(edges) - 1,
        leaf=np.array(leaf, np.int32),
        symbols=np.array([-1 if one.special else one.symbol for one in tokens], np.int32),
        flags=np.array(flags, np.uint8),
    )


class Finding(NamedTuple):
    """Tokens to look for in the text as it is, and those in normalized text. beside: see `surroundings`."""

    raw: Tokens
    normalized: Tokens
    beside: np.ndarray


def finding(tokens: Sequence[AddedToken], raw: bool = True) -> Finding:
    """The tables of both kinds. raw: whether to look for those that aren't `normalized`, too."""
    as_it_is = tokens_of([token for token in tokens if raw and not token.normalized])
    normalized = tokens_of([token for token in tokens if token.normalized])
    return Finding(as_it_is, normalized, surroundings() if tokens else np.zeros(1, np.uint8))


class Finder:
    """Lists the tokens in documents."""

    def __init__(self, tokens: Sequence[AddedToken]) -> None:
        self._any = any(not token.special for token in tokens)
        self._findings = {raw: finding(tokens, raw) for raw in (True, False)}
        self._only_raw = finding([token for token in tokens if not token.normalized])

    def stretches(self, document: bytes, raw: bool = True, normalized: bool = True) -> list[tuple[int, int, int]]:
        """Begin, end and symbol (-1 for text) of each token and of each non-empty stretch between.

        raw, normalized: which kinds of tokens to look for, at least one.
        """
        if not self._any:
            return [(0, len(document), -1)] if document else []
        tables = self._findings[raw] if normalized else self._only_raw
        data, found = np.frombuffer(document, np.uint8), np.empty((0, 3), np.int64)
        found = np.empty((_listed(data, tables, found), 3), np.int64)
        _listed(data, tables, found)
        return [(begin, end, symbol) for begin, end, symbol in found.tolist() if begin < end]


def surroundings() -> np.ndarray:
    """What `next_token` asks of characters beside a token, uint8 [0x110000]: IS_WORD and IS_BLANK."""
    return np.where(unicode.flagged(unicode.WORD), IS_WORD, 0).astype(np.uint8) | np.where(
        unicode.blank(), IS_BLANK, 0
    ).astype(np.uint8)


@nb.njit(cache=True)
def _fill(edges, listed):  # type: ignore[no-untyped-def]
    mask = len(edges) - 1
    for number in range(len(listed)):
        key = listed[number, 0] << 8 | listed[number, 1]
        slot = hashed(key) & mask
        while edges[slot] != -1:
            slot = (slot + 1) & mask
        edges[slot] = key << 32 | listed[number, 2]


@nb.njit(cache=True)
def next_token(text, sentence, begin, end, t, beside, found):  # type: ignore[no-untyped-def]
    """Find the first token in the text from `begin` to `end`.

    text: pointer to uint8. sentence: where the text begins that a single word may not go on in; `begin` or before.
    t: `Tokens` of pointers. beside: pointer to what `surroundings` gives.
    found: pointer to int64 [4], for where the token begins and ends, its symbol, and how many bytes of blanks it took.
        If there is none, it begins at `end` and its symbol is -1.
    """
    at = np.int64(begin)
    while at < end:
        if t.first[text[at]] == 0:
            at += 1
            continue
        token, to = _longest(text, at, end, t)
        if token < 0:
            at += 1
            continue
        start, stop, size = at, to, to - at
        at = to
        flags, symbol = t.flags[token], np.int64(t.symbols[token])
        if symbol < 0:
            continue
        if flags & SINGLE_WORD and (
            _before(text, start, sentence, beside) & IS_WORD or _behind(text, stop, end, beside) & IS_WORD
        ):
            continue
        if flags & LSTRIP:
            while start > begin and _before(text, start, begin, beside) & IS_BLANK:
                start -= _before(text, start, begin, beside) >> 8
        if flags & RSTRIP:
            while stop < end and _behind(text, stop, end, beside) & IS_BLANK:
                stop += _behind(text, stop, end, beside) >> 8
        found[0], found[1], found[2], found[3] = start, stop, symbol, stop - start - size
        return
    found[0], found[1], found[2], found[3] = end, end, -1, 0


@nb.njit(cache=True)
def _longest(text, at, end, t):  # type: ignore[no-untyped-def]
    """The longest token that begins at `at`, -1 if there is none, and where it ends."""
    node, to, token, stop = np.int64(0), at, np.int64(-1), at
    while to < end:
        key = node << 8 | np.int64(text[to])
        slot = hashed(key) & t.mask
        while t.edges[slot] != -1 and t.edges[slot] >> 32 != key:
            slot = (slot + 1) & t.mask
        if t.edges[slot] == -1:
            break
        node = t.edges[slot] & 0xFFFFFFFF
        to += 1
        if t.leaf[node] >= 0:
            token, stop = np.int64(t.leaf[node]), to
    return token, stop


@nb.njit(cache=True)
def _behind(text, at, end, beside):  # type: ignore[no-untyped-def]
    """256 x bytes + what the character at `at` is; 0 at the end and where there is none."""
    if at >= end:
        return np.int64(0)
    if text[at] < 0x80:
        return np.int64(beside[text[at]]) | 256
    return wide_character(text, at, end, beside)


@nb.njit(cache=True)
def _before(text, at, begin, beside):  # type: ignore[no-untyped-def]
    """256 x bytes + what the character that ends at `at` is; 0 at the begin and where there is none."""
    for length in range(1, 5):
        start = at - length
        if start < begin:
            break
        if text[start] & 0xC0 != 0x80:
            found = _behind(text, start, at, beside)
            return found if found >> 8 == length else np.int64(0)
    return np.int64(0)


@nb.njit(cache=True)
def pointers_to(f):  # type: ignore[no-untyped-def]
    """The `Finding` with pointers in place of arrays."""
    return Finding(_pointers(f.raw), _pointers(f.normalized), pointer(f.beside))


@nb.njit(cache=True)
def _pointers(t):  # type: ignore[no-untyped-def]
    return Tokens(
        t.size, pointer(t.first), pointer(t.edges), t.mask, pointer(t.leaf), pointer(t.symbols), pointer(t.flags)
    )


@nb.njit(cache=True)
def _listed(document, tables, found):  # type: ignore[no-untyped-def]
    """Write (begin, end, symbol) of stretches and tokens in turn while there is room; returns how many there are."""
    text, end, f = pointer(document), len(document), pointers_to(tables)
    raw, normalized = np.empty(4, np.int64), np.empty(4, np.int64)
    count, at, after = 0, np.int64(0), np.int64(0)
    next_token(text, 0, at, end, f.raw, f.beside, pointer(raw))
    while True:
        next_token(text, after, at, raw[0], f.normalized, f.beside, pointer(normalized))
        token = normalized if normalized[2] >= 0 else raw
        if count + 1 < len(found):
            found[count], found[count + 1] = (at, token[0], -1), (token[0], token[1], token[2])
        elif count < len(found):
            found[count] = at, token[0], -1
        count += 2
        if token[2] < 0:
            return count - 1
        at = token[1]
        if normalized[2] < 0:
            after = at
            next_token(text, 0, at, end, f.raw, f.beside, pointer(raw))
