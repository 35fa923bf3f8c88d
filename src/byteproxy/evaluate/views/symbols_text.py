"""A document cut where a view's symbols end, and each piece as characters that a person can see.

Whatever does not print, or prints in a way that misleads, is shown as its bytes: control characters, invalid UTF-8,
halves of a character that two symbols share, marks that turn the direction of writing. So each byte is seen once.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from byteproxy.views.base import Encoded

NEWLINE, TAB, BLANK = "⏎\n", "→\t", "·"
"""What stands for a newline and a tab, both of which are kept, and for a blank where there is nothing but blanks."""


class Piece(NamedTuple):
    """A stretch of a document, and the symbols for it: one of its own length, after those that cover nothing."""

    symbols: tuple[int, ...]
    text: bytes


class Shown(NamedTuple):
    """Characters to show; `stand_in` says that they stand for bytes which would not be seen as they are."""

    characters: str
    stand_in: bool


def cut(document: bytes, encoded: Encoded, max_bytes: int) -> Iterator[Piece]:
    """The pieces of an aligned view from the start on, until `max_bytes` are shown or exceeded.

    Symbols that cover nothing after the last one that does belong to it.
    """
    symbols, span_bytes = encoded
    closing = np.flatnonzero(span_bytes)
    begin = start = 0
    for number, last in enumerate(closing.tolist()):
        if start >= max_bytes:
            return
        until = len(symbols) if number == len(closing) - 1 else last + 1
        end = start + int(span_bytes[last])
        yield Piece(tuple(symbols[begin:until].tolist()), document[start:end])
        begin, start = until, end


def visible(piece: bytes) -> list[Shown]:
    """The piece as runs of characters, each run either as it is or standing for other bytes."""
    only_blanks = not piece.strip(b" ")
    runs: list[Shown] = []
    for character in piece.decode("utf-8", "surrogateescape"):
        shown = _shown(character, only_blanks)
        if runs and not shown.stand_in and not runs[-1].stand_in:
            runs[-1] = Shown(runs[-1].characters + shown.characters, False)
        else:
            runs.append(shown)
    return runs


def _shown(character: str, only_blanks: bool) -> Shown:
    if character == "\n":
        return Shown(NEWLINE, True)
    if character == "\t":
        return Shown(TAB, True)
    if character == " " and only_blanks:
        return Shown(BLANK, True)
    if character.isprintable():
        return Shown(character, False)
    return Shown("".join(f"\\x{value:02x}" for value in character.encode("utf-8", "surrogateescape")), True)
