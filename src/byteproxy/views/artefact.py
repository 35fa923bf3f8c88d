"""The file of a trained view: a safetensors file that says what it is, with a checksum over its content.

The same view gives the same bytes. Nothing is unpickled. Memory: the file twice while it is read.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from byteproxy.errors import InputError
from byteproxy.files import open_regular, read_bytes
from byteproxy.parsing import parse_json

_REMEDY = "copy it again or train it anew"
_HEAD_BYTES = 4096
_MAX_BYTES = 1 << 32


class Format(NamedTuple):
    """mark: what a file says that it is, such as "byteproxy-codebook". version: of the format. noun: for messages.

    command: that writes such a file.
    """

    mark: str
    version: str
    noun: str
    command: str


def is_of(path: Path, form: Format) -> bool:
    """Whether a file says that it is of a format, of whatever version and even if it is damaged."""
    try:
        with open_regular(Path(path)) as file:
            return f'"{form.mark}"'.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def content_of(path: Path, form: Format) -> bytes:
    """The bytes of a file; InputError where it can't be read."""
    try:
        return read_bytes(Path(path), _MAX_BYTES)
    except OSError as error:
        raise InputError(f"cannot read the {form.noun} {path}: {error.strerror}") from error


def to_content(form: Format, tensors: dict[str, np.ndarray], about: dict[str, str]) -> bytes:
    """Tensors and what is said about them as the content of a file."""
    metadata = {**about, "format": form.mark, "version": form.version}
    metadata["sha256"] = _checksum(metadata, tensors)
    return _in_order(safetensors.numpy.save(tensors, metadata))


def from_content(content: bytes, form: Format, path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Parse what `to_content` made. path: of its file, for error messages.

    Raises InputError where it is damaged, altered, of another format or of another version.
    """
    try:
        tensors, metadata = safetensors.numpy.load(content), _metadata(content)
    except Exception as error:  # safetensors raises an exception of its own for each kind of damage
        raise InputError(f"the {form.noun} {path} is cut off or damaged ({error}): {_REMEDY}") from error
    if metadata.get("format") != form.mark:
        raise InputError(f"{path} is no {form.noun}: name a file that `{form.command}` wrote")
    if metadata.get("version") != form.version:
        raise InputError(
            f"the {form.noun} {path} is of version {metadata.get('version')}, but this byteproxy reads version "
            f"{form.version}: use the byteproxy that wrote it or train it anew"
        )
    if metadata.pop("sha256", None) != _checksum(metadata, tensors):
        raise InputError(f"the {form.noun} {path} was altered, its checksum is wrong: {_REMEDY}")
    return tensors, metadata


@contextmanager
def read_as(form: Format, path: Path) -> Iterator[None]:
    """What a file of a format holds is taken apart in here; InputError where it is not what the format says.

    A checksum that fits says that nobody damaged a file by accident, and not that it is what we would have written.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise InputError(f"the {form.noun} {path} holds what no {form.noun} does ({reason}): {_REMEDY}") from error


def _metadata(content: bytes) -> dict[str, str]:
    size = int.from_bytes(content[:8], "little")
    return dict(parse_json(content[8 : 8 + size]).get("__metadata__", {}))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header sorted, which is written in any order otherwise."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def _checksum(metadata: dict[str, str], tensors: dict[str, Any]) -> str:
    """Over everything in the file but itself."""
    digest = sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
