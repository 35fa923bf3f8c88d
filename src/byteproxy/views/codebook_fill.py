"""Which strings a codebook holds: frequent neighbours in its own parse of the text, over and over.

A string of frequency f and length n saves f times (the symbols it takes without the string, less one), which is the
frequency times length of a dictionary coder with what the set can do already taken into account. Three phases:

grow    parse the text, count neighbouring symbols, add the most frequent pairs as strings; by half again each round,
        up to twice the size asked for. Nothing is merged for good, as in BPE: each round parses from the bytes, so a
        string that only led to longer ones falls out of use.
prune   drop the strings whose loss would cost least, 20 % a round, until the size is that asked for.
revise  grow and prune again, until that gains less than 1 % of bytes per symbol.

Re-estimating a dictionary on its own parse is from Uemura et al. (SPIRE 2010), growing too far and pruning by what a
string saves from the unigram tokenizers (Kudo, arXiv 1804.10959) and PathPiece (arXiv 2402.18376), plurally parsable
dictionaries from Savari (1999). Pairs must occur in three documents (a repeat within one file helps no other text): at
2^16 strings that gave 3 % more bytes per symbol on held-out code.

Costs: about 30 parses of at most `sample_mb` of text, on all cores: 2^16 strings from 31 MB of code took 18 s on 2
cores of an AMD EPYC, and 17 bytes of memory a byte of text.
The outcome depends on neither the order of the documents nor the number of cores.
"""

import heapq
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from byteproxy.coins import mixed
from byteproxy.errors import InputError
from byteproxy.jit import nb
from byteproxy.progress import Progress, silent
from byteproxy.views.codebook_parse import IS_IDENTIFIER, LOOKAHEAD, PARSES, inside, parse
from byteproxy.views.threads import cores
from byteproxy.views.trie import BASE_SHIFT, ENDS, LABEL, LONGEST, SYMBOL, SYMBOL_SHIFT, Trie, trie_of

GROWTH, OVERSHOOT, KEPT, MIN_GAIN = 1.5, 2.0, 0.8, 0.01
MIN_DOCUMENTS = 3
NEWLINE, TAB, SPACE = 10, 9, 32
PAIR, OCCURRENCES, DOCUMENTS, LAST_DOCUMENT = range(4)
"""Columns of a table of pairs; a row is half a cache line."""


class Rules(NamedTuple):
    """Restrictions on a codebook's strings. Numbers and booleans only, so that compiled code can take them.

    longest: bytes. lines: a newline is its last byte. indentation: a tab, or two blanks in a row, is followed by blanks
    or a newline only. apart: it crosses no identifier's edge, but one space in front of an identifier. whole: where it
    crosses an identifier's edge, it holds whole identifiers only (which depends on the text around it).
    """

    longest: int
    lines: bool
    indentation: bool
    apart: bool
    whole: bool


class Text(NamedTuple):
    """Documents in a row: uint8 [bytes], and where each one ends, int64 [documents]."""

    bytes: np.ndarray
    ends: np.ndarray


class _Parsed(NamedTuple):
    """A parse of the whole text: symbols [n], where each document's symbols end, and the uses of each symbol."""

    symbols: np.ndarray
    ends: np.ndarray
    uses: np.ndarray


def filled(
    documents: Iterable[bytes],
    size: int,
    how: str,
    rules: Rules,
    prefix_closed: bool,
    sample_bytes: int,
    progress: Progress = silent,
) -> list[bytes]:
    """At most `size` strings: the 256 single bytes in order, then the others by falling frequency.

    Fewer come out where the text has no more strings that occur twice.
    progress: bytes parsed, of an estimate of all that will be.
    Raises InputError where there is no text.
    """
    text = sample(documents, sample_bytes)
    if not len(text.bytes):
        raise InputError("there is no text to fill a codebook from: give documents that are not empty")
    filling = _Filling(text, PARSES[how], rules, prefix_closed, _rounds(size) * len(text.bytes), progress)
    with filling.pool:
        strings = filling.pruned(filling.grown([bytes([value]) for value in range(256)], size * OVERSHOOT), size)
        best = 0.0
        while True:
            parsed = filling.parsed(strings)
            rate = len(text.bytes) / len(parsed.symbols)
            if rate >= best:
                kept = _by_frequency(strings, parsed.uses)
            if rate < best * (1 + MIN_GAIN) or len(strings) < size:
                break
            best = rate
            strings = filling.pruned(filling.grown(strings, size * OVERSHOOT), size)
    progress(filling.total, filling.total)
    return kept


def sample(documents: Iterable[bytes], max_bytes: int) -> Text:
    """The documents with the lowest hashes, in the order of their hashes, until `max_bytes` are full.

    So the sample depends on the set of documents only. Equal documents count once. Memory: twice `max_bytes`.
    """
    kept: dict[int, bytes] = {}
    highest: list[int] = []  # a heap of the negated hashes
    total, bound = 0, 1 << 64
    for document in documents:
        document = document[:max_bytes]
        key = int.from_bytes(blake2b(document, digest_size=8).digest(), "big")
        if key >= bound or key in kept or not document:
            continue
        kept[key] = document
        heapq.heappush(highest, -key)
        total += len(document)
        while total - len(kept[-highest[0]]) >= max_bytes:
            bound = -heapq.heappop(highest)
            total -= len(kept.pop(bound))
    ordered = [kept[key] for key in sorted(kept)]
    if total > max_bytes:
        ordered[-1] = ordered[-1][: max_bytes - total]
    ends = np.cumsum([len(document) for document in ordered], dtype=np.int64)
    return Text(np.frombuffer(b"".join(ordered), dtype=np.uint8), ends)


class _Filling:
    """The text, the rules, and how far it is."""

    def __init__(self, text: Text, how: int, rules: Rules, prefix_closed: bool, total: int, progress: Progress) -> None:
        self.text, self.how, self.rules, self.prefix_closed = text, how, rules, prefix_closed
        self.total, self.progress, self.done = total, progress, 0
        self.fewest_documents = min(MIN_DOCUMENTS, len(text.ends))
        self.cores = cores()
        self.table_size = 1 << 16  # of a core's table of pairs; what one round needed is where the next begins
        self.pool = ThreadPoolExecutor(self.cores)

    def grown(self, strings: list[bytes], size: float) -> list[bytes]:
        """Add frequent pairs until there are `size` strings, or no pairs are left."""
        while len(strings) < int(size):
            parsed = self.parsed(strings)
            kept = self._without_unused(strings, parsed.uses)
            # At least doubled at first: one round for each pair of bytes would tell no more.
            want = min(int(size), max(int(len(strings) * GROWTH), 512))
            added = self._with_pairs(kept, strings, parsed, want)
            if len(added) <= len(strings):
                return strings
            strings = added
        return strings

    def pruned(self, strings: list[bytes], size: int) -> list[bytes]:
        """Drop the strings that save least until there are `size`."""
        while len(strings) > size:
            parsed = self.parsed(strings)
            loss = parsed.uses.astype(np.int64) * (_fewest_without(strings, trie_of(strings)) - 1)
            surplus = len(strings) - max(size, int(len(strings) * KEPT))
            keep = np.ones(len(strings), dtype=bool)
            order = np.argsort(loss, kind="stable")
            order = order[order >= 256] if not self.prefix_closed else order[self._leaves(strings)[order]]
            keep[order[:surplus]] = False
            strings = [string for string, kept in zip(strings, keep.tolist(), strict=True) if kept]
        return strings

    def parsed(self, strings: list[bytes]) -> _Parsed:
        """Cut all documents with a set, each core its share of them."""
        trie = trie_of(strings, self.how == LOOKAHEAD, self.rules.whole)
        bounds = np.searchsorted(self.text.ends, np.linspace(0, len(self.text.bytes), self.cores + 1)[1:-1])
        shares = np.split(np.arange(len(self.text.ends)), bounds)
        parts = list(self.pool.map(lambda share: self._parsed_share(share, trie), shares))
        self.done += len(self.text.bytes)
        self.progress(min(self.done, self.total), self.total)
        symbols = np.concatenate([part[0] for part in parts])
        ends = np.cumsum(np.concatenate([part[1] for part in parts]))
        return _Parsed(symbols, ends, np.bincount(symbols, minlength=len(strings)))

    def _parsed_share(self, share: np.ndarray, trie: Trie) -> tuple[np.ndarray, np.ndarray]:
        if not len(share):
            return np.empty(0, np.uint32), np.empty(0, np.int64)
        first = self.text.ends[share[0] - 1] if share[0] else 0
        ends = self.text.ends[share] - first
        text = self.text.bytes[first : first + ends[-1]]
        out = np.empty((len(text), 2), dtype=np.uint32)
        counts = np.empty(len(share), dtype=np.int64)
        symbols = _parse_all(text, ends, trie, self.how, self.rules.whole, out, counts)
        return out[:symbols, 0].copy(), counts

    def _with_pairs(self, kept: list[bytes], strings: list[bytes], parsed: _Parsed, size: int) -> list[bytes]:
        """What is kept and the most frequent allowed pairs of `strings`, `size` together if there are so many."""
        pairs = list(self.pool.map(lambda share: self._pairs_of_share(strings, parsed, share), range(self.cores)))
        keys = np.concatenate([part[0] for part in pairs])
        counts = np.concatenate([part[1] for part in pairs])
        order = np.lexsort((keys, -counts))
        if self.prefix_closed:
            return self._with_prefixes(kept, strings, keys[order], counts[order], size)
        there, added = set(kept), list(kept)
        for left, right in zip((keys[order] >> 32).tolist(), (keys[order] & 0xFFFFFFFF).tolist(), strict=True):
            if len(added) >= size:
                break
            string = strings[left] + strings[right]
            if string not in there:
                there.add(string)
                added.append(string)
        return added

    def _with_prefixes(
        self, kept: list[bytes], strings: list[bytes], keys: np.ndarray, counts: np.ndarray, size: int
    ) -> list[bytes]:
        """As above for a prefix-closed set, where a pair brings along what it begins with and shares its worth."""
        there, added = set(kept), list(kept)
        worth = []
        for key, count in zip(keys[: 4 * size].tolist(), counts[: 4 * size].tolist(), strict=True):
            left, right = strings[key >> 32], strings[key & 0xFFFFFFFF]
            missing = sum(left + right[:n] not in there for n in range(1, len(right) + 1))
            if missing:
                worth.append((-count / missing, left, right))
        for _, left, right in sorted(worth):
            new = [left + right[:n] for n in range(1, len(right) + 1) if left + right[:n] not in there]
            if len(added) + len(new) <= size:
                there.update(new)
                added.extend(new)
        return added

    def _pairs_of_share(self, strings: list[bytes], parsed: _Parsed, share: int) -> tuple[np.ndarray, np.ndarray]:
        """The pairs whose hash falls to one core, with how often they occur, where that is often enough."""
        length = np.array([len(string) for string in strings], dtype=np.int64)
        while True:
            size = self.table_size
            table = np.zeros((size, 4), dtype=np.int64)
            if _count_pairs(self.text.bytes, parsed.symbols, parsed.ends, length, self.rules, share, self.cores, table):
                often = (table[:, OCCURRENCES] >= 2) & (table[:, DOCUMENTS] >= self.fewest_documents)
                return table[often, PAIR], table[often, OCCURRENCES]
            self.table_size = max(self.table_size, 4 * size)

    def _without_unused(self, strings: list[bytes], uses: np.ndarray) -> list[bytes]:
        used = (uses > 1) | (np.arange(len(strings)) < 256)
        if self.prefix_closed:
            used |= ~self._leaves(strings)
        return [string for string, kept in zip(strings, used.tolist(), strict=True) if kept]

    def _leaves(self, strings: list[bytes]) -> np.ndarray:
        """Which strings of two bytes or more no other begins with, in a prefix-closed set; bool [strings]."""
        beginnings = {string[:-1] for string in strings}
        return np.array([len(string) > 1 and string not in beginnings for string in strings])


def _rounds(size: int) -> int:
    """About how many parses filling takes."""
    growing = np.log(size * OVERSHOOT / 512) / np.log(GROWTH) + 2
    pruning = np.log(OVERSHOOT) / -np.log(KEPT) + 1
    return int(growing + 2 * (pruning + 3))


def _by_frequency(strings: list[bytes], uses: np.ndarray) -> list[bytes]:
    singles = [string for string in strings if len(string) == 1]
    rest = sorted((-use, string) for use, string in zip(uses.tolist(), strings, strict=True) if len(string) > 1)
    return sorted(singles) + [string for _, string in rest]


@nb.njit(cache=True, nogil=True)
def _parse_all(
    text: np.ndarray, ends: np.ndarray, trie: Trie, how: int, whole: bool, out: np.ndarray, counts: np.ndarray
) -> int:
    """Parse each document by itself; `counts` gets the symbols of each."""
    total, begin = 0, 0
    for document in range(len(ends)):
        counts[document] = parse(text[begin : ends[document]], trie, how, whole, out[total:])
        total += counts[document]
        begin = ends[document]
    return total


@nb.njit(cache=True, nogil=True)
def fits(text: np.ndarray, begin: int, end: int, rules: Rules) -> bool:
    """Whether text[begin:end] may be a symbol where it stands in a document `text`."""
    if end - begin > rules.longest:
        return False
    if not (rules.lines or rules.indentation or rules.apart or rules.whole):
        return True
    edges = 0
    for at in range(begin + 1, end):
        before, here = text[at - 1], text[at]
        if rules.lines and before == NEWLINE:
            return False
        if rules.indentation and here != SPACE and here != TAB and here != NEWLINE:
            blanks = before == SPACE and at - 1 > begin and (text[at - 2] == SPACE or text[at - 2] == TAB)
            if before == TAB or blanks:
                return False
        if IS_IDENTIFIER[before] != IS_IDENTIFIER[here]:
            edges += 1
            if rules.apart and not (at == begin + 1 and before == SPACE):
                return False
    if rules.whole and edges:
        return not (inside(text, np.uint64(begin)) or inside(text, np.uint64(end)))
    return True


@nb.njit(cache=True, nogil=True)
def _count_pairs(
    text: np.ndarray,
    symbols: np.ndarray,
    ends: np.ndarray,
    length: np.ndarray,
    rules: Rules,
    share: int,
    shares: int,
    table: np.ndarray,
) -> bool:
    """Count the neighbouring symbols that together may be one; False if the table is too small."""
    mask, used = np.uint64(len(table) - 1), 0
    begin = first = 0
    for document in range(len(ends)):
        last = ends[document]
        end_of_text = begin
        for at in range(first, last):
            end_of_text += length[symbols[at]]
        whole_text = text[begin:end_of_text]
        place = 0
        for at in range(first, last - 1):
            left, right = length[symbols[at]], length[symbols[at + 1]]
            key = np.int64(symbols[at]) << 32 | np.int64(symbols[at + 1])
            hash_ = mixed(np.uint64(key))
            mine = int(hash_ >> np.uint64(40)) % shares == share
            if mine and fits(whole_text, place, place + left + right, rules):
                slot = hash_ & mask
                while table[slot, OCCURRENCES] and table[slot, PAIR] != key:
                    slot = (slot + np.uint64(1)) & mask
                if not table[slot, OCCURRENCES]:
                    used += 1
                    if used * 2 > len(table):
                        return False
                    table[slot, PAIR] = key
                    table[slot, LAST_DOCUMENT] = -1
                table[slot, OCCURRENCES] += 1
                if table[slot, LAST_DOCUMENT] != document:
                    table[slot, DOCUMENTS] += 1
                    table[slot, LAST_DOCUMENT] = document
            place += left
        begin, first = end_of_text, last
    return True


def _fewest_without(strings: list[bytes], trie: Trie) -> np.ndarray:
    """The fewest symbols that each string can be written with if it is not in the set; single bytes give 1."""
    offsets = np.zeros(len(strings) + 1, dtype=np.int64)
    np.cumsum([len(string) for string in strings], out=offsets[1:])
    return _fewest_symbols(np.frombuffer(b"".join(strings), dtype=np.uint8), offsets, trie.cells)


@nb.njit(cache=True)
def _fewest_symbols(data: np.ndarray, offsets: np.ndarray, cells: np.ndarray) -> np.ndarray:
    out = np.ones(len(offsets) - 1, dtype=np.int64)
    fewest = np.zeros(LONGEST + 1, dtype=np.int64)
    for own in range(len(out)):
        first, size = offsets[own], offsets[own + 1] - offsets[own]
        if size == 1:
            continue
        fewest[size] = 0
        for begin in range(size - 1, -1, -1):
            entry, best = cells[0], size
            for at in range(begin, size):
                byte = np.uint64(data[first + at])
                entry = cells[(entry >> BASE_SHIFT) ^ byte]
                if entry & LABEL != byte:
                    break
                if entry & ENDS and np.int64(entry >> SYMBOL_SHIFT & SYMBOL) != own:
                    best = min(best, 1 + fewest[at + 1])
            fewest[begin] = best
        out[own] = fewest[0]
    return out
