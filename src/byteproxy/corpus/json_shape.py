"""Decide from its beginning whether JSON is records (lines of objects, or one array of them) or a single object.

A file of records is trained on record by record. A single object, such as package.json, is itself a text.
"""

import json
import re
from typing import Literal, TypeAlias

from byteproxy.corpus.decompression import Stream

LOOKED_AT = 20
"""Lines that are looked at."""
MAX_BYTES = 16 << 20
"""Where the first object has not ended by then, it is taken for one that is too long for a record."""
BOM = b"\xef\xbb\xbf"

JsonShape: TypeAlias = Literal["", "lines", "array", "object"]

_ARRAY = re.compile(rb"\[\s*\{\s*[\"}]")
_OBJECT = re.compile(rb"\{\s*[\"}]")
_SEVERAL = re.compile(rb"\}\s*,\s*\{\s*\"")
_DECODER = json.JSONDecoder(strict=False, parse_int=len)


def json_shape(stream: Stream, size: int) -> JsonShape:
    """The shape of the JSON that a stream begins with; "" where it is no object, and no array of objects.

    Nothing is taken from the stream. size: bytes to look at; more only as far as the first object goes on.
    """
    head = _beginning(stream, size)
    if _ARRAY.match(head):
        return _shape_of_array(stream, size)
    if _OBJECT.match(head):
        return _shape_of_lines(stream, size)
    return "lines" if _are_lines(_first_lines(head, len(stream.peek(size)) < size)) else ""  # the first may be damaged


def _beginning(stream: Stream, size: int) -> bytes:
    return stream.peek(size).removeprefix(BOM).lstrip()


def _shape_of_array(stream: Stream, size: int) -> JsonShape:
    """An array, if a comma or its end is behind its first object, or there are objects with a comma between them."""
    while True:
        head = _beginning(stream, size)
        end = _end_of_object(head, head.index(b"{"))
        if end and (behind := head[end:].lstrip()):
            is_end = behind[:1] == b"]" and behind[1:].lstrip()[:1] in (b"", b"[")
            return "array" if is_end or behind[:1] == b"," else ""
        if _SEVERAL.search(head):
            return "array"
        if len(stream.peek(size)) < size or size >= MAX_BYTES:
            return ""
        size *= 4


def _shape_of_lines(stream: Stream, size: int) -> JsonShape:
    """Lines, if at least half of the first are objects; a single object, if nothing is behind it."""
    while True:
        head = _beginning(stream, size)
        is_all = len(stream.peek(size)) < size
        first, _, others = head.partition(b"\n")
        if others.strip() or is_all or size >= MAX_BYTES:
            break
        size *= 4
    if not others.strip():
        end = _end_of_object(first, 0)
        if not end:
            return "" if is_all else "object"
        return "lines" if first[end:].strip() else "object"
    if _are_lines(_first_lines(head, is_all)):
        return "lines"
    return "object" if not is_all or _end_of_object(head, 0) == len(head.rstrip()) else ""


def _first_lines(head: bytes, is_all: bool) -> list[bytes]:
    """The first lines that aren't blank. is_all: whether the last one is whole."""
    return [line for line in head.split(b"\n")[: None if is_all else -1] if line.strip()][:LOOKED_AT]


def _are_lines(lines: list[bytes]) -> bool:
    """Whether at least half of the lines are objects."""
    found = sum(map(_is_objects, lines))
    return found > 0 and 2 * found >= len(lines)


def _is_objects(line: bytes) -> bool:
    """Whether a line is an object, or several behind each other."""
    line = line.strip().removeprefix(BOM)
    end = _end_of_object(line, 0)
    return end > 0 and line[end:].lstrip()[:1] in (b"", b"{")


def _end_of_object(text: bytes, place: int) -> int:
    """Where the object ends that begins at a place; 0 where none does, or it is not whole."""
    if text[place : place + 1] != b"{":
        return 0
    try:
        return _DECODER.raw_decode(text.decode("latin-1"), place)[1]
    except ValueError:
        return 0
    except RecursionError:  # nested deeper than Python follows: it is one if it ends as one
        return len(text) if text.rstrip().endswith(b"}") else 0
