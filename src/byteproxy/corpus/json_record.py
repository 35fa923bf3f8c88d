"""Turn a line of JSON into records: one for each object in it. Only the requested fields decide.

orjson reads the line, and Python's json reads what orjson refuses. So everything that `json.loads` accepts is read:
NaN and Infinity, half a surrogate pair (a lone U+D83D), numbers of any size. In addition:

- Several objects in one line (a lost newline) are one record each. If one breaks off, those before it stay.
- A byte order mark may stand before any object, as `cat` leaves them.
- Lists and objects may nest to any depth, and whole numbers may have any number of digits.
- Bytes that aren't UTF-8 don't matter in fields that nobody asked for.

Text in JSON is Unicode, so half a surrogate pair or an invalid byte can't be kept as it is. "repair" writes U+FFFD;
with "keep" or "drop", a record with one in its *text* is rejected.

Cost: that of orjson. Python's json takes about five times as long.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import partial

import numpy as np
import orjson

from byteproxy.corpus.fields import MISSING, Fields, InexactNumberError, looked_up, record_of, usable
from byteproxy.corpus.records import BROKEN_JSON, INVALID_UTF8, NO_TEXT, WRONG_TYPE, Record, Rules

BETWEEN = re.compile("[ \\t\\n\\r\\ufeff]*")
"""What may stand between objects."""
HALF = re.compile("[\\ud800-\\udfff]")
DEPTH = 100
"""Levels of nesting that are left to Python's json, whose depth is bounded by the stack."""
LONGEST_INT = 640
"""Digits that Python turns into a number whatever its settings."""
TYPE_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}


def records_of(line: bytes, number: int, source: str, file: str, fields: Fields, rules: Rules) -> Sequence[Record]:
    """The records of a line of a file, each a document or a rejection; none of a line with blanks and marks only."""
    try:
        value = orjson.loads(line)
        return [_record(value, line, number, 0, source, file, fields, rules)]
    except (orjson.JSONDecodeError, InexactNumberError):
        return _records_of_others(line, number, source, file, fields, rules)


def values_of(line: bytes) -> list[object]:
    """The readable values of a line; numbers in them may be inexact."""
    try:
        return [orjson.loads(line)]
    except orjson.JSONDecodeError:
        return objects(line)[0]


def _records_of_others(line: bytes, number: int, source: str, file: str, fields: Fields, rules: Rules) -> list[Record]:
    """The records of a line that orjson refuses, or doesn't read exactly."""
    values, wrong = objects(line, repair=rules.invalid == "repair")
    found = [_record(value, line, number, place, source, file, fields, rules) for place, value in enumerate(values, 1)]
    return [*found, _rejected(file, number, BROKEN_JSON, wrong)] if wrong else found


def objects(line: bytes, repair: bool = False) -> tuple[list[object], str]:
    """The values in a line, and what is wrong with the rest of it; "" where nothing is.

    More than one value is objects only. Bytes that aren't UTF-8 become U+FFFD if they are to be repaired, else halves
    of surrogate pairs.
    """
    errors = "replace" if repair else "surrogateescape"
    values: list[object] = []
    nested = line.count(b"[") + line.count(b"{") > DEPTH
    try:
        line, *deep = _cut(line) if nested else [line]
        for part in deep:
            _DECODER.decode(part.decode("utf-8", errors))
        text = line.decode("utf-8", errors)
        start = at = _after_blanks(text, 0)
        while at < len(text):
            start = at
            value, at = _DECODER.raw_decode(text, at)
            values.append(value)
            at = _after_blanks(text, at)
    except json.JSONDecodeError as error:
        wrong = f"column {error.pos + 1}: {error.msg}" if not nested else error.msg
        objects_before = bool(values) and text[start] == "{" and all(type(value) is dict for value in values)
        return values if objects_before else [], wrong
    if len(values) > 1 and not all(type(value) is dict for value in values):
        return [], "several values, not all of them objects"
    return values, ""


def _record(
    value: object, line: bytes, number: int, place: int, source: str, file: str, fields: Fields, rules: Rules
) -> Record:
    """The record of a value. place: among those of the line, from 1; 0 of one that orjson read.

    Raises InexactNumberError for a name that orjson may not have read exactly.
    """
    if type(value) is not dict:
        return _rejected(file, number, WRONG_TYPE, f"the line is {_type_of(value)}, not object")
    get = partial(looked_up, value) if fields.nested else value.get
    for name in fields.text:
        if name in value or (fields.nested and looked_up(value, name, MISSING) is not MISSING):
            break
    else:
        return _rejected(file, number, NO_TEXT, f"no field {' or '.join(fields.text)}")
    text = get(name)
    if type(text) is not str:
        return _rejected(file, number, WRONG_TYPE, f"{name} is {_type_of(text)}, not string")
    try:
        coded = text.encode()
    except UnicodeEncodeError as error:
        if rules.invalid != "repair":
            return _rejected(file, number, INVALID_UTF8, _half(line, name, error.start))
        coded = HALF.sub("\ufffd", text).encode()
    named = (lambda name: _as_name(get(name))) if place else get
    return record_of(
        coded,
        source,
        file,
        number,
        rules,
        id=usable(map(named, fields.id)),
        project=usable(map(named, fields.project)),
        language=usable(map(named, fields.language)),
        place=place,
    )


def _rejected(file: str, number: int, reason: str, detail: str) -> Record:
    return Record(number, file, number, None, reason, detail)


def _as_name(value: object) -> object:
    """What `usable` takes: no fraction, and half a surrogate pair as \\ud83d."""
    if type(value) is str:
        return value.encode("utf-8", "backslashreplace").decode()
    return None if type(value) is float else value


def _half(line: bytes, name: str, place: int) -> str:
    """What is wrong with a text that isn't Unicode."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} of the line: {error.reason}"
    return f"half a surrogate pair at character {place + 1} of {name}"


def _type_of(value: object) -> str:
    return TYPE_NAMES.get(type(value), "number")


def _after_blanks(text: str, at: int) -> int:
    found = BETWEEN.match(text, at)
    assert found is not None  # of no character
    return found.end()


def _whole(digits: str) -> int | Decimal:
    """The number that digits write, exactly. Python's ints take quadratic time, and refuse more than some thousands."""
    return int(digits) if len(digits) <= LONGEST_INT else Decimal(digits)


_DECODER = json.JSONDecoder(parse_int=_whole)


def _cut(line: bytes) -> list[bytes]:
    """The line with null for each value that lies DEPTH levels deep, and those values, treated likewise.

    Null can stand where a value can and nowhere else, so the line is sound if all of these are.
    Raises JSONDecodeError if something isn't closed.
    """
    # Escaped characters don't count; as long as each backslash is the first of two, they are found from left to right.
    shown = np.frombuffer(line.replace(b"\\\\", b"  ").replace(b'\\"', b"  "), np.uint8)
    opens = (shown == ord("[")) | (shown == ord("{"))
    brackets = np.flatnonzero(opens | (shown == ord("]")) | (shown == ord("}")))
    in_string = np.searchsorted(np.flatnonzero(shown == ord('"')), brackets) % 2 == 1
    brackets = brackets[~in_string]
    opens = opens[brackets]
    depth = np.cumsum(np.where(opens, 1, -1))
    # An opening bracket leads to the first level of a value to cut, a closing one back from there.
    outside = depth - opens
    chosen = (outside > 0) & (outside % DEPTH == 0)
    parts: list[bytes] = []
    around: list[bytearray] = []
    current, at = bytearray(), 0
    for place, opening in zip(brackets[chosen].tolist(), opens[chosen].tolist(), strict=True):
        if opening:
            current += line[at:place] + b"null"
            around.append(current)
            current, at = bytearray(), place
        else:
            current += line[at : place + 1]
            parts.append(bytes(current))
            current, at = around.pop(), place + 1
    if around:
        raise json.JSONDecodeError("a list or an object that isn't closed", "", 0)
    current += line[at:]
    return [bytes(current), *parts]
