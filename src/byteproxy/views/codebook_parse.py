"""Cutting text into strings of a set: greedy, with one step of lookahead, or into the fewest.

All three are functions of the text from where a symbol may begin and have no memory of what came before. With
*candidates* at a place meaning the strings of the set that stand there and that the rule allows (a single byte always
is one):

greedy      takes the longest candidate.
lookahead   takes the candidate after which the longest candidate reaches furthest (the longer one where two reach as
            far). For a prefix-closed set that gives the fewest symbols possible, and greedy does not (Cohn and Khazan,
            DCC 1996; Matias and Sahinalp, SODA 1999).
optimal     gives the fewest symbols; where several parses do, the one whose symbols are longer from the left.

The rule `whole` forbids a string that crosses an identifier's edge to begin or end inside an identifier. An identifier
is a run of [A-Za-z0-9_] and bytes from 128 up. All other restrictions are properties of the set itself.

Costs for s bytes a symbol: greedy (s + 1) / s dependent loads a byte and one branch a symbol that no processor
predicts; lookahead about one short walk a symbol more; optimal a walk from every byte, and a byte of memory for each.
"""

import numpy as np

from byteproxy.coins import CUT, SPLIT, coin, hashed
from byteproxy.jit import nb
from byteproxy.views.trie import BASE_SHIFT, ENDS, HAS_RESTS, LABEL, LONGEST, SYMBOL, SYMBOL_SHIFT, Trie, bit_of

GREEDY, LOOKAHEAD, OPTIMAL = 0, 1, 2
PARSES = {"greedy": GREEDY, "lookahead": LOOKAHEAD, "optimal": OPTIMAL}

IS_IDENTIFIER = np.array(
    [chr(value).isalnum() or chr(value) == "_" if value < 128 else True for value in range(256)], dtype=np.bool_
)

# Unsigned places throughout: for signed ones numba adds a test for negative indices to each load.
ZERO, ONE = np.uint64(0), np.uint64(1)


@nb.njit(cache=True, nogil=True)
def parse(text: np.ndarray, trie: Trie, how: int, whole: bool, out: np.ndarray) -> int:
    """Cut text, uint8 [n]; writes (symbol, bytes) to the rows of `out`, uint32 [n or more, 2], and returns how many."""
    if how == GREEDY:
        return int(_greedy(text, ZERO, np.uint64(len(text)), trie.cells, whole, out, ZERO))
    if how == LOOKAHEAD:
        return int(_lookahead(text, trie.cells, trie.rest_start, trie.rests, trie.asks, whole, out))
    return int(_optimal(text, trie.cells, whole, out))


@nb.njit(cache=True, nogil=True)
def parse_between(text: np.ndarray, cuts: np.ndarray, cells: np.ndarray, out: np.ndarray) -> int:
    """As `parse`, greedily, with a symbol's end at each of `cuts`, int64 [cuts], ascending offsets within the text."""
    count, begin = ZERO, ZERO
    for cut in cuts:
        count = _greedy(text, begin, np.uint64(cut), cells, False, out, count)
        begin = np.uint64(cut)
    return int(_greedy(text, begin, np.uint64(len(text)), cells, False, out, count))


@nb.njit(inline="always")
def inside(text: np.ndarray, at: np.uint64) -> bool:
    """Whether a place lies within an identifier, both its neighbours being part of it."""
    return bool(ZERO < at < np.uint64(len(text)) and IS_IDENTIFIER[text[at - ONE]] and IS_IDENTIFIER[text[at]])


@nb.njit(inline="always")
def _longest(
    text: np.ndarray, begin: np.uint64, limit: np.uint64, cells: np.ndarray, whole: bool
) -> tuple[np.uint64, np.uint64]:
    """The longest candidate at `begin` that ends at `limit` at most: its end and its cell's content; begin < limit."""
    if whole:
        return _longest_whole(text, begin, begin, limit, cells[ZERO] >> BASE_SHIFT, inside(text, begin), False, cells)
    at, base = begin, cells[ZERO] >> BASE_SHIFT
    end, last = begin, ZERO
    while at < limit:
        byte = np.uint64(text[at])
        entry = cells[base ^ byte]
        if entry & LABEL != byte:
            break
        base = entry >> BASE_SHIFT
        at += ONE
        if entry & ENDS:
            end, last = at, entry
    return end, last


@nb.njit(cache=True, nogil=True)
def _longest_whole(
    text: np.ndarray,
    begin: np.uint64,
    at: np.uint64,
    limit: np.uint64,
    base: np.uint64,
    begins_inside: bool,
    crossed: bool,
    cells: np.ndarray,
) -> tuple[np.uint64, np.uint64]:
    """Under the rule `whole`, walk a string that began at `begin` on from `at` and `base`.

    crossed: whether an identifier's edge lies between begin and at.
    Returns end and cell content of the last candidate, or (0, 0) where there is none.
    """
    end, last = ZERO, ZERO
    while at < limit:
        byte = np.uint64(text[at])
        entry = cells[base ^ byte]
        if entry & LABEL != byte:
            break
        if at > begin and IS_IDENTIFIER[text[at]] != IS_IDENTIFIER[text[at - ONE]]:
            if begins_inside:
                break
            crossed = True
        base = entry >> BASE_SHIFT
        at += ONE
        if entry & ENDS and not (crossed and inside(text, at)):
            end, last = at, entry
    return end, last


@nb.njit(cache=True, nogil=True)
def _greedy(
    text: np.ndarray,
    begin: np.uint64,
    limit: np.uint64,
    cells: np.ndarray,
    whole: bool,
    out: np.ndarray,
    count: np.uint64,
) -> np.uint64:
    """Cut text[begin:limit] into out[count:]; the new count."""
    while begin < limit:
        end, last = _longest(text, begin, limit, cells, whole)
        out[count, 0], out[count, 1] = last >> SYMBOL_SHIFT & SYMBOL, end - begin
        count += ONE
        begin = end
    return count


@nb.njit(cache=True, nogil=True)
def _lookahead(
    text: np.ndarray,
    cells: np.ndarray,
    rest_start: np.ndarray,
    rests: np.ndarray,
    asks: np.ndarray,
    whole: bool,
    out: np.ndarray,
) -> np.uint64:
    size = np.uint64(len(text))
    count, begin = ZERO, ZERO
    if size == ZERO:
        return count
    end, last = _longest(text, begin, size, cells, whole)
    while end < size:
        reach, following = _longest(text, end, size, cells, whole)
        choice, chosen = end, last >> SYMBOL_SHIFT & SYMBOL
        if last & HAS_RESTS and asks[chosen] & bit_of(np.uint64(text[end])):
            row, rows_end = np.uint64(rest_start[chosen]), np.uint64(rest_start[chosen + ONE])
            while row < rows_end:
                # A shorter choice reaches further only if what it leaves of the longest string goes on beyond its end.
                rest = rests[row]
                row += ONE
                middle, base = begin + (rest >> np.uint64(56)), rest & np.uint64(0xFFFFFFFF)
                further, then = ZERO, ZERO
                if whole:
                    begins_inside, crossed = inside(text, middle), _crosses(text, middle, end)
                    if not (begins_inside and crossed) and _allowed(text, begin, middle):
                        further, then = _longest_whole(text, middle, end, size, base, begins_inside, crossed, cells)
                else:  # written out: as a call that numba inlines it made the whole walk a fifth slower
                    at = end
                    while at < size:
                        byte = np.uint64(text[at])
                        entry = cells[base ^ byte]
                        if entry & LABEL != byte:
                            break
                        base = entry >> BASE_SHIFT
                        at += ONE
                        if entry & ENDS:
                            further, then = at, entry
                if further > reach:
                    reach, following = further, then
                    choice, chosen = middle, rest >> np.uint64(32) & np.uint64(0xFFFFFF)
        out[count, 0], out[count, 1] = chosen, choice - begin
        count += ONE
        begin, end, last = choice, reach, following
    out[count, 0], out[count, 1] = last >> SYMBOL_SHIFT & SYMBOL, end - begin
    return count + ONE


@nb.njit(cache=True, nogil=True)
def _optimal(text: np.ndarray, cells: np.ndarray, whole: bool, out: np.ndarray) -> np.uint64:
    size = np.uint64(len(text))
    ring = np.uint64(LONGEST)
    size_at = np.empty(len(text), dtype=np.uint8)  # of the symbol that begins there
    fewest = np.zeros(LONGEST + 1, dtype=np.int64)  # symbols from a place on; a ring, as no string is longer
    for back in range(len(text)):
        begin = size - ONE - np.uint64(back)
        begins_inside, crossed = whole and inside(text, begin), False
        at, base = begin, cells[ZERO] >> BASE_SHIFT
        best = len(text) + 1
        while at < size:
            byte = np.uint64(text[at])
            entry = cells[base ^ byte]
            if entry & LABEL != byte:
                break
            if whole and at > begin and IS_IDENTIFIER[text[at]] != IS_IDENTIFIER[text[at - ONE]]:
                if begins_inside:
                    break
                crossed = True
            base = entry >> BASE_SHIFT
            at += ONE
            if entry & ENDS and not (whole and crossed and inside(text, at)):
                symbols = 1 + (int(fewest[at & ring]) if at < size else 0)
                if symbols <= best:
                    best, size_at[begin] = symbols, np.uint8(at - begin)
        fewest[begin & ring] = best
    count, begin = ZERO, ZERO
    while begin < size:
        entry, size_here = cells[ZERO], np.uint64(size_at[begin])
        for _ in range(size_here):
            entry = cells[(entry >> BASE_SHIFT) ^ np.uint64(text[begin])]
            begin += ONE
        out[count, 0], out[count, 1] = entry >> SYMBOL_SHIFT & SYMBOL, size_here
        count += ONE
    return count


@nb.njit(cache=True, nogil=True)
def _crosses(text: np.ndarray, begin: np.uint64, end: np.uint64) -> bool:
    """Whether an identifier begins or ends strictly between two places."""
    at = begin + ONE
    while at < end:
        if IS_IDENTIFIER[text[at]] != IS_IDENTIFIER[text[at - ONE]]:
            return True
        at += ONE
    return False


@nb.njit(cache=True, nogil=True)
def _allowed(text: np.ndarray, begin: np.uint64, end: np.uint64) -> bool:
    """Whether the rule `whole` lets a symbol stretch from begin to end."""
    return not _crosses(text, begin, end) or not (inside(text, begin) or inside(text, end))


@nb.njit(cache=True, nogil=True)
def split_at_random(
    text: np.ndarray, parsed: np.ndarray, trie: Trie, whole: bool, share: float, key: np.uint64, out: np.ndarray
) -> int:
    """Cut a share of the symbols of two bytes or more in two at a random place, each half greedily.

    parsed: (symbol, bytes) of each symbol of `text`. key: decides all cuts, together with a symbol's place among them.
    Writes (symbol, bytes) to the rows of `out`, uint32 [n or more, 2], and returns how many.
    """
    count, begin = ZERO, ZERO
    for place in range(len(parsed)):
        size = np.uint64(parsed[place, 1])
        end = begin + size
        draw = np.uint64(place)
        if size > ONE and coin(key, draw, SPLIT) < share:
            middle = begin + ONE + hashed(key, draw, CUT) % (size - ONE)
            count = _greedy(text, begin, middle, trie.cells, whole, out, count)
            count = _greedy(text, middle, end, trie.cells, whole, out, count)
        else:
            out[count, 0], out[count, 1] = parsed[place, 0], parsed[place, 1]
            count += ONE
        begin = end
    return int(count)
