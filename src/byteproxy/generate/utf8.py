"""UTF-8 as an automaton over bytes: what may come next, and text that is never cut inside a character.

The states are those of the table of well-formed byte sequences in the Unicode standard (3.9, table 3-7): between
characters; one, two or three continuation bytes to come; and after E0, ED, F0 and F4, where the next byte has narrower
bounds (no overlong forms, no surrogates, nothing above U+10FFFF).
"""

import codecs
from collections.abc import Iterable, Iterator

import numpy as np

BETWEEN, REFUSED = 0, 8
_ONE, _TWO, _THREE, _E0, _ED, _F0, _F4 = range(1, 8)
MISSING = (0, 1, 2, 3, 2, 2, 3, 3, 0)
"""Bytes that complete the character, by state."""


def _table() -> np.ndarray:
    following = np.full((9, 256), REFUSED, np.uint8)
    following[BETWEEN, :0x80] = BETWEEN
    for first, last, state in (
        (0xC2, 0xDF, _ONE),
        (0xE0, 0xE0, _E0),
        (0xE1, 0xEF, _TWO),
        (0xED, 0xED, _ED),
        (0xF0, 0xF0, _F0),
        (0xF1, 0xF3, _THREE),
        (0xF4, 0xF4, _F4),
    ):
        following[BETWEEN, first : last + 1] = state
    for state, first, last, then in (
        (_ONE, 0x80, 0xBF, BETWEEN),
        (_TWO, 0x80, 0xBF, _ONE),
        (_THREE, 0x80, 0xBF, _TWO),
        (_E0, 0xA0, 0xBF, _ONE),
        (_ED, 0x80, 0x9F, _ONE),
        (_F0, 0x90, 0xBF, _TWO),
        (_F4, 0x80, 0x8F, _TWO),
    ):
        following[state, first : last + 1] = then
    return following


FOLLOWING = _table()
"""The next state, uint8 [state, byte]; REFUSED leads nowhere."""


def state_after(text: bytes) -> int:
    """The state in which a text ends: inside a character if it ends with the beginning of one, else BETWEEN.

    Only the last three bytes matter, so a text may hold anything before them.
    """
    for count in (3, 2, 1):
        state = BETWEEN
        for byte in text[-count:]:
            state = int(FOLLOWING[state, byte])
        if state not in (BETWEEN, REFUSED):
            return state
    return BETWEEN


def allowed() -> np.ndarray:
    """Which bytes may be next, bool [state, left, byte]: left is how many bytes may still come, 4 standing for more.

    A character is begun only where it can be finished. One that the prompt began goes on, even if it can't be.
    """
    known = np.repeat((FOLLOWING != REFUSED)[:, None], 5, axis=1)
    for byte in range(256):
        state = int(FOLLOWING[BETWEEN, byte])
        if state != REFUSED:
            known[BETWEEN, : MISSING[state] + 1, byte] = False
    return known


def characters(stream: Iterable[bytes]) -> Iterator[str]:
    """Text from pieces of bytes, never half a character: what is not valid UTF-8 comes as a backslash escape."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for piece in stream:
        if part := decoder.decode(piece):
            yield part
    if part := decoder.decode(b"", final=True):
        yield part
