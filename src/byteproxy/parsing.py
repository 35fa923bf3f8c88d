"""JSON and TOML that came from outside, in bounded time and memory, and with no surprise left in what they hold.

Python's own parsers go wrong on what nobody writes by hand: nesting of 100,000 levels ends in a RecursionError, an
integer of 5,000 digits in an error of its own or in a number that no array takes, and a TOML key of many dotted parts
takes quadratic time. So the text is looked through first, which costs a scan at some 100 MB/s, and only where it has
brackets enough. Everything that is wrong is a ValueError, as the parsers' own errors are. (orjson bounds nesting by
itself, but turns a longer integer into a float without a word, and refuses the NaN that our own figures may be.)
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from byteproxy.files import read_bytes

DEEPEST = 64
"""Levels of nesting, and parts of a dotted key, that no file of ours or of a tool we read comes near."""
MAX_BITS = 64
MAX_JSON, MAX_TOML = 1 << 28, 1 << 20
"""Bytes of a file. The manifest of a corpus of 10 TB has about 2^26."""

_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_TOML_STRING_OR_COMMENT = re.compile(
    rb'"""(?:[^"\\]++|\\.|"(?!""))*+"{0,5}'
    rb"|'''(?:[^']++|'(?!''))*+'{0,5}"
    rb'|"(?:[^"\\\n]++|\\.)*+"?'
    rb"|'[^'\n]*+'?"
    rb"|#[^\n]*+",
    re.DOTALL,
)
_NO_KEY = re.compile(rb"[^\w.\- \t]+")
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def parse_json(content: bytes | str) -> Any:
    """What JSON in UTF-8 says; ValueError where it is none, too deep, or has a number beyond 64 bits."""
    text, data = _both(content)
    if data.count(b"[") + data.count(b"{") > DEEPEST:
        _ensure_shallow(_JSON_STRING.sub(b"", data))
    return json.loads(text, parse_int=_whole_number)


def parse_toml(content: bytes | str) -> dict[str, Any]:
    """What TOML in UTF-8 says; ValueError where it is none, too deep, or has a number beyond 64 bits."""
    text, data = _both(content)
    bare = _TOML_STRING_OR_COMMENT.sub(lambda found: b"" if found[0][:1] == b"#" else b"s", data)
    _ensure_shallow(bare)
    if any(key.count(b".") >= DEEPEST for key in _NO_KEY.split(bare)):
        raise ValueError(f"a key of more than {DEEPEST} parts")
    found = tomllib.loads(text)
    _ensure_usual_numbers(found)
    return found


def read_json(path: Path, most: int = MAX_JSON) -> Any:
    """What a JSON file says; OSError where it can't be read or has more than `most` bytes, ValueError as above."""
    return parse_json(read_bytes(path, most))


def read_toml(path: Path, most: int = MAX_TOML) -> dict[str, Any]:
    """What a TOML file says; OSError where it can't be read or has more than `most` bytes, ValueError as above."""
    return parse_toml(read_bytes(path, most))


def _both(content: bytes | str) -> tuple[str, bytes]:
    if isinstance(content, str):
        return content, content.encode("utf-8", "surrogatepass")
    return content.decode("utf-8"), content


def _ensure_shallow(bare: bytes) -> None:
    """bare: without strings and comments."""
    depth = np.cumsum(_STEPS[np.frombuffer(bare, np.uint8)], dtype=np.int64)
    if len(depth) and int(depth.max()) > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")


def _whole_number(digits: str) -> int:
    if len(digits) <= 21:
        number = int(digits)
        if number.bit_length() <= MAX_BITS:
            return number
    raise ValueError(f"a whole number of {len(digits.lstrip('-')):,} digits, more than {MAX_BITS} bits hold")


def _ensure_usual_numbers(value: Any) -> None:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _ensure_usual_numbers(one)
    elif isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError(f"a whole number of more than {MAX_BITS} bits")
