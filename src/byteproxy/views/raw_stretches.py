"""Raw stretches of a neural view: bytes between two sentinels where windows would hold hardly any.

A window costs a symbol however little it holds. So a run of windows that each hold fewer than `raw` bytes, and together
at least `SHORTEST`, is written as OPEN, its bytes as symbols of their own, and CLOSE. (It is known that the paper's
neural proxy leaves stretches raw, but not which; this rule is ours.) The rule looks at windows alone, so it costs
nothing and is a pure function of them.

Numbers: the window symbols' 2^N come first, then OPEN, CLOSE and the 256 bytes. OPEN covers no byte and CLOSE the last
one, so the last symbol of a document always covers something.
"""

import numpy as np

from byteproxy.jit import nb

SHORTEST = 8
"""Bytes of the shortest raw stretch."""
MORE = 258
"""Symbols beside those of windows: OPEN, CLOSE, and the bytes."""
OPEN, CLOSE, FIRST_BYTE = 0, 1, 2


def written(
    text: np.ndarray, symbols: np.ndarray, sizes: np.ndarray, bits: int, parts: int, raw: int
) -> tuple[np.ndarray, np.ndarray]:
    """A document's windows as a view's symbols and spans, both uint32 [n].

    text: uint8. symbols, sizes: of its windows, which cover it. bits: of one symbol; a window is `parts` of them, most
    significant bits first, the last of which covers it. raw: 0 leaves nothing raw.
    """
    if raw == 0:
        return _packed(symbols, sizes, bits, parts)
    left_raw = int(sizes[sizes < raw].sum(dtype=np.int64))  # at most
    most = len(sizes) * parts + left_raw + 2 * (left_raw // SHORTEST)
    found = np.empty((2, most), np.uint32)
    count = _written(text, symbols.astype(np.uint32), sizes.astype(np.uint32), bits, parts, raw, found)
    return found[0, :count].copy(), found[1, :count].copy()


def _packed(symbols: np.ndarray, sizes: np.ndarray, bits: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    if parts == 1:
        return symbols.astype(np.uint32, copy=False), sizes.astype(np.uint32)
    shifts = np.arange(parts - 1, -1, -1, dtype=np.uint32) * np.uint32(bits)
    spans = np.zeros((len(sizes), parts), np.uint32)
    spans[:, -1] = sizes
    return (symbols[:, None] >> shifts & np.uint32((1 << bits) - 1)).astype(np.uint32).ravel(), spans.ravel()


@nb.njit(cache=True, nogil=True)
def _written(text, symbols, sizes, bits, parts, raw, found):  # type: ignore[no-untyped-def]
    count = at = begin = 0
    mask, first = (1 << bits) - 1, 1 << bits
    while at < len(symbols):
        last, covered = at, 0
        while last < len(symbols) and sizes[last] < raw:
            covered += sizes[last]
            last += 1
        if covered >= SHORTEST:
            found[0, count], found[1, count] = first + OPEN, 0
            for place in range(covered):
                count += 1
                found[0, count], found[1, count] = first + FIRST_BYTE + text[begin + place], 1
            found[1, count] = 0
            count += 1
            found[0, count], found[1, count] = first + CLOSE, 1
            count += 1
            at, begin = last, begin + covered
            continue
        for window in range(at, max(last, at + 1)):
            for part in range(parts - 1, -1, -1):
                found[0, count] = symbols[window] >> bits * part & mask
                found[1, count] = 0 if part else sizes[window]
                count += 1
            begin += sizes[window]
        at = max(last, at + 1)
    return count
