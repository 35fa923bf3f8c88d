"""JSON files with a checksum of their content, so that a damaged one is noticed and never read as figures.

The checksum covers the values, not their formatting: reformatting a file by hand changes nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byteproxy.errors import InputError
from byteproxy.files import read_bytes, write_aside

CHECKSUM = "checksum"
MAX_BYTES = 1 << 32


class DamagedError(InputError):
    """A file doesn't say what was written to it."""


def write_checksummed(path: Path, values: Mapping[str, Any]) -> None:
    """Write an object that JSON can hold, with its checksum; whole or not at all."""
    write_aside(path, json.dumps(with_checksum(values), indent=1).encode())


def read_checksummed(path: Path) -> dict[str, Any] | None:
    """The object in a file, without its checksum; None where there is no file.

    Raises DamagedError where the file doesn't agree with its checksum, InputError where it can't be read.
    """
    try:
        content = read_bytes(path, MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): make it readable, or remove it") from error
    return parse_checksummed(content, str(path))


def known(path: Path) -> dict[str, Any] | None:
    """Read a file as `read_checksummed` does, but give None for a damaged one as well."""
    try:
        return read_checksummed(path)
    except DamagedError:
        return None


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with their checksum before them."""
    return {CHECKSUM: _checksum(values), **values}


def parse_checksummed(content: bytes | str, where: str) -> dict[str, Any]:
    """The values of a checksummed object in JSON. where: names it in the error.

    Raises DamagedError where they don't agree with the checksum.
    """
    try:
        return without_checksum(json.loads(content))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(f"{where} is damaged, or of an earlier version") from error


def without_checksum(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a checksummed object; ValueError or KeyError where they don't agree with the checksum."""
    values = dict(values)
    if values.pop(CHECKSUM) != _checksum(values):
        raise ValueError("its checksum is of something else")
    return values


def _checksum(values: Mapping[str, Any]) -> str:
    """The checksum of values as JSON gives them back, in any order of their names."""
    plain = json.dumps(json.loads(json.dumps(values)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
