"""Cut text into pieces in compiled code: UTF-8 bytes in, one piece's end at a time.

Automata (`automaton`) are walked character by character: a load for its class, a load for the next state. If several
cuts each divide the pieces of the one before, they are walked one within the other.
"""

import numpy as np
from numba.extending import intrinsic

from byteproxy.jit import nb
from byteproxy.views.bpe.automaton import BACK, FAR, HERE, MARK, NOTHING, PAST
from byteproxy.views.bpe.pre_tokenizers import LINES


@intrinsic
def pointer(typing_context, array):  # type: ignore[no-untyped-def]
    """Where an array's memory begins, to be indexed like the array: inner functions that take arrays count references.

    Nothing keeps the array alive or checks an index; negative ones don't wrap around.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return nb.types.CPointer(array.dtype)(array), generate


@nb.njit(cache=True, forceinline=True)
def match_end(text, at, end, start, classes, entries):  # type: ignore[no-untyped-def]
    """Where the match that begins at `at` ends, -1 if there is none; a byte that isn't UTF-8 is an end of text.

    All tables are pointers (see `pointer`). text: uint8, read from `at` (below `end`) to `end`, which cuts a character
        like the end of text does.
    start: where the row of the automaton's first state begins. classes, entries: see `Automata`.
    """
    state, to = np.int64(start), np.int64(at)
    before, noted = to, to
    while True:
        older, before = before, to
        kind = np.int64(0)
        if to < end:
            if text[to] < 0x80:
                kind = np.int64(classes[text[to]])
                to += 1
            else:
                found = wide_character(text, to, end, classes)
                kind = found & 255
                to += found >> 8
        state = np.int64(entries[state + kind])
        if state >= MARK:
            # Branches and no sums: as they are predicted, the next piece is begun before this state is known.
            if state == HERE:
                return before
            if state == BACK:
                return older
            if state == PAST:
                return to
            if state == FAR:
                return noted
            if state == NOTHING:
                return np.int64(-1)
            noted = older
            state &= MARK - 1


@nb.njit(cache=True)
def piece_end(text, at, end, cuts, ends):  # type: ignore[no-untyped-def]
    """Where the piece that begins at `at` ends under several cuts, or one that may find nothing.

    `at` itself if the byte there isn't UTF-8.
    cuts: `Cutting` of pointers. ends: int64 [cuts], where the last piece of each ended; kept between calls, and 0
        before the first one.
    """
    for cut in range(cuts.size):
        if ends[cut] <= at:
            ends[cut] = _cut_end(text, at, end, cuts.starts[cut], cuts.classes, cuts.entries)
        end = min(end, ends[cut])
    return end


@nb.njit(cache=True)
def _cut_end(text, at, end, start, classes, entries):  # type: ignore[no-untyped-def]
    found = match_end(text, at, end, start, classes, entries)
    if found >= 0:
        return found
    to, attempt = at, at
    while to < end:
        kind, length = np.int64(classes[text[to]]), 1
        if text[to] >= 0x80:
            wide = wide_character(text, to, end, classes)
            kind, length = wide & 255, wide >> 8
            if length == 0:
                return to
        if to >= attempt and to > at and entries[start + kind] != NOTHING:
            attempt = _next_attempt(text, to, end, start, classes, entries)
            if attempt < 0:
                return to
        to += length
    return to


@nb.njit(cache=True)
def _next_attempt(text, at, end, start, classes, entries):  # type: ignore[no-untyped-def]
    """-1 if a match begins at `at`; else the first place behind where one may, or where an invalid byte is.

    A walk that begins at a later character fails as well if that character leads from the first state to the same state
    as in this walk: from there on the two go together. So a run of one kind is walked once.
    """
    state, to, together, place = np.int64(start), np.int64(at), True, np.int64(at)
    while True:
        kind, begin = np.int64(0), to
        if to < end:
            kind, length = np.int64(classes[text[to]]), np.int64(1)
            if text[to] >= 0x80:
                wide = wide_character(text, to, end, classes)
                kind, length = wide & 255, wide >> 8
            to += length
        state = np.int64(entries[state + kind])
        if state == NOTHING:
            return max(place, at + 1)
        if state >= MARK:
            return np.int64(-1)
        if together:
            together = begin == at or state == np.int64(entries[start + kind])
            if together:
                place = to


@nb.njit(cache=True)
def stretch_end(text, at, end, rule, joined, classes):  # type: ignore[no-untyped-def]
    """LINES_PATTERN or all valid text, or less where two bytes can't be merged across.

    `at` itself if the byte there isn't UTF-8.
    joined: uint8 [65536], 0 for two bytes that stand side by side in no symbol. No merge crosses them, so a piece may
        end there as well: shorter pieces, same symbols.
    """
    to = at
    while to < end:
        byte = text[to]
        if to > at and not joined[np.int64(text[to - 1]) << 8 | np.int64(byte)]:
            return to
        if byte < 0x80:
            to += 1
            if byte == 10 and rule == LINES:
                return to
        else:
            found = wide_character(text, to, end, classes)
            if found == 0:
                return to
            to += found >> 8
    return to


@nb.njit(cache=True)
def wide_character(text, at, end, classes):  # type: ignore[no-untyped-def]
    """256 x bytes + class of the character that begins with the byte at `at`, which is not ASCII.

    0 where Python's strict decoder finds none.
    """
    lead = np.int64(text[at])
    if lead < 0xC2 or lead > 0xF4:
        return np.int64(0)
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if at + length > end:
        return np.int64(0)
    value = lead & (0xFF >> (length + 1))
    for place in range(1, length):
        byte = np.int64(text[at + place])
        if byte & 0xC0 != 0x80:
            return np.int64(0)
        value = value << 6 | byte & 0x3F
    # overlong, surrogate, beyond Unicode
    if (length == 3 and value < 0x800) or 0xD800 <= value < 0xE000 or (length == 4 and not 0x10000 <= value < 0x110000):
        return np.int64(0)
    return np.int64(classes[value]) | length << 8
