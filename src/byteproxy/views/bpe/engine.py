"""Byte-pair encoding at memory speed, with the ids of `tokenizers`, piece by piece in compiled code.

Most pieces have been seen before. A known piece costs finding its end, one hash of its bytes and one lookup in a
bounded cache of symbols; only a new piece is merged. The cache holds what merging gave, and each thread has its own:
neither history nor threads can change a symbol.

The lower bound is to touch every byte once and to look up each piece (3.9 bytes long on Python code): a hash and, as
the slots are no larger than a core's own cache (1 MB), a few nanoseconds of waiting for memory.

Cost: 4 MB per thread, 24 bytes per byte of the longest piece while it is merged, and the result.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numba.extending import intrinsic

from byteproxy.jit import nb
from byteproxy.views.base import Encoded
from byteproxy.views.bpe.added_tokens import AddedToken, finding, next_token, pointers_to
from byteproxy.views.bpe.ignore_merges import Whole, symbol_of_piece, whole_of
from byteproxy.views.bpe.merges import Merges, Work, merge, merges_of, work_for
from byteproxy.views.bpe.piece_cache import INLINE, LONGEST_KEPT, Cache, find, identity, keep, new_cache
from byteproxy.views.bpe.pre_tokenizers import AUTOMATA, LINES, Cuts
from byteproxy.views.bpe.scan import match_end, piece_end, pointer, stretch_end
from byteproxy.views.threads import cores

PART_BYTES = 1 << 18
"""Documents longer than this are cut at line ends, where the rule allows it, to share them out over the cores."""
GROUP_BYTES = 1 << 19
"""Documents are encoded in groups of about so much text, as each call of compiled code takes 10 microseconds."""
THREAD_BYTES = 1 << 16
"""Text for which another thread is worth starting."""
ROOM = 1 << 16
"""Symbols that are encoded before they are copied out."""


class Cutting(NamedTuple):
    """The cuts as arrays (or as pointers to them, in compiled code).

    rule: one of `pre_tokenizers`. size: of automata. starts, classes, entries: see `Automata`. joined: see
        `stretch_end`.
    """

    rule: int
    size: int
    starts: np.ndarray
    classes: np.ndarray
    entries: np.ndarray
    joined: np.ndarray


class Scratch(NamedTuple):
    """The buffers that encoding writes, of one thread.

    marks: int64 [12]. OPENED is the part that is being encoded, STOP where its plain text ends for now, BEGIN where it
        begins and AFTER where the text behind its last raw token does. From RAW and from NORMALIZED on stands what
        `next_token` found.
    ends: int64 [automata], see `piece_end`.
    """

    cache: Cache
    work: Work
    marks: np.ndarray
    ends: np.ndarray


OPENED, STOP, BEGIN, AFTER, RAW, NORMALIZED = 0, 1, 2, 3, 4, 8
COVERED = (1 << 32) - 1
"""Stands for one byte of blanks that the token before it took."""


class Engine:
    """Encodes under cuts that are known with one set of merges."""

    def __init__(
        self,
        cuts: Cuts,
        strings: Sequence[bytes],
        merges: Sequence[tuple[int, int, int]],
        *,
        ignore_merges: bool = False,
        tokens: Sequence[AddedToken] = (),
    ) -> None:
        """strings: the bytes behind each symbol, all 256 single ones among them, and none for tokens that the model
            itself can't make; at most MAX_SYMBOLS.
        merges: (left, right, merged) symbols, lowest rank first; at most MAX_MERGES.
        ignore_merges: whether a piece that is some symbol's string is that symbol, whatever the merges make of it.
        tokens: to be found before text is cut.
        """
        contents = {token.symbol: token.content.encode() for token in tokens if not token.special}
        lengths = [len(contents.get(symbol, string)) for symbol, string in enumerate(strings)]
        self._lengths = np.array(lengths, np.uint32)
        self._dtype = np.uint16 if len(strings) <= 1 << 16 else np.uint32
        symbol_of = {string: symbol for symbol, string in enumerate(strings)}
        self._merges = merges_of(merges, [symbol_of[bytes([value])] for value in range(256)])
        whole = whole_of(strings if ignore_merges else [])
        joined = np.ones(1 << 16, np.uint8) if ignore_merges else _joined(strings)
        self._tables = _cutting(cuts, joined), whole, finding(tokens), finding(tokens, raw=False)
        self._strips = any(token.lstrip or token.rstrip for token in tokens)
        self._cut_at_newlines = (
            cuts.rule == LINES or (cuts.automata is not None and cuts.automata.ends_at_newlines)
        ) and not (self._strips or any("\n" in token.content for token in tokens))
        # Taken and given back as a whole, which is safe between threads.
        self._idle: list[Scratch] = []

    def encode(self, documents: list[bytes], raw: bool = True) -> list[Encoded]:
        """Each document's symbols and spans, on all cores if there is enough to do.

        raw: whether to look for tokens that aren't `normalized`, too.
        """
        total = sum(map(len, documents))
        threads = max(1, min(cores(), total // THREAD_BYTES))
        parts = (part for number, document in enumerate(documents) for part in self._parts(number, document))
        groups = ((group, raw) for group in _groups(parts, min(total // (8 * threads), GROUP_BYTES)))
        if threads == 1:
            encoded = [one for group in groups for one in self._encode_group(group)]
        else:
            with ThreadPoolExecutor(threads) as pool:
                encoded = [one for group in pool.map(self._encode_group, groups) for one in group]
        by_document = groupby(encoded, key=lambda numbered: numbered[0])
        return [_concatenated([one for _, one in numbered]) for _, numbered in by_document]

    def _parts(self, number: int, document: bytes) -> Iterator["Part"]:
        begin = 0
        if self._cut_at_newlines:
            while len(document) - begin > PART_BYTES:
                end = document.find(b"\n", begin + PART_BYTES) + 1 or len(document)
                yield number, document[begin:end]
                begin = end
        if begin < len(document) or not document:
            yield number, document[begin:]

    def _encode_group(self, given: tuple[list["Part"], bool]) -> list[tuple[int, Encoded]]:
        group, raw = given
        cutting, whole, *findings = self._tables
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = _new_scratch(cutting.size)
        scratch.marks[:] = 0
        scratch.marks[OPENED] = -1
        scratch.ends[:] = 0
        text = np.frombuffer(b"".join(part for _, part in group), np.uint8)
        ends, counts = np.cumsum([len(part) for _, part in group]), np.zeros(len(group), np.int64)
        found, at, place = [], 0, 0
        while place < len(group):
            at, place, count, needed = _encode(
                text, at, ends, place, counts, cutting, whole, findings[not raw], self._merges, scratch
            )
            found.append(scratch.work.out[:count].astype(np.uint32 if self._strips else self._dtype))
            if needed:
                scratch = scratch._replace(work=work_for(needed, INLINE))
        if len(scratch.work.symbols) > ROOM:
            scratch = scratch._replace(work=work_for(ROOM, INLINE))
        self._idle.append(scratch)
        symbols = found[0] if len(found) == 1 else np.concatenate(found)
        stops = np.cumsum(counts)
        if self._strips:
            symbols, spans, stops = self._folded(symbols, stops)
        else:
            spans = self._lengths[symbols]
        if len(group) == 1:
            return [(group[0][0], Encoded(symbols, spans))]
        # Copies, as a slice of one document would keep the memory of all.
        return [
            (number, Encoded(symbols[start:stop].copy(), spans[start:stop].copy()))
            for (number, _), start, stop in zip(group, [0, *stops[:-1].tolist()], stops.tolist(), strict=True)
        ]

    def _folded(self, symbols: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Symbols without COVERED, their spans with it, and where each part's symbols end."""
        real = symbols != COVERED
        places = np.flatnonzero(real)
        kept = symbols[real].astype(self._dtype)
        taken = np.diff(np.r_[places, len(symbols)]) - 1
        spans = self._lengths[kept] + taken.astype(np.uint32)
        return kept, spans, np.searchsorted(places, stops)


Part = tuple[int, bytes]
"""The number of a document, and a stretch of it that can be encoded by itself."""


def _groups(parts: Iterable[Part], size: int) -> Iterator[list[Part]]:
    """The parts in order, in groups of at least `size` bytes but for the last."""
    group: list[Part] = []
    filled = 0
    for part in parts:
        group.append(part)
        filled += len(part[1])
        if filled >= size:
            yield group
            group, filled = [], 0
    if group:
        yield group


def _concatenated(parts: list[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    return Encoded(
        np.concatenate([part.symbols for part in parts]), np.concatenate([part.span_bytes for part in parts])
    )


def _cutting(cuts: Cuts, joined: np.ndarray) -> Cutting:
    found = cuts.automata
    if cuts.rule != AUTOMATA or found is None:
        nothing = np.zeros(1, np.int64)
        return Cutting(cuts.rule, 1, nothing, np.ones(0x110000, np.uint8), nothing.astype(np.uint16), joined)
    starts = np.array(found.starts, np.int64)
    return Cutting(AUTOMATA, len(starts), starts, found.classes, found.entries, joined)


def _joined(strings: Sequence[bytes]) -> np.ndarray:
    """For each two bytes whether they stand side by side in some string, uint8 [65536]."""
    text = np.frombuffer(b"".join(strings), np.uint8).astype(np.int64)
    inside = np.ones(max(len(text) - 1, 0), bool)
    ends = np.cumsum([len(string) for string in strings])
    inside[(ends[(ends > 0) & (ends < len(text))] - 1)] = False
    joined = np.zeros(1 << 16, np.uint8)
    joined[(text[:-1] << 8 | text[1:])[inside]] = 1
    return joined


def _new_scratch(automata: int) -> Scratch:
    return Scratch(new_cache(), work_for(ROOM, INLINE), np.zeros(12, np.int64), np.zeros(automata, np.int64))


@intrinsic
def _moved(typing_context, pointer_, places):  # type: ignore[no-untyped-def]
    """The pointer some places on."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.gep(arguments[0], [arguments[1]])

    return pointer_(pointer_, nb.int64), generate


@nb.njit(cache=True, nogil=True)
def _encode(document, at, ends, place, counts, cutting, whole, finding, merges, scratch):  # type: ignore[no-untyped-def]
    """Encode parts that end at `ends`, as far as there is room in `out`, from byte `at` in the one at `place` on.

    Adds how many symbols each part has to `counts`. Returns where to go on (byte and part), how many symbols there are
    in `out`, and the room that the next piece needs if it is more than there ever is.
    """
    room = len(scratch.work.out) - INLINE
    text, safe = pointer(document), len(document) - 16
    cuts, strings, tokens, m, c, w = _pointers_to(cutting, whole, finding, merges, scratch)
    marks, inner = pointer(scratch.marks), pointer(scratch.ends)
    start, with_tokens = cutting.starts[0], finding.raw.size + finding.normalized.size > 0
    stop = marks[STOP]
    count = begun = 0
    while True:
        while at == stop:
            if with_tokens and marks[OPENED] == place:
                found = _pending(at, marks)
                if found >= 0:
                    length = marks[found + 1] - at
                    if count + length > room:
                        counts[place] += count - begun
                        return at, place, count, (length if length > room else 0)
                    w.out[count] = marks[found + 2]
                    count += 1
                    for _ in range(marks[found + 3]):
                        w.out[count] = COVERED
                        count += 1
                    at += length
                    stop = _sought(text, at, ends[place], found, tokens, marks)
                    continue
            if marks[OPENED] == place:
                counts[place] += count - begun
                begun = count
                place += 1
                if place == len(ends):
                    return at, place, count, 0
            marks[OPENED] = place
            if with_tokens:
                marks[BEGIN] = at
                stop = _sought(text, at, ends[place], RAW, tokens, marks)
            else:
                stop = ends[place]
            marks[STOP] = stop
        if cuts.rule != AUTOMATA:
            to = stretch_end(text, at, stop, cuts.rule, cuts.joined, cuts.classes)
        elif cuts.size == 1:
            to = match_end(text, at, stop, start, cuts.classes, cuts.entries)
            if to < 0:
                to = piece_end(text, at, stop, cuts, inner)
        else:
            to = piece_end(text, at, stop, cuts, inner)
        length = to - at
        if count + length > room:
            counts[place] += count - begun
            return at, place, count, (length if length > room else 0)
        if length <= 1:
            w.out[count] = m.byte_symbols[text[at]]
            count += 1
            at += 1
            continue
        if length > LONGEST_KEPT:
            count = _merged(text, at, length, safe, strings, m, w, count)
            at = to
            continue
        key, name = identity(text, at, length, safe)
        slot = find(text, at, length, key, name, c)
        if c.slots[slot + 1] == 0:
            before = count
            count = _merged(text, at, length, safe, strings, m, w, count)
            keep(text, at, length, key, name, slot, c, w.out, before, count)
        else:
            first, second = c.slots[slot + 2], c.slots[slot + 3]
            symbols = first & 0xFFFF
            if length < 16 and symbols <= INLINE:
                w.out[count] = first >> 16 & 0xFFFFF
                w.out[count + 1] = first >> 36 & 0xFFFFF
                w.out[count + 2] = second & 0xFFFFF
                w.out[count + 3] = second >> 20 & 0xFFFFF
                w.out[count + 4] = second >> 40 & 0xFFFFF
            else:
                kept = first >> 16
                for one in range(symbols):
                    w.out[count + one] = c.kept_symbols[kept + one]
            count += symbols
        at = to


@nb.njit(cache=True)
def _pending(at, marks):  # type: ignore[no-untyped-def]
    """Where in `marks` the token stands that begins at `at`, -1 if there is none."""
    if marks[NORMALIZED] == at and marks[NORMALIZED + 2] >= 0:
        return NORMALIZED
    if marks[RAW] == at and marks[RAW + 2] >= 0:
        return RAW
    return -1


@nb.njit(cache=True)
def _sought(text, at, end, after, tokens, marks):  # type: ignore[no-untyped-def]
    """Where plain text from `at` on ends, at a token or at `end`; notes the next token of each kind.

    after: RAW at the begin of a part and behind a raw token, NORMALIZED behind a normalized one.
    """
    raw, normalized = _moved(marks, RAW), _moved(marks, NORMALIZED)
    if after == RAW:
        marks[AFTER] = at
        next_token(text, marks[BEGIN], at, end, tokens.raw, tokens.beside, raw)
    next_token(text, marks[AFTER], at, marks[RAW], tokens.normalized, tokens.beside, normalized)
    marks[STOP] = marks[NORMALIZED]
    return marks[STOP]


@nb.njit(cache=True)
def _merged(text, at, length, safe, strings, m, w, count):  # type: ignore[no-untyped-def]
    """Put a piece's symbols into `out` from `count`; returns where they end."""
    if length <= strings.longest:
        symbol = symbol_of_piece(text, at, length, safe, strings)
        if symbol >= 0:
            w.out[count] = symbol
            return count + 1
    return merge(text, at, length, m, w, count)


@nb.njit(cache=True)
def _pointers_to(cutting, whole, finding, m, scratch):  # type: ignore[no-untyped-def]
    c, w = scratch.cache, scratch.work
    return (
        Cutting(
            cutting.rule,
            cutting.size,
            pointer(cutting.starts),
            pointer(cutting.classes),
            pointer(cutting.entries),
            pointer(cutting.joined),
        ),
        Whole(whole.longest, pointer(whole.slots), whole.mask, pointer(whole.text), pointer(whole.ends)),
        pointers_to(finding),
        Merges(pointer(m.pairs), m.mask, pointer(m.byte_ranks), pointer(m.merged), pointer(m.byte_symbols)),
        Cache(pointer(c.slots), pointer(c.kept_bytes), pointer(c.kept_symbols), pointer(c.used)),
        Work(
            pointer(w.symbols),
            pointer(w.following),
            pointer(w.preceding),
            pointer(w.ranks),
            pointer(w.keys),
            pointer(w.out),
        ),
    )
