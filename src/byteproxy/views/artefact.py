"""The file of a trained view: a safetensors file that says what it is, with a checksum over its content.

The same view gives the same bytes. Nothing is unpickled. Memory: the file twice while it is read.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from byteproxy.errors import InputError
from byteproxy.files import head, read_bytes
from byteproxy.parsing import parse_json

_REMEDY = "copy it again or train it anew"
_HEAD_BYTES = 4096
_MAX_BYTES = 1 << 32


class Format(NamedTuple):
    """mark: what a file says that it is, such as "byteproxy-codebook". version: of the format. noun: for messages.

    command: that writes such a file.
    """

    mark: str
    version: str | int
    noun: str
    command: str

    def ensure(self, path: Path, said: Mapping[str, Any], is_intact: bool) -> None:
        """InputError where a file, by what it says of itself, is of another format or version, or was altered."""
        if said.get("format") != self.mark:
            raise self.foreign(path)
        if said.get("version") != self.version:
            raise InputError(
                f"the {self.noun} {path} is of version {said.get('version')}, but this byteproxy reads version "
                f"{self.version}: use the byteproxy that wrote it or train it anew"
            )
        if not is_intact:
            raise InputError(f"the {self.noun} {path} was altered, its checksum is wrong: {_REMEDY}")

    def foreign(self, path: Path) -> InputError:
        """The error for a file of another kind."""
        return InputError(f"{path} is no {self.noun}: name a file that `{self.command}` wrote")

    def damaged(self, path: Path, error: Exception) -> InputError:
        """The error for a file that can't be taken apart."""
        return InputError(f"the {self.noun} {path} is cut off or damaged ({error}): {_REMEDY}")


def is_of(path: Path, form: Format) -> bool:
    """Whether a file says that it is of a format, of whatever version and even if it is damaged."""
    return f'"{form.mark}"'.encode() in head(path, _HEAD_BYTES)


def content_of(path: Path, noun: str, most: int = _MAX_BYTES) -> bytes:
    """The bytes of a file, `most` of them; InputError where it can't be read. noun: what it is, for the error."""
    try:
        return read_bytes(Path(path), most)
    except OSError as error:
        raise InputError(f"cannot read the {noun} {path}: {error.strerror}") from error


def to_content(form: Format, tensors: dict[str, np.ndarray], about: dict[str, str]) -> bytes:
    """Tensors and what is said about them as the content of a file."""
    metadata = {**about, "format": form.mark, "version": str(form.version)}
    metadata["sha256"] = _checksum(metadata, tensors)
    return in_order(safetensors.numpy.save(tensors, metadata))


def from_content(content: bytes, form: Format, path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Parse what `to_content` made. path: of its file, for error messages.

    Raises InputError where it is damaged, altered, of another format or of another version.
    """
    try:
        tensors, metadata = safetensors.numpy.load(content), metadata_of(content)
    except Exception as error:  # safetensors raises an exception of its own for each kind of damage
        raise form.damaged(path, error) from error
    checksum = metadata.pop("sha256", None)
    form.ensure(path, metadata, checksum == _checksum(metadata, tensors))
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


def metadata_of(content: bytes) -> dict[str, str]:
    """What the header of a safetensors file says beside its tensors."""
    size = int.from_bytes(content[:8], "little")
    return dict(parse_json(content[8 : 8 + size]).get("__metadata__", {}))


def in_order(content: bytes) -> bytes:
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
