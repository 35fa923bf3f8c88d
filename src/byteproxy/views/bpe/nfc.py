"""Normalize text to NFC before it is encoded, and map spans back to the original bytes.

A character is *safe* if NFC neither changes nor moves it, nor joins it to what stands before. Each run of other
characters is normalized by itself, together with the safe character before it, and the result equals that of
normalizing the whole text. A run that changes is covered by the symbol in which it ends; a symbol that ends inside of
it covers none of it. Bytes that are not UTF-8 end a run.

Text of safe characters only (all ASCII, nearly all code) costs one pass at memory speed.
"""

from functools import cache

import numpy as np
from tokenizers import normalizers

from byteproxy.jit import nb
from byteproxy.views.bpe import unicode
from byteproxy.views.bpe.normalized import Normalized
from byteproxy.views.bpe.scan import pointer, wide_character

SEPARATOR = b"\0"
SAFE, MARKED = 1, 2
"""Classes of characters; 0 is for bytes that aren't UTF-8."""


def composed(text: bytes) -> Normalized | None:
    """The text in NFC; None if it is that already."""
    if text.isascii():
        return None
    data = np.frombuffer(text, np.uint8)
    places = _stretches(data, _kinds())
    if not len(places):
        return None
    # A stretch goes without the safe character before it where that is the separator, which joins with nothing.
    stretches = [text[begin:end] for begin, end in places.tolist()]
    bare = [stretch.removeprefix(SEPARATOR) for stretch in stretches]
    normal = normalizers.NFC().normalize_str(SEPARATOR.join(bare).decode()).encode().split(SEPARATOR)
    old, new, pieces = [], [], []
    at = made = 0
    for (begin, end), stretch, before, after in zip(places.tolist(), stretches, bare, normal, strict=True):
        if before == after:
            continue
        whole = stretch[: len(stretch) - len(before)] + after
        pieces += [text[at:begin], whole]
        made += begin - at
        old.append((begin, end))
        new.append((made, made + len(whole)))
        at, made = end, made + len(whole)
    if not old:
        return None
    was, became = np.array(old, np.int64), np.array(new, np.int64)
    return Normalized(b"".join([*pieces, text[at:]]), became[:, 0], became[:, 1], was[:, 0], was[:, 1])


@cache
def _kinds() -> np.ndarray:
    return np.where(unicode.flagged(unicode.UNSAFE), MARKED, SAFE).astype(np.uint8)


def _stretches(data: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Where each stretch of characters that aren't safe begins and ends, with the safe one before it: int64 [n, 2]."""
    room = np.empty((64, 2), np.int64)
    while (count := _found(data, kinds, room)) > len(room):
        room = np.empty((count, 2), np.int64)
    return room[:count]


@nb.njit(cache=True, nogil=True)
def _found(data, kinds, places):  # type: ignore[no-untyped-def]
    """Write the stretches as far as there is room; returns how many there are."""
    text, table, end = pointer(data), pointer(kinds), len(data)
    at, before, count = np.int64(0), np.int64(0), 0  # before: where the last character begins, or `at`
    while at < end:
        if text[at] < 0x80:
            before = at
            at += 1
            continue
        found = wide_character(text, at, end, table)
        if found & 255 != MARKED:
            before = at if found else at + 1
            at += max(found >> 8, 1)
            continue
        begin = before
        while at < end and text[at] >= 0x80:
            found = wide_character(text, at, end, table)
            if found & 255 != MARKED:
                break
            at += found >> 8
        if count < len(places):
            places[count, 0], places[count, 1] = begin, at
        count += 1
        before = at
    return count
