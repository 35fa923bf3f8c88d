"""GGUF files, as the `gguf` library of llama.cpp reads them: what they say by name, and tensors in floating point.

A file may come from anywhere: one that ends too early, or says numbers that no file has room for, is refused instead of
being walked for ever. Opening costs some microseconds for each string in it (a vocabulary, its merges), a second for
a usual one; the files opened last stay open, as a model is looked at more than once. Tensors are mapped.
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from byteproxy.errors import InputError
from byteproxy.files import open_regular

MAGIC = b"GGUF"
_EXACT = ("F64", "F32", "F16", "BF16")
_UNREADABLE = (ValueError, LookupError, TypeError, OverflowError, MemoryError)
_PART = 4 << 20  # bytes of a header that are asked for at once: most vocabularies with their merges are two or three
_MAX_HEADER = 512 << 20


def gguf_package() -> ModuleType:
    """The package that reads and writes the files; InputError where it isn't installed."""
    try:
        import gguf
    except ImportError as error:
        raise InputError("a GGUF file needs the package gguf: pip install 'byteproxy[gguf]'") from error
    return gguf


def is_gguf(path: Path) -> bool:
    """Whether a file begins as a GGUF file does."""
    try:
        with open_regular(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def gguf_in(path: Path) -> Path | None:
    """The GGUF file that a path means, itself or the only one in a folder; None: there is none.

    Raises InputError for a folder with several.
    """
    if not path.is_dir():
        return path if is_gguf(path) else None
    found = sorted(path.glob("*.gguf"))
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found)} GGUF files: name one of them, such as {found[0]}")
    return found[0] if found else None


class GgufFile:
    """What a GGUF file holds.

    shapes: of each tensor, rows first. quantization: the types of what is stored in less than 16 bits, such as
    "Q4_1, Q8_0"; empty if nothing is.
    """

    def __init__(self, path: Path) -> None:
        """InputError where it can't be read as one."""
        self.path = Path(path)
        try:
            open_regular(self.path).close()
            reader = _bounded_reader()(self.path)
        except InputError:
            raise
        except (OSError, *_UNREADABLE) as error:
            raise InputError(
                f"{self.path} is no GGUF file that can be read ({error}): name another, or copy it again"
            ) from error
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._said = {name: _contents(field) for name, field in reader.fields.items()}
        self.shapes = {name: tuple(reversed(one.shape.tolist())) for name, one in self._tensors.items()}
        kinds = {one.tensor_type.name for one in self._tensors.values()}
        self.quantization = ", ".join(sorted(kinds - set(_EXACT)))

    def get(self, name: str, default: Any = None) -> Any:
        """What the file says under a name; InputError where that is no text."""
        found = self._said.get(name, default)
        if isinstance(found, UnicodeDecodeError):
            raise InputError(f"{self.path} says {name} in bytes that are no UTF-8: name another file") from found
        return found

    def tensor(self, name: str) -> np.ndarray:
        """A tensor in floating point, quantized or not; InputError for a type that the library can't turn into that."""
        found = self._tensors[name]
        kind = found.tensor_type
        if kind.name == "F64":
            return np.asarray(found.data)
        try:
            floats: np.ndarray = gguf_package().quants.dequantize(found.data, kind)
        except NotImplementedError as error:
            raise InputError(
                f"{self.path} has {name} as {kind.name}, which the package gguf can't read: take a file of another "
                "quantization, such as Q8_0"
            ) from error
        return floats


def opened(path: Path) -> GgufFile:
    """A GGUF file, read again only if it changed since; InputError where it can't be read."""
    try:
        at = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): name another file") from error
    return _opened(path, (at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns))


@lru_cache(maxsize=2)
def _opened(path: Path, _: tuple[int, ...]) -> GgufFile:
    return GgufFile(path)


def copy_header(read: Callable[[int, int], bytes], size: int, to: Path, tensors: Collection[str] = ()) -> None:
    """Copy what a GGUF file says, and a few of its tensors, to a file as long that has a hole where the others are.

    read: bytes of the file from a place to another. size: of the file. tensors: names of those that are copied.
    Raises InputError where the file isn't one.
    """
    with to.open("wb") as copy:
        copy.truncate(size)

        def take(begin: int, end: int) -> None:
            found = read(begin, end)
            if len(found) < end - begin:
                raise ValueError(f"of its bytes {begin:,} to {end:,} only {len(found):,} came")
            copy.seek(begin)
            copy.write(found)
            copy.flush()

        try:
            _copying_reader(take, size, tensors)(to)
        except _UNREADABLE as error:
            raise InputError(f"{to.name} is no GGUF file that can be read ({error}): name another") from error


def _contents(field: Any) -> Any:
    """What a field says, or the error of one that nobody may ask for."""
    try:
        return field.contents()
    except UnicodeDecodeError as error:
        return error


def _bounded_reader() -> Any:
    class Reader(gguf_package().GGUFReader):  # type: ignore[misc]
        """Notices where the file ends: the library takes what is not there for nothing, as often as it is asked."""

        data: np.ndarray

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            if isinstance(self.data, np.memmap):
                self.data = self.data.view(np.ndarray)  # whose slices, of which there are millions, cost a third
            found = super()._get(offset, dtype, count, override_order)
            if len(found) < count:
                raise ValueError(f"it ends at byte {len(self.data):,}, in the middle of what it says")
            return found

    return Reader


def _copying_reader(take: Callable[[int, int], None], size: int, wanted: Collection[str]) -> Any:
    class Reader(_bounded_reader()):  # type: ignore[misc]
        """Lets all that it reads be taken first, but for tensors, of which only the wanted ones are."""

        taken, in_header = 0, True

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            end = min(int(offset) + np.dtype(dtype).itemsize * int(count), size)
            while self.in_header and self.taken < end:
                if self.taken >= _MAX_HEADER:
                    raise ValueError(f"it says more than {_MAX_HEADER:,} bytes before its tensors")
                begin, self.taken = self.taken, min(self.taken + _PART, size)
                take(begin, self.taken)
            return super()._get(offset, dtype, count, override_order)

        def _build_tensors(self, *arguments: Any) -> None:
            self.in_header = False
            super()._build_tensors(*arguments)
            for tensor in self.tensors:
                if tensor.name in wanted:
                    take(tensor.data_offset, tensor.data_offset + tensor.n_bytes)

    return Reader
